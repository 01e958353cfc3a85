"""Who may wait: rows, bytes and time are bounded, and whoever comes too many is told when to come back.

A call is refused only by what is in the queue: one that finds its version idle is never refused, however large it is.
What is refused is answered 429, never 503: the server is well, and a load balancer has no reason to take it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import OverloadedError

if TYPE_CHECKING:
    from loopwright.core.clock import Clock
    from loopwright.serving.calls.batcher import Batcher
    from loopwright.serving.calls.call_entry import CallEntry
    from loopwright.serving.deploy import OnlineDeployment
    from loopwright.serving.metrics import ServingMetrics

_BATCHES_QUEUED = 4
_LEAST_QUEUE_ROWS = 1024
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, spread evenly (Weyl's sequence): jitter without chance
_LEAST_RETRY_S = 0.001


@dataclass(frozen=True)
class QueueLimits:
    """What may wait for one version.

    Attributes:
        max_rows: Rows that wait; None for four of the version's largest batches, and at least 1,024.
        max_bytes: What their requests weigh together.
        max_calls: Calls that wait beside the event loop.
        budget_s: The longest wait that is expected of any call, where its own deadline is not earlier.
    """

    max_rows: int | None = None
    max_bytes: int = 256 << 20
    max_calls: int = 256
    budget_s: float = 0.1

    @classmethod
    def of(cls, deployment: OnlineDeployment) -> QueueLimits:
        """Return what a deployment declares."""
        return cls(
            max_rows=deployment.max_queue_rows,
            max_calls=deployment.max_in_flight,
            budget_s=deployment.queue_budget.total_seconds(),
        )


class Admission:
    """Refuse the calls that would wait too long; for one model, used from one event loop."""

    def __init__(self, model: str, limits: QueueLimits, *, metrics: ServingMetrics, clock: Clock) -> None:
        self.limits = limits
        self._model = model
        self._metrics = metrics
        self._clock = clock
        self._refusals = 0

    def check(self, entry: CallEntry, batcher: Batcher) -> None:
        """Let a call pass that may wait.

        Raises:
            OverloadedError: When it may not; says when to come back.
        """
        if batcher.is_idle:
            return
        limits = self.limits
        beside = batcher.is_running or entry.rows > batcher.slot.inline_rows
        if beside and batcher.queued_calls + batcher.running_calls >= limits.max_calls:
            raise self._refusal("in_flight", f"{limits.max_calls} requests for it are being worked on", batcher)
        most = limits.max_rows or max(_LEAST_QUEUE_ROWS, _BATCHES_QUEUED * batcher.max_batch_rows)
        if batcher.queued_rows + entry.rows > most and batcher.queued_rows:
            raise self._refusal("queue_rows", f"{batcher.queued_rows} rows wait, of at most {most}", batcher)
        if batcher.queued_bytes + entry.call.size_bytes > limits.max_bytes and batcher.queued_rows:
            raise self._refusal("queue_bytes", f"the waiting requests have {batcher.queued_bytes} bytes", batcher)
        budget = limits.budget_s
        if entry.call.deadline is not None:
            budget = min(budget, entry.call.deadline - self._clock.monotonic())
        wait = batcher.expected_wait_s()
        if wait > budget > 0:  # a deadline that has passed is not a matter of load
            said = f"a wait of {1000 * wait:.0f} ms is expected, and {1000 * budget:.0f} ms are allowed"
            raise self._refusal("expected_wait", said, batcher)

    def _refusal(self, reason: str, said: str, batcher: Batcher) -> OverloadedError:
        self._metrics.shed(self._model, reason)
        self._refusals += 1
        spread = 1.0 + self._refusals * _GOLDEN % 1.0
        return OverloadedError(
            f"'{self._model}' has too much to do: {said}.",
            retry_after_s=spread * max(_LEAST_RETRY_S, batcher.expected_wait_s()),
            queue_rows=batcher.queued_rows,
        )
