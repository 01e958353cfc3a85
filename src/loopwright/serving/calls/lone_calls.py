"""Whether each turn of the event loop brings one call: there is nothing to compute it with, and no turn to wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.serving.calls.batcher import Scheduler

_TURNS = 8  # with one call each, before calls are answered without waiting for the end of their turn
_SAMPLED = 16  # of the calls answered so, every so many looks whether others came in its turn


class LoneCalls:
    """Watch how many calls a turn brings; used from one event loop.

    Attributes:
        is_alone: Whether calls come one by one lately.
    """

    __slots__ = ("_calls", "_sampled", "_turns", "is_alone")

    def __init__(self) -> None:
        self.is_alone = False
        self._turns = self._calls = self._sampled = 0

    def turn_ended(self, calls: int) -> None:
        """Hear how many calls were taken together."""
        self._turns = self._turns + 1 if calls == 1 else 0
        self.is_alone = self._turns >= _TURNS

    def answered(self, scheduler: Scheduler) -> None:
        """Hear of a call that did not wait for the end of its turn."""
        self._calls += 1
        if self._calls % _SAMPLED == 0:
            self._sampled = self._calls
            scheduler.call_soon(self._sample)

    def _sample(self) -> None:
        if self._calls != self._sampled:  # others came in the same turn
            self.turn_ended(self._calls - self._sampled + 1)
