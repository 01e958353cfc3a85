"""The versions in force: each with its place to run, and how traffic is split between them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.serving.calls.service_time import ServiceTime
    from loopwright.serving.predictor import Predictor
    from loopwright.serving.releases.router import Routing

DEFAULT_BATCH_ROWS = 1024
_SLOW_INLINE_S = 0.005  # the features are part of it: decoding an image is not in the warm-up's timing
_SLOW_INLINE_CALLS = 16


@dataclass
class Slot:
    """A predictor with its place to run.

    Attributes:
        predictor: Answers rows with one version.
        inline_rows: Batches of up to so many rows are computed on the event loop itself (below a millisecond, by the
            warm-up's timing);
            0 sends all to the executor.
        max_batch_rows: Rows up to which calls are merged into one batch, by the warm-up's timing.
        service_time: What a batch is expected to take, begun with the warm-up's timing; None to learn it from calls.
        lock: Held while the version computes: calls of one version never overlap.
        slow_calls: By how many the slow calls on the event loop outnumber the others lately.
    """

    predictor: Predictor
    inline_rows: int
    max_batch_rows: int = DEFAULT_BATCH_ROWS
    service_time: ServiceTime | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    slow_calls: int = 0

    def note(self, seconds: float) -> None:
        """Hear how long a batch on the event loop took; a version that is mostly slow goes to the executor."""
        if seconds <= _SLOW_INLINE_S:
            if self.slow_calls:  # a busy machine makes single calls slow, and is no reason
                self.slow_calls -= 1
            return
        self.slow_calls += 1
        if self.slow_calls >= _SLOW_INLINE_CALLS:
            self.inline_rows = 0


@dataclass(frozen=True)
class Active:
    """The versions in force and how traffic is split between them."""

    routing: Routing
    champion: Slot
    challenger: Slot | None = None
