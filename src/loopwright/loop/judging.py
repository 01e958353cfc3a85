"""The step that judges a version: its figures on the sealed holdout, the champion's on the same rows, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.evaluation.evaluator import EvaluationRequest
from loopwright.evaluation.holdout import open_holdout
from loopwright.evaluation.outputs_file import outputs_from_bytes
from loopwright.loop.champion_rows import CannotBeAskedError, rows_for_champion
from loopwright.monitoring.reference import ReferenceProfiles, freeze

if TYPE_CHECKING:
    from loopwright.evaluation.evaluation import Evaluation
    from loopwright.evaluation.holdout import Holdout
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

    The champion is asked with its own features, made from the same rows (:mod:`loopwright.loop.champion_rows`). Where
    they cannot be made from these snapshots, a gate that compares with it has not enough evidence, and a person decides
    with an override.
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
        report(f"asking the champion {present.id} about the same rows")
        try:
            rows = rows_for_champion(workspace, model, record, present, holdout)
        except CannotBeAskedError as error:
            unasked = f"The champion {present.id} cannot be asked about these rows: {error}"
        else:
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
