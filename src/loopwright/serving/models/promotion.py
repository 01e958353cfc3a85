"""Promotion in two phases over all workers, as a state machine without clocks, sockets or processes.

Phase one, *prepare*: every worker loads a target's versions and tests them on their golden rows, while the old ones go
on answering. Phase two, *commit*: only when every worker has succeeded, each replaces one pointer. One failure aborts
the turn on all of them; the version at fault is refused. A worker that came later, or came back, is brought to what is
in force by turns of its own.

One turn is open at a time for the whole group, so that versions are in force everywhere in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from loopwright.serving.models.messages import Abort, Commit, Prepare, Refuse
from loopwright.serving.releases.router import Routing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.serving.models.model_source import Target

RETRY_S = 10.0
DEATHS_ALLOWED = 1
"""Workers that may die while they prepare a version before it is refused: one may be killed for other reasons."""
Order: TypeAlias = Prepare | Commit | Abort | Refuse


@dataclass(frozen=True)
class Sent:
    """A message for one worker; None as the worker stands for the one that reads the source."""

    worker: int | None
    message: Order


@dataclass
class _Turn:
    """Members asked, what they answered, and what to do then."""

    number: int
    model: str
    target: Target
    group: bool
    preparing: set[int]
    members: set[int]
    committing: dict[int, float | None] = field(default_factory=dict)


@dataclass
class Promotion:
    """Bring all workers to what is wanted.

    Attributes:
        committed: What is in force, by model.
        problems: Why what is wanted is not in force, by model.
        last_skew_s: Seconds between the first and the last worker's commit of the last turn, or None.
        turns: Turns that were committed by the whole group.
        refusals: Turns that were aborted because a version was at fault.
    """

    committed: dict[str, Target] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    last_skew_s: float | None = None
    turns: int = 0
    refusals: int = 0
    _wanted: dict[str, Target] = field(default_factory=dict)
    _instead: dict[str, Target] = field(default_factory=dict)  # of a target whose challenger was refused
    _retry_at: dict[str, float] = field(default_factory=dict)
    _deaths: dict[str, int] = field(default_factory=dict)
    _applied: dict[int, dict[str, Target]] = field(default_factory=dict)
    _open: dict[int, _Turn] = field(default_factory=dict)
    _number: int = 0

    def want(self, targets: Mapping[str, Target], now: float) -> list[Sent]:
        """Hear what should be in force; models that are not named keep what they have."""
        for model, target in targets.items():
            if self._wanted.get(model) != target:
                self._wanted[model] = target
                self._instead.pop(model, None)
                self._retry_at.pop(model, None)
                self._deaths.pop(model, None)
        return self.step(now)

    def joined(self, worker: int, now: float) -> list[Sent]:
        """Hear that a worker can be asked."""
        self._applied[worker] = {}
        return self.step(now)

    def left(self, worker: int, now: float) -> list[Sent]:
        """Hear that a worker is gone; what waits for it goes on without it."""
        self._applied.pop(worker, None)
        self._retry_at = {key: at for key, at in self._retry_at.items() if not key.startswith(f"{worker}:")}
        sent: list[Sent] = []
        for turn in list(self._open.values()):
            if worker not in turn.members:
                continue
            turn.members.discard(worker)
            turn.committing.pop(worker, None)
            if worker in turn.preparing:
                turn.preparing.discard(worker)
                deaths = self._deaths[turn.model] = self._deaths.get(turn.model, 0) + 1
                sent += self._abort(turn)
                if turn.group and deaths > DEATHS_ALLOWED:
                    fault = turn.target.challenger or turn.target.champion
                    sent += self._refused(turn, fault, f"{deaths} workers died while they loaded it", now)
            elif turn.committing and None not in turn.committing.values():
                self._finish(turn)
            elif not turn.members:
                self._open.pop(turn.number, None)
        return sent + self.step(now)

    def prepared(self, worker: int, turn_number: int, refused: str | None, reason: str, now: float) -> list[Sent]:
        """Hear how phase one went on a worker."""
        turn = self._open.get(turn_number)
        if turn is None or worker not in turn.preparing:
            return []
        turn.preparing.discard(worker)
        if refused is not None:
            sent = self._abort(turn)
            if turn.group:
                sent += self._refused(turn, refused, reason, now)
            else:
                self.problems[turn.model] = reason
                self._retry_at[f"{worker}:{turn.model}"] = now + RETRY_S
            return sent + self.step(now)
        if turn.preparing:
            return []
        turn.committing = dict.fromkeys(turn.members)
        if turn.group:
            self.committed[turn.model] = turn.target
            self.problems.pop(turn.model, None)
            self.turns += 1
        return [Sent(member, Commit(turn.number)) for member in sorted(turn.members)]

    def committed_by(self, worker: int, turn_number: int, at: float, now: float) -> list[Sent]:
        """Hear that phase two is done on a worker, at a moment of the machine's monotonic clock."""
        turn = self._open.get(turn_number)
        if turn is None or worker not in turn.committing:
            return []
        turn.committing[worker] = at
        self._applied[worker][turn.model] = turn.target
        if None in turn.committing.values():
            return []
        self._finish(turn)
        return self.step(now)

    def is_busy(self, worker: int) -> bool:
        """Return whether a worker was asked to load something and has not answered."""
        return any(worker in turn.preparing for turn in self._open.values())

    def is_current(self, worker: int) -> bool:
        """Return whether everything in force is in force on a worker."""
        applied = self._applied.get(worker)
        return applied is not None and all(applied.get(model) == target for model, target in self.committed.items())

    def step(self, now: float) -> list[Sent]:
        """Open the turns that can be opened: of the whole group, and of workers that are behind."""
        sent: list[Sent] = []
        if not any(turn.group for turn in self._open.values()):
            sent += self._open_group(now)
        for worker, applied in self._applied.items():
            if any(worker in turn.members for turn in self._open.values()):
                continue
            for model, target in self.committed.items():
                if applied.get(model) != target and now >= self._retry_at.get(f"{worker}:{model}", now):
                    sent += self._begin(model, target, {worker}, group=False)
                    break
        return sent

    def _open_group(self, now: float) -> list[Sent]:
        members = {worker for worker in self._applied if self.is_current(worker)}
        busy = {worker for turn in self._open.values() for worker in turn.members}
        if not members or members & busy:
            return []
        for model, wanted in self._wanted.items():
            target = self._instead.get(model, wanted)
            if self.committed.get(model) != target and now >= self._retry_at.get(model, now):
                return self._begin(model, target, members, group=True)
        return []

    def _begin(self, model: str, target: Target, members: set[int], *, group: bool) -> list[Sent]:
        self._number += 1
        self._open[self._number] = _Turn(self._number, model, target, group, set(members), set(members))
        return [Sent(member, Prepare(self._number, model, target)) for member in sorted(members)]

    def _abort(self, turn: _Turn) -> list[Sent]:
        self._open.pop(turn.number, None)
        return [Sent(member, Abort(turn.number)) for member in sorted(turn.members)]

    def _refused(self, turn: _Turn, version: str, reason: str, now: float) -> list[Sent]:
        """Refuse a version; a target whose challenger is at fault goes on with its champion alone."""
        self.refusals += 1
        self.problems[turn.model] = f"{version} could not be loaded: {reason}"
        self._deaths.pop(turn.model, None)
        sent = [Sent(None, Refuse(turn.model, version, self.problems[turn.model]))]
        if version != turn.target.challenger:
            self._instead.pop(turn.model, None)
            self._retry_at[turn.model] = now + RETRY_S
        elif self._wanted.get(turn.model) == turn.target:
            routing = Routing(turn.target.routing.champion)
            self._instead[turn.model] = replace(turn.target, routing=routing, challenger=None)
        return sent

    def _finish(self, turn: _Turn) -> None:
        self._open.pop(turn.number, None)
        moments = [at for at in turn.committing.values() if at is not None]
        if turn.group and moments:
            self.last_skew_s = max(moments) - min(moments)
