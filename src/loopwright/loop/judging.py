"""The step that judges a version: its figures on the sealed holdout, the champion's on the same rows, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.evaluation.evaluator import EvaluationRequest
from loopwright.evaluation.holdout import open_holdout
from loopwright.evaluation.outputs_file import outputs_from_bytes
from loopwright.monitoring.reference import ReferenceProfiles, freeze

if TYPE_CHECKING:
    from loopwright.core.ref import Ref
    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.evaluation import Evaluation
    from loopwright.evaluation.holdout import Holdout
    from loopwright.features.field import Field
    from loopwright.features.training_set import TrainingSetRecord
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.step import Report
    from loopwright.loop.turn_log import Output
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace


def judge_candidate(
    workspace: Workspace,
    model: ModelDeclaration,
    record: TrainingSetRecord,
    version: ModelVersion,
    champion: int | None,
    report: Report,
) -> Output:
    """Evaluate a version, compare it with the champion on the same rows, and record the verdict and its reference.

    The champion is asked with the inputs that it was trained on, as far as these rows have them. Where they lack one,
    or it is made by other code now, the champion cannot be asked; a gate that compares with it then has not enough
    evidence, and a person decides with an override.
    """
    stores = workspace.stores
    holdout = open_holdout(
        record.holdout_path(stores), record.feature_fields, record.label_field, digest=record.holdout_digest
    )
    report(f"asking {version.id} about {len(holdout):,} sealed rows")
    challenger = _evaluate(workspace, model, holdout, version)
    _freeze_reference(workspace, version, record, holdout, challenger)
    against, unasked = None, ""
    if champion is not None:
        present = workspace.registry.get(model.name, champion)
        lacking = _lacking(stores, present, record)
        if lacking:
            unasked = (
                f"The champion {present.id} cannot be asked about these rows: it takes {', '.join(lacking)}, "
                "which they do not have, or have by another definition."
            )
        else:
            report(f"asking the champion {present.id} about the same rows")
            rows = open_holdout(
                record.holdout_path(stores),
                present.signature.inputs,
                record.label_field,
                digest=record.holdout_digest,
            )
            against = _evaluate(workspace, model, rows, present)
    verdict = workspace.evaluation.verdict(model.gates, challenger, against, holdout, unasked=unasked)
    metrics = {name: estimate.value for name, estimate in challenger.metrics.items()}
    beside = {} if against is None else {n: f" (champion {e.value:.4g})" for n, e in against.metrics.items()}
    shown = ", ".join(f"{name} {value:.4g}{beside.get(name, '')}" for name, value in metrics.items())
    outcome = verdict.outcome.replace("_", " ")
    return {
        "verdict": verdict.outcome,
        "verdict_id": verdict.id,
        "metrics": metrics,
        "champion": None if against is None else {name: e.value for name, e in against.metrics.items()},
        "rules": [{"rule": r.rule, "outcome": r.outcome, "reason": r.reason} for r in verdict.rules],
        "rows": len(holdout),
        "summary": f"{outcome}: {shown} on {len(holdout):,} sealed rows",
    }


def _evaluate(workspace: Workspace, model: ModelDeclaration, holdout: Holdout, version: ModelVersion) -> Evaluation:
    loaded = workspace.registry.load(version)
    return workspace.evaluation.evaluate(
        EvaluationRequest(
            subject=version.ref,
            holdout=holdout,
            predict=loaded.predict,
            metrics=model.metrics,
            gates=model.gates,
            seed=model.seed,
        )
    )


def _freeze_reference(
    workspace: Workspace, version: ModelVersion, record: TrainingSetRecord, holdout: Holdout, evaluation: Evaluation
) -> None:
    references = ReferenceProfiles(workspace.stores)
    if references.get(version.id) is not None:
        return
    outputs = outputs_from_bytes(workspace.stores.blobs.get(evaluation.outputs))
    with pa.memory_map(str(record.train_path(workspace.stores))) as file:
        table = pa.ipc.open_file(file).read_all()
        references.put(
            freeze(
                model=version.model,
                version=version.id,
                table=table,
                fields=record.feature_fields,
                outputs=outputs,
                labels=holdout.y.tolist(),
                loss=evaluation.reference,
            )
        )


def _lacking(stores: Stores, champion: ModelVersion, record: TrainingSetRecord) -> list[str]:
    """Name the champion's inputs that a training set does not have as the champion knows them.

    Categories may differ: each model reads them by its own. What a view or a transform makes must come from the same
    definition, which the lineage of both training sets tells.
    """
    there = {field.name: _kind(field) for field in record.feature_fields}
    then, now = (_definitions(stores, ref) for ref in (champion.training_set, record.ref))
    return [
        field.name
        for field in champion.signature.inputs
        if there.get(field.name) != _kind(field)
        or (field.origin in ("view", "transform") and then.get((field.origin, field.source)) is None)
        or then.get((field.origin, field.source)) != now.get((field.origin, field.source))
    ]


def _kind(field: Field) -> tuple[object, ...]:
    return field.dtype, field.shape, field.origin, field.source


def _definitions(stores: Stores, training_set: Ref) -> dict[tuple[str, str], str]:
    """Return the versions of the views and transforms that a training set was made with, by kind and name."""
    made_from = [edge.source for edge in stores.lineage.ancestors(training_set, depth=1)]
    named = [(ref.kind, ref.id.rpartition("@")) for ref in made_from if ref.kind in ("view", "transform")]
    return {(kind, name): version for kind, (name, _, version) in named}
