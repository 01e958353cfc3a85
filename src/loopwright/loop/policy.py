"""The policy: from what was seen, what happened before and what is allowed, to one decision. A pure function.

It knows no store and no clock. What it weighs, in this order:

1. a turn that is running, or a release that is still rolling out, is never doubled;
2. a turn that is proposed and waits for a person is not proposed again;
3. a reason: a loss signal with enough fresh rows, drift in several windows, new rows, or the schedule;
4. cool-down since the last turn that a trigger began, doubled for every such turn in a row that promoted nothing;
5. the budget of turns per period;
6. approval: propose, or start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loopwright.core.durations import format_duration
from loopwright.loop.triggers import DriftSeen, LossAboveReference, NewRows, Schedule

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from loopwright.loop.model import RetrainPolicy
    from loopwright.loop.triggers import Trigger

Action = Literal["nothing", "wait", "propose", "start"]
_MOST_DOUBLINGS = 5


@dataclass(frozen=True)
class SeenSignal:
    """A signal that no turn has answered yet.

    Attributes:
        id: The signal's id.
        check: ``"loss"``, ``"drift"``, ….
        fresh_rows: Labelled rows since the loss began to rise, as estimated; 0 for other checks.
        windows: Windows in a row in which it was seen and no decision answered it.
        text: What was seen, in words.
    """

    id: str
    check: str
    fresh_rows: int
    windows: int
    text: str


@dataclass(frozen=True)
class PastTurn:
    """A turn that a trigger began, and whether it ended in a promotion (None while that is open)."""

    started_at: datetime
    promoted: bool | None


@dataclass(frozen=True)
class Situation:
    """All that the policy may look at.

    Attributes:
        now: The present moment.
        signals: Signals that no turn has answered yet, oldest first.
        past_turns: Turns of this model that triggers began, oldest first.
        turn_running: Whether a turn is running.
        release_open: Whether a release is rolling out.
        proposal_waiting: Whether a proposed turn waits for a person.
        new_rows: Rows added since the last turn that trained.
        last_due: For each schedule, its latest due time that no turn has answered; absent if there is none.
    """

    now: datetime
    signals: tuple[SeenSignal, ...] = ()
    past_turns: tuple[PastTurn, ...] = ()
    turn_running: bool = False
    release_open: bool = False
    proposal_waiting: bool = False
    new_rows: int = 0
    last_due: tuple[tuple[str, datetime], ...] = ()


@dataclass(frozen=True)
class Reason:
    """Why a turn should begin: the trigger, in words, and the signals that it answers."""

    trigger: str
    text: str
    signals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What the policy concludes, and why."""

    action: Action
    reasons: tuple[Reason, ...]
    text: str


def decide(policy: RetrainPolicy, situation: Situation) -> Decision:
    """Conclude whether another turn begins now.

    Returns:
        ``nothing`` where there is no reason, ``wait`` where there is one that is held back (the text says by what),
        ``propose`` where a person must approve, ``start`` otherwise.
    """
    reasons = tuple(reason for trigger in policy.on if (reason := _reason(trigger, situation)))
    if not reasons:
        return Decision("nothing", (), "nothing asks for a turn")
    held = _held_back(policy, situation)
    if held:
        return Decision("wait", reasons, f"{_words(reasons)}; waiting: {held}")
    action: Action = "start" if policy.approval == "automatic" else "propose"
    return Decision(action, reasons, _words(reasons))


def next_allowed(policy: RetrainPolicy, situation: Situation) -> datetime:
    """Return the first moment at which cool-down and budget allow another turn."""
    past = situation.past_turns
    moments = [situation.now]
    if past:
        moments.append(past[-1].started_at + _cooldown(policy, past))
    if len(past) >= policy.max_turns:
        moments.append(past[-policy.max_turns].started_at + policy.per)
    return max(moments)


def _held_back(policy: RetrainPolicy, situation: Situation) -> str | None:
    if situation.turn_running:
        return "a turn is running"
    if situation.release_open:
        return "a release is rolling out"
    if situation.proposal_waiting:
        return "a proposed turn waits for approval"
    allowed = next_allowed(policy, situation)
    if allowed <= situation.now:
        return None
    past = situation.past_turns
    left = format_duration(allowed - situation.now)
    if past[-1].started_at + _cooldown(policy, past) >= allowed:
        return f"cool-down for another {left}"
    return f"the budget of {policy.max_turns} turns per {format_duration(policy.per)} is spent for another {left}"


def _cooldown(policy: RetrainPolicy, past: tuple[PastTurn, ...]) -> timedelta:
    fruitless = 0
    for turn in reversed(past):
        if turn.promoted is not False:
            break
        fruitless += 1
    doubled: int = 2 ** min(fruitless, _MOST_DOUBLINGS)
    return policy.cooldown * doubled


def _reason(trigger: Trigger, situation: Situation) -> Reason | None:
    match trigger:
        case LossAboveReference(fresh_rows=needed):
            losses = [signal for signal in situation.signals if signal.check == "loss"]
            return _from_signals("loss", losses) if any(s.fresh_rows >= needed for s in losses) else None
        case DriftSeen(windows=needed):
            drifts = [signal for signal in situation.signals if signal.check == "drift"]
            return _from_signals("drift", drifts) if any(s.windows >= needed for s in drifts) else None
        case NewRows(rows=needed):
            if situation.new_rows >= needed:
                return Reason("new_rows", f"{situation.new_rows:,} new rows since the last training")
        case Schedule(cron=cron):
            due = dict(situation.last_due).get(cron)
            if due is not None and due <= situation.now:
                return Reason("schedule", f"due at {due:%Y-%m-%d %H:%M} UTC ({cron})")
    return None


def _from_signals(trigger: str, signals: list[SeenSignal]) -> Reason:
    """Answer all signals of one check at once, in the words of the first."""
    return Reason(trigger, signals[0].text, tuple(signal.id for signal in signals))


def _words(reasons: tuple[Reason, ...]) -> str:
    return "; ".join(reason.text for reason in reasons)
