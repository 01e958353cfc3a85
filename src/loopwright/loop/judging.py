"""The step that judges a version: its figures on the sealed holdout, the champion's on the same rows, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.evaluation.evaluator import EvaluationRequest
from loopwright.evaluation.gate import BeatsChampion, NoWorseThanChampion
from loopwright.evaluation.holdout import open_holdout
from loopwright.evaluation.outputs_file import outputs_from_bytes
from loopwright.monitoring.reference import ReferenceProfiles, freeze

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.evaluation.evaluation import Evaluation
    from loopwright.evaluation.holdout import Holdout
    from loopwright.features.training_set import TrainingSetRecord
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.turn_log import Output
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace

    Report = Callable[[str], None]


def judge_candidate(
    workspace: Workspace,
    model: ModelDeclaration,
    record: TrainingSetRecord,
    version: ModelVersion,
    champion: int | None,
    report: Report,
) -> Output:
    """Evaluate a version, compare it with the champion on the same rows, and record the verdict and its reference.

    A champion that takes other inputs than these rows have cannot be asked; where a gate compares with it, the outcome
    is then not enough evidence, and a person decides with an override.
    """
    stores = workspace.stores
    holdout = open_holdout(
        record.holdout_path(stores), record.feature_fields, record.label_field, digest=record.holdout_digest
    )
    report(f"asking {version.id} about {len(holdout):,} sealed rows")
    challenger = _evaluate(workspace, model, holdout, version)
    _freeze_reference(workspace, version, record, holdout, challenger)
    against = None
    if champion is not None:
        present = workspace.registry.get(model.name, champion)
        if present.signature.inputs == version.signature.inputs:
            report(f"asking the champion {present.id} about the same rows")
            against = _evaluate(workspace, model, holdout, present)
        elif any(isinstance(gate, BeatsChampion | NoWorseThanChampion) for gate in model.gates):
            return _undecided(version, present, challenger)
    verdict = workspace.evaluation.verdict(model.gates, challenger, against, holdout)
    metrics = {name: estimate.value for name, estimate in challenger.metrics.items()}
    beside = {} if against is None else {n: f" (champion {e.value:.4g})" for n, e in against.metrics.items()}
    shown = ", ".join(f"{name} {value:.4g}{beside.get(name, '')}" for name, value in metrics.items())
    return {
        "verdict": verdict.outcome,
        "verdict_id": verdict.id,
        "metrics": metrics,
        "champion": None if against is None else {name: e.value for name, e in against.metrics.items()},
        "rules": [{"rule": r.rule, "outcome": r.outcome, "reason": r.reason} for r in verdict.rules],
        "rows": len(holdout),
        "summary": f"{verdict.outcome}: {shown} on {len(holdout):,} sealed rows",
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


def _undecided(version: ModelVersion, champion: ModelVersion, evaluation: Evaluation) -> Output:
    reason = (
        f"the champion {champion.id} takes other inputs than {version.id}, so they cannot be compared on the same rows"
    )
    return {
        "verdict": "not_enough_evidence",
        "verdict_id": "",
        "metrics": {name: estimate.value for name, estimate in evaluation.metrics.items()},
        "champion": None,
        "rules": [{"rule": "beats the champion", "outcome": "not_enough_evidence", "reason": reason}],
        "rows": evaluation.rows,
        "summary": f"not enough evidence: {reason}",
    }
