"""The turn: one time round the loop, as steps that are done once.

For each dataset: ingest. For each model: training set → train → register → evaluate → release. For each view that a
model reads: fill the online store. A step is keyed by all that it depends on, so a turn that a killed process left
behind goes on at its first unfinished step, and a turn with nothing new does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import UnknownNameError
from loopwright.loop.check_views import check_views
from loopwright.loop.live_views import labels_of
from loopwright.loop.lock import turn_lock
from loopwright.loop.model_steps import ModelSteps
from loopwright.loop.step import StepRunner
from loopwright.loop.turn_log import MANUAL, TurnLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.dataset import Dataset
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.loop.project import Loop
    from loopwright.loop.step import Listener, StepEvent
    from loopwright.loop.turn_log import Cause, Output, TurnRecord
    from loopwright.workspace import Workspace

TURN_LOCK = "turn.lock"


@dataclass(frozen=True)
class TurnOutcome:
    """How a turn ended.

    Attributes:
        turn: The turn's record.
        done: The steps that were run.
        reused: The steps whose result was there already.
        models: For each model what became of it: version, verdict, whether it was promoted or is being released.
        trained: Whether a training was run.
    """

    turn: TurnRecord
    done: tuple[str, ...]
    reused: tuple[str, ...]
    models: dict[str, Output]
    trained: bool

    @property
    def nothing_new(self) -> bool:
        """Whether the turn found nothing to do."""
        return not self.trained and not any(step.startswith(("register", "evaluate", "release")) for step in self.done)


def run_turn(
    loop: Loop,
    workspace: Workspace,
    *,
    cause: Cause = MANUAL,
    models: Sequence[str] | None = None,
    listener: Listener | None = None,
) -> TurnOutcome:
    """Turn the loop once, or finish the turn that a killed process left behind.

    Args:
        loop: The declared project.
        workspace: Its workspace.
        cause: What began the turn.
        models: The models to take round; by default all.
        listener: Is told about each step.

    Raises:
        TurnInProgressError: If another process is turning this loop.
        LoopwrightError: What a step raised; the turn is recorded as failed, and finished steps are kept.
    """
    wanted = tuple(loop.models) if models is None else tuple(models)
    for name in wanted:
        if name not in loop.models:
            raise UnknownNameError("model", name, loop.models)
    check_views(loop)
    log = TurnLog(workspace.stores)
    with turn_lock(workspace.stores.local / TURN_LOCK):
        workspace.runs.sync_pending()
        workspace.runs.mark_lost()
        turn = log.begin(loop.name, wanted, cause)
        steps = StepRunner(log, turn, workspace.stores.clock, listener or _silent)
        try:
            outcome = _steps(loop, workspace, steps)
        except Exception as error:
            log.finish(turn.id, "failed", {"error": str(error)})
            raise
        log.finish(turn.id, "finished", dict(outcome))
    trained = any(step.startswith("train ") for step in steps.done)
    return TurnOutcome(log.get(turn.id), tuple(steps.done), tuple(steps.reused), outcome, trained)


def _steps(loop: Loop, workspace: Workspace, steps: StepRunner) -> dict[str, Output]:
    snapshots: dict[str, Snapshot] = {}
    for dataset in loop.datasets.values():
        snapshot = _ingest(workspace, steps, dataset)
        if snapshot is not None:
            snapshots[dataset.name] = snapshot
    names = [name for name in steps.turn.models if name in loop.models]
    labels = labels_of(loop)
    return {name: ModelSteps(workspace, steps, loop.models[name], snapshots, labels).run() for name in names}


def _ingest(workspace: Workspace, steps: StepRunner, dataset: Dataset) -> Snapshot | None:
    def ingest(report_progress: object) -> Output:
        del report_progress
        report = workspace.data.ingest(dataset)
        return {
            "version": None if report.snapshot is None else report.snapshot.version,
            "rows_accepted": report.rows_accepted,
            "rows_quarantined": report.rows_quarantined,
            "reasons": dict(report.reasons),
            "warnings": [*report.warnings, *(f"{name} was left out: {why}." for name, why in report.refused.items())],
            "summary": f"{report.rows_accepted:,} rows in, {report.rows_quarantined:,} to the quarantine"
            + (f", {len(report.refused):,} left out" if report.refused else ""),
        }

    output = steps.run(f"ingest {dataset.name}", ingest)
    version = output["version"]
    return None if version is None else workspace.data.snapshot(dataset.name, version=int(str(version)))


def _silent(event: StepEvent) -> None:
    del event
