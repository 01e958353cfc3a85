"""One tick of the controller: look, carry releases on, decide, turn.

Everything it knows is in the stores, so a controller may die at any line and another one goes on. Only one ticks at a
time (``controller.lock``, see ``up``).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loopwright.core.errors import TurnInProgressError
from loopwright.loop.decisions import DecisionLog
from loopwright.loop.freshening import Freshening
from loopwright.loop.lock import is_turning
from loopwright.loop.plan_watch import watch_stored_plan
from loopwright.loop.policy import decide
from loopwright.loop.scoring import due_scorings
from loopwright.loop.situation import situation_of
from loopwright.loop.turn import TURN_LOCK
from loopwright.loop.watching import watched_model
from loopwright.serving.releases.rollout import Rollout

if TYPE_CHECKING:
    from loopwright.loop.decisions import DecisionRecord
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.project import Loop
    from loopwright.loop.scoring import DueScoring
    from loopwright.monitoring.signal import Signal
    from loopwright.serving.releases.release import Release
    from loopwright.workspace import Workspace


class TurnStarter(Protocol):
    """Begins the turn of an approved decision, at once or in a process of its own."""

    def __call__(self, decision: DecisionRecord) -> None:
        """Begin it; a decision whose turn is running already changes nothing."""


class ScoreStarter(Protocol):
    """Begins a due scoring, at once or in a process of its own."""

    def __call__(self, due: DueScoring) -> None:
        """Begin it; where one is running, nothing is changed."""


@dataclass(frozen=True)
class TickReport:
    """What one tick saw and did, for whoever shows it."""

    rows_ingested: int
    signals: tuple[Signal, ...]
    releases: tuple[Release, ...]
    decisions: tuple[DecisionRecord, ...]
    held_back: tuple[str, ...]


class Controller:
    """Keeps one project's loop closed.

    Args:
        loop: The declared project.
        workspace: Its workspace.
        start_turn: Begins the turn of an approved decision.
        start_scoring: Begins what ``lw.batch`` makes due; where it is not given, nothing is scored.

    Attributes:
        freshening: Fills the online store; a tick lets it look once, and a thread may keep it looking between two.
    """

    def __init__(
        self, loop: Loop, workspace: Workspace, start_turn: TurnStarter, start_scoring: ScoreStarter | None = None
    ) -> None:
        self._loop = loop
        self._workspace = workspace
        self._start_turn = start_turn
        self._start_scoring = start_scoring
        self._decisions = DecisionLog(workspace.stores)
        self._rollout = Rollout(workspace.stores)
        self.freshening = Freshening(loop, workspace)

    def tick(self) -> TickReport:
        """Ingest what is new, watch every model, carry on its release, and decide whether the loop turns again."""
        rows = self._ingest()
        signals: list[Signal] = []
        releases: list[Release] = []
        made: list[DecisionRecord] = []
        held: list[str] = []
        for model in self._loop.models.values():
            signals += self._workspace.monitoring.tick(watched_model(self._workspace, model))
            release = self._rollout.tick(model.name)
            if release is not None:
                releases.append(release)
            record, waiting = self._decide(model)
            made += [record] if record is not None else []
            held += [waiting] if waiting else []
        signals += watch_stored_plan(self._loop, self._workspace)
        self._workspace.monitoring.deliver()
        self.freshening.look()
        for decision in self._decisions.list(self._loop.name, status="approved"):
            self._start_turn(decision)
        if self._start_scoring is not None:
            for due in due_scorings(self._loop, self._workspace):
                self._start_scoring(due)
        return TickReport(rows, tuple(signals), tuple(releases), tuple(made), tuple(held))

    def _ingest(self) -> int:
        rows = 0
        for dataset in self._loop.datasets.values():
            if self._workspace.data.has_new(dataset):
                with contextlib.suppress(TurnInProgressError):  # a turn is ingesting it right now
                    rows += self._workspace.data.ingest(dataset).rows_accepted
        return rows

    def _decide(self, model: ModelDeclaration) -> tuple[DecisionRecord | None, str | None]:
        if model.retrain is None or self._workspace.aliases.current(model.name) is None:
            return None, None
        turning = is_turning(self._workspace.stores.local / TURN_LOCK)
        situation = situation_of(self._workspace, self._loop.name, model, turn_running=turning)
        decision = decide(model.retrain, situation)
        if decision.action in ("start", "propose"):
            return self._decisions.record(self._loop.name, model.name, decision), None
        return None, decision.text if decision.action == "wait" else None
