"""Gather what the policy may look at, from the facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.loop.decisions import DecisionLog
from loopwright.loop.policy import PastTurn, SeenSignal, Situation
from loopwright.loop.schedule import last_due
from loopwright.loop.triggers import Schedule
from loopwright.loop.turn_log import TurnLog
from loopwright.monitoring.performance import loss_figures
from loopwright.monitoring.reference import ReferenceProfiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from loopwright.loop.decisions import DecisionRecord
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.turn_log import TurnRecord
    from loopwright.monitoring.signal import Signal
    from loopwright.workspace import Workspace

_LOOK_BACK = 200


@dataclass(frozen=True)
class History:
    """What happened to one model so far, newest first."""

    turns: tuple[TurnRecord, ...]
    decisions: tuple[DecisionRecord, ...]

    @property
    def answered_signals(self) -> frozenset[str]:
        """The signals that a decision names already, whatever was answered."""
        return frozenset(signal for decision in self.decisions for signal in decision.signals)


def situation_of(workspace: Workspace, loop_name: str, model: ModelDeclaration, *, turn_running: bool) -> Situation:
    """Return the situation of one model at this moment."""
    stores = workspace.stores
    now = stores.clock.now()
    turns = tuple(t for t in TurnLog(stores).latest(loop_name, limit=_LOOK_BACK) if model.name in t.models)
    decided = tuple(DecisionLog(stores).list(loop_name, model=model.name, limit=_LOOK_BACK))
    history = History(turns, decided)
    return Situation(
        now=now,
        signals=_open_signals(workspace, model, history),
        past_turns=_past_turns(workspace, model, history),
        turn_running=turn_running,
        release_open=workspace.releases.current(model.name) is not None,
        proposal_waiting=any(d.status in ("waiting", "approved") for d in decided),
        new_rows=_new_rows(workspace, model, turns),
        last_due=_last_due(model, history, now),
    )


def _open_signals(workspace: Workspace, model: ModelDeclaration, history: History) -> tuple[SeenSignal, ...]:
    champion = workspace.aliases.current(model.name)
    live = f"{model.name}/{champion}"
    seen = [
        signal
        for signal in workspace.monitoring.signals.list(model.name)
        if signal.version == live and signal.check in ("loss", "drift") and signal.id not in history.answered_signals
    ]
    unanswered = sum(signal.check == "drift" for signal in seen)
    labelled = _labelled_rows(workspace, live) if seen else 0
    return tuple(
        SeenSignal(
            id=signal.id,
            check=signal.check,
            fresh_rows=_fresh_rows(signal, labelled) if signal.check == "loss" else 0,
            windows=min(unanswered, _evidence(signal, "windows_in_a_row")) if signal.check == "drift" else 1,
            text=_in_words(signal),
        )
        for signal in seen
    )


def _fresh_rows(signal: Signal, labelled: int) -> int:
    """Count the labelled rows since the change that a loss signal is about, where monitoring estimates that it began.

    Rows are counted anew when a version becomes champion again, so an older signal may lie behind the present count.
    """
    return max(0, labelled - signal.rows + _evidence(signal, "rows_since_change"))


def _evidence(signal: Signal, name: str) -> int:
    value = signal.evidence.get(name)
    return value if isinstance(value, int) else 0


def _labelled_rows(workspace: Workspace, version: str) -> int:
    profile = ReferenceProfiles(workspace.stores).get(version)
    return 0 if profile is None else loss_figures(workspace.stores, profile).rows


def _in_words(signal: Signal) -> str:
    bound = "" if signal.threshold is None else f" above {signal.threshold:.3g}"
    value = "" if signal.value is None else f" {signal.value:.3g}"
    return f"{signal.check} of {signal.version}{value}{bound}, seen at row {signal.rows:,}"


def _past_turns(workspace: Workspace, model: ModelDeclaration, history: History) -> tuple[PastTurn, ...]:
    past = []
    for turn in reversed(history.turns):
        if turn.cause.trigger == "manual":
            continue
        outcome = turn.outcome.get(model.name)
        promoted = outcome.get("promoted") if isinstance(outcome, dict) else None
        if promoted is None and isinstance(outcome, dict) and isinstance(outcome.get("release"), str):
            stage = workspace.releases.get(str(outcome["release"])).stage
            promoted = {"promoted": True, "rolled_back": False}.get(stage)
        if turn.status == "failed":
            promoted = False
        past.append(PastTurn(turn.started_at, promoted if isinstance(promoted, bool) else None))
    return tuple(past)


def _new_rows(workspace: Workspace, model: ModelDeclaration, turns: Sequence[TurnRecord]) -> int:
    name = model.label.dataset.name
    if name not in workspace.data.names():
        return 0
    rows = workspace.data.snapshot(name).rows
    for turn in turns:
        outcome = turn.outcome.get(model.name)
        if isinstance(outcome, dict) and isinstance(outcome.get("rows"), int):
            return rows - int(str(outcome["rows"]))
    return 0


def _last_due(model: ModelDeclaration, history: History, now: datetime) -> tuple[tuple[str, datetime], ...]:
    if model.retrain is None:
        return ()
    moments = [turn.started_at for turn in history.turns] + [d.decided_at for d in history.decisions]
    if not moments:
        return ()  # a schedule counts from the first turn on
    newest = max(moments)
    due = [(t.cron, last_due(t.cron, now)) for t in model.retrain.on if isinstance(t, Schedule)]
    return tuple((cron, moment) for cron, moment in due if moment > newest)
