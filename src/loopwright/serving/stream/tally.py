"""What a stream has done and how far behind it is, for its metrics and for ``loopwright status``."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from loopwright.core.statistics.histogram import EDGES_MS

if TYPE_CHECKING:
    from loopwright.core.clock import Clock
    from loopwright.core.storage.exchange import Taken
    from loopwright.serving.stream.answering import Batch

_RATE_WINDOW_S = 10.0


class StreamTally:
    """Counts of one stream since its process began; written by the stream's thread, read by others.

    Args:
        model: Name of the model.
        topic: The topic it answers.
        clock: For rates and delays.
    """

    def __init__(self, model: str, topic: str, *, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self.answered = 0
        self.dead = 0
        self.lag = 0
        self.retries = 0
        self.version: int | None = None
        self.waiting_for: str | None = None
        self.delay_ms: float | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, int]] = deque()
        names = (model, topic)
        labels = ("model", "topic")
        self._events = Counter(
            "loopwright_stream_events", "Events answered.", (*labels, "answer"), registry=self.registry
        )
        self._retries = Counter(
            "loopwright_stream_retries", "Tries that waited for something.", labels, registry=self.registry
        ).labels(*names)
        self._lag = Gauge("loopwright_stream_lag", "Events not answered yet.", labels, registry=self.registry).labels(
            *names
        )
        self._delay = Histogram(
            "loopwright_stream_delay_seconds",
            "From appending to the readable answer, of the oldest event of each batch.",
            labels,
            buckets=tuple(edge / 1000 for edge in EDGES_MS),
            registry=self.registry,
        ).labels(*names)
        self._predicted = self._events.labels(*names, "prediction")
        self._given_up = self._events.labels(*names, "dead_letter")

    def put(self, taken: list[Taken], batch: Batch) -> None:
        """Count a batch that was written."""
        now = self._clock.now().timestamp()
        delay_s = max(0.0, now - taken[0].at_us / 1e6)
        with self._lock:
            self.answered += len(taken)
            self.dead += batch.dead
            self.version = batch.tried[0].version if batch.tried else self.version
            self.waiting_for = None
            self.delay_ms = delay_s * 1000
            self._recent.append((self._clock.monotonic(), len(taken)))
            self._forget()
        self._delay.observe(delay_s)
        self._predicted.inc(len(taken) - batch.dead)
        self._given_up.inc(batch.dead)

    def waits(self, reason: str) -> None:
        """Note what keeps the stream from going on."""
        self.retries += 1
        self.waiting_for = reason
        self._retries.inc()

    def lags(self, events: int) -> None:
        """Show how many events are not answered yet."""
        self.lag = events
        self._lag.set(events)

    def per_second(self) -> float:
        """Return the events per second of the last ten seconds."""
        with self._lock:
            self._forget()
            return sum(count for _, count in self._recent) / _RATE_WINDOW_S

    def _forget(self) -> None:
        oldest = self._clock.monotonic() - _RATE_WINDOW_S
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
