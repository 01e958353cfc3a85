"""The door of events: take, ask the model, put, again; one batch at a time, so that order holds and memory is bounded.

A batch is whatever is there, up to a number of events and of bytes: one event when little comes, a thousand when the
stream is behind. Nothing is read while a batch waits to be written, so a slow or blocked sink stops the reading. What
is down for now (a store, a broker) is tried again after a pause that doubles, without letting later events pass; and
while a version fails on every event, another one is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog

from loopwright.core.errors import RequestError, StoreCorruptError, StoreError, StoreTooNewError
from loopwright.serving.calls.shadow import ShadowTask
from loopwright.serving.stream.answering import is_passing
from loopwright.serving.stream.failure_streak import FailureStreak

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.storage.exchange import Exchange, Taken
    from loopwright.serving.calls.endpoint import Active
    from loopwright.serving.calls.shadow import ShadowRunner
    from loopwright.serving.log.prediction_log import PredictionLog
    from loopwright.serving.stream.answering import Batch, EventAnswers, Shadowed
    from loopwright.serving.stream.tally import StreamTally

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 10.0
TAKE_WAIT_S = 0.25  # between two looks at whether to end


@dataclass
class Desk:
    """Where the versions in force lie; replaced as a whole, read once per batch."""

    active: Active | None = None


class StreamDoor:
    """Answer one stream, on one thread.

    Args:
        exchange: Where events come from and answers go.
        answers: Makes them.
        desk: The versions in force.
        tally: Counts.
        pause: Waits so many seconds; True when the stream is to end.
        shadow: Computes what the challenger is shown, or None.
        log: Takes the shadow's records.
        max_rows: Events of a batch at most.
        max_bytes: Bytes of the values of a batch at most.
        failures_in_a_row: Events in a row on which a version may fail before another is waited for; None for any.
    """

    def __init__(
        self,
        exchange: Exchange,
        answers: EventAnswers,
        desk: Desk,
        *,
        tally: StreamTally,
        pause: Callable[[float], bool],
        shadow: ShadowRunner | None = None,
        log: PredictionLog | None = None,
        max_rows: int = 1_000,
        max_bytes: int = 4_000_000,
        failures_in_a_row: int | None = None,
    ) -> None:
        self._exchange = exchange
        self._answers = answers
        self._desk = desk
        self._tally = tally
        self._pause = pause
        self._shadow = shadow
        self._log = log
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._streak = FailureStreak(failures_in_a_row)

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Answer until ``goes_on`` says no; a batch that was begun is finished, or left for the next start.

        Raises:
            ExchangeTakenError: If another process answers this stream.
        """
        while goes_on():
            self.step(TAKE_WAIT_S)

    def step(self, wait_s: float) -> int:
        """Answer the next batch and return its events; 0 when none came in time."""
        if self._desk.active is None:
            self._tally.waiting_for = "a version to be loaded"
            self._pause(FIRST_PAUSE_S)
            return 0
        taken = self._patiently(
            lambda _: self._exchange.take(limit=self._max_rows, max_bytes=self._max_bytes, wait_s=wait_s)
        )
        if not taken:
            return 0
        answered = self._answered(taken)
        if answered is None or self._patiently(lambda _: self._put(taken, answered[1])) is None:
            self._exchange.give_back()
            return 0
        active, batch = answered
        self._tally.put(taken, batch)
        self._streak.put(batch)
        if batch.copies is not None:
            self._mirror(active, batch.copies)
        return len(taken)

    def _answered(self, taken: list[Taken]) -> tuple[Active, Batch] | None:
        """Ask the versions in force, once they are not such that fail on everything; None when the stream is to end."""

        def answer(attempts: int) -> tuple[Active, Batch]:
            active = self._in_force()
            return active, self._answers.answer(active, taken, attempts=attempts)

        said = None
        while True:
            answered = self._patiently(answer)
            broken = None if answered is None else self._streak.broken_by(answered[1])
            if answered is None or broken is None:
                return answered
            if said is None:
                _log.error("the stream waits for another version", reason=broken)
            said = broken
            self._tally.waits(broken)
            if not self._waited_for_another(answered[0]):
                return None

    def _waited_for_another(self, active: Active) -> bool:
        """Wait until other versions are in force, or long enough to try these again; False when the stream ends."""
        waited_s = 0.0
        while waited_s < LONGEST_PAUSE_S and self._desk.active is active:
            if self._pause(TAKE_WAIT_S):
                return False
            waited_s += TAKE_WAIT_S
        return True

    def _put(self, taken: list[Taken], batch: Batch) -> bool:
        self._exchange.put(taken, batch.made)
        return True

    def _in_force(self) -> Active:
        active = self._desk.active
        if active is None:  # versions are replaced, never taken away
            raise AssertionError("a version was in force")
        return active

    def _patiently(self, work: Callable[[int], _T]) -> _T | None:
        """Do it, again after a pause while something is down; None when the stream is to end before it is done."""
        pause_s, attempts = FIRST_PAUSE_S, 1
        while True:
            try:
                return work(attempts)
            except (StoreCorruptError, StoreTooNewError):
                raise
            except (RequestError, StoreError) as error:
                if not is_passing(error):
                    raise
                if attempts == 1:
                    _log.warning("the stream waits", reason=error.message)
                self._tally.waits(error.message)
            if self._pause(pause_s):
                return None
            attempts += 1
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _mirror(self, active: Active, copies: Shadowed) -> None:
        """Show the challenger what was answered; never waited for, and dropped when it does not keep up."""
        log = self._log
        if self._shadow is None or log is None:
            return

        def run() -> None:
            try:
                log.write(self._answers.shadow(active, copies))
            except RequestError:
                log.drop(rows, "shadow_failed")

        rows = len(copies[1])
        log.accept(rows)
        if not self._shadow.offer(ShadowTask(run, rows)):
            log.drop(rows, "shadow_full")
