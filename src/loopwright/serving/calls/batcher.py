"""The calls of one version that wait to be computed: merged into batches, never delayed without need.

While the version is idle, a call is computed at the end of the turn of the event loop in which it came, together with
the others of that turn. While it computes, calls gather, and the next batch takes as many as fit. A batch ends before
the call with which it would have more than ``max_batch_rows`` rows; a call that has more on its own is a batch of its
own. Small batches of a quick version are computed on the event loop itself, for a few milliseconds before other
callbacks (health, metrics) have their turn; others on the executor. There the next batch lies ready as soon as it is
full, so that under overload, when the event loop is busy with refusals, the version does not wait for it.

Every call leaves the batcher once: through ``finish``, computed or failed, or by ``forget``.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from loopwright.core.errors import DeadlineError
from loopwright.serving.calls.batch import compute, is_mergeable
from loopwright.serving.calls.call_entry import Computed
from loopwright.serving.calls.service_time import ServiceTime

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from loopwright.core.clock import Clock
    from loopwright.serving.calls.call_entry import CallEntry
    from loopwright.serving.calls.slot import Slot

_TURN_S = 0.005  # on the event loop before others have their turn
_MOST_LEFT_BEHIND = 64  # calls that are done may stand in the queue for a while
_ALONE_NOTED = 16  # of the calls that come alone, every so many tell how long a batch takes
_LATE = "The deadline passed before the computation began."
_LATE_ANSWER = "The deadline passed before the answer was computed."


class Scheduler(Protocol):
    """What is used of an event loop."""

    def call_soon(self, callback: Callable[[], None], /) -> object:
        """Call in the next turn."""

    def call_soon_threadsafe(self, callback: Callable[[], None], /) -> object:
        """Call in the next turn, from any thread."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> TimerHandle:
        """Call after so many seconds."""


class Batcher:
    """Queue the calls of one version and compute them in batches; used from one event loop.

    Args:
        slot: The version.
        finish: Logs and answers what was computed, or has failed.
        scheduler: The event loop.
        executor: Where batches are computed that would hold up the event loop.
        max_delay_s: How long an idle version waits for more calls; 0 computes at the end of the turn.
        max_batch_rows: Rows up to which calls are merged; by the version's warm-up where it is None.

    Attributes:
        queued_calls: Calls that wait.
        queued_rows: Their rows.
        queued_bytes: What their requests weigh.
        running_calls: Calls that the executor has.
        running_rows: Rows of the batch that is being computed there.
    """

    def __init__(
        self,
        slot: Slot,
        *,
        finish: Callable[[Slot, Sequence[Computed]], None],
        scheduler: Scheduler,
        executor: Executor,
        clock: Clock,
        max_delay_s: float = 0.0,
        max_batch_rows: int | None = None,
    ) -> None:
        self.slot = slot
        self.scheduler = scheduler
        self.max_batch_rows = max_batch_rows or slot.max_batch_rows
        self.service_time = slot.service_time or ServiceTime()
        self.queued_calls = self.queued_rows = self.queued_bytes = 0
        self.running_calls = self.running_rows = 0
        self._finish = finish
        self._executor = executor
        self._monotonic = clock.monotonic
        self._max_delay_s = max_delay_s
        self._queue: deque[CallEntry] = deque()
        self._runs_since: float | None = None
        self._ahead_calls = self._ahead_rows = 0  # of the batch that lies ready behind the one being computed
        self._singular = 0  # calls that wait and have a deadline or are batches of their own
        self._alone = 0
        self._is_due = False  # a pump is scheduled
        self._delay: TimerHandle | None = None

    def has_room(self, rows: int) -> bool:
        """Return whether so many rows would be computed at once, on the event loop and with all that wait."""
        return self._runs_since is None and self.queued_rows + rows <= self.slot.inline_rows

    @property
    def is_idle(self) -> bool:
        """Return whether nothing waits and nothing is computed on the executor."""
        return self._runs_since is None and not self.queued_calls

    @property
    def is_running(self) -> bool:
        """Return whether a batch is being computed on the executor."""
        return self._runs_since is not None

    def add(self, entry: CallEntry) -> None:
        """Let a call wait; `pump` computes."""
        entry.queued = True
        self._queue.append(entry)
        self.queued_calls += 1
        self.queued_rows += entry.rows
        call = entry.call
        self.queued_bytes += call.size_bytes
        self._singular += call.deadline is not None or not is_mergeable(entry)
        if self._runs_since is not None:
            self._watch(entry)

    def compute_alone(self, entry: CallEntry) -> bool:
        """Compute the only call of a turn at once; False where it has to take the queue.

        It does what `add` and `pump` would do, without the queue: what one caller after the other pays for.
        """
        slot, rows = self.slot, entry.rows
        if (
            rows > slot.inline_rows
            or rows > self.max_batch_rows
            or entry.call.deadline is not None
            or self.queued_calls
            or self._runs_since is not None
            or self._max_delay_s
            or not slot.lock.acquire(blocking=False)
        ):
            return False
        began = self._monotonic()
        try:
            parts = compute(slot.predictor, (entry,), now=entry.at)
        finally:
            slot.lock.release()
        slot.note(self._monotonic() - began)
        self._finish(slot, parts)
        self._alone += 1
        if self._alone % _ALONE_NOTED == 0:
            self.service_time.note(rows, self._monotonic() - began)
        return True

    def forget(self, entry: CallEntry) -> None:
        """Let a call that is done no longer wait."""
        if entry.queued:
            self._left(entry)
            if len(self._queue) > 2 * self.queued_calls + _MOST_LEFT_BEHIND:
                self._queue = deque(entry for entry in self._queue if entry.queued)

    def expected_wait_s(self) -> float:
        """Return how long a call that came now is expected to wait before its batch begins."""
        wait = 0.0
        if self._runs_since is not None:
            wait = max(0.0, self.service_time.of(self.running_rows) - (self._monotonic() - self._runs_since))
            wait += self.service_time.of(self._ahead_rows) if self._ahead_rows else 0.0
        if self.queued_rows:
            whole, rest = divmod(self.queued_rows, self.max_batch_rows)
            wait += whole * self.service_time.of(self.max_batch_rows)
            wait += self.service_time.of(rest) if rest else 0.0
        return wait

    def pump(self) -> None:
        """Compute what waits, as far as it is time."""
        self._is_due = False
        if not self._queue:
            return
        began = self._monotonic()
        if self._runs_since is not None:
            self._lay_ready(began)
            return
        if self._max_delay_s and self._may_wait(began):
            return
        now = began
        while entries := self._take(now):
            slot = self.slot
            rows = entries[0].rows if len(entries) == 1 else sum([entry.rows for entry in entries])
            if rows > slot.inline_rows or not slot.lock.acquire(blocking=False):
                self._dispatch(entries, rows, now)
                return
            try:
                parts = compute(slot.predictor, entries, now=entries[-1].at)
            finally:
                slot.lock.release()
            slot.note(self._monotonic() - now)
            self._finish(slot, parts)
            ended = self._monotonic()
            self.service_time.note(rows, ended - now)
            now = ended
            if not self._queue:
                return
            if now - began > _TURN_S:
                self._pump_soon()
                return

    def _pump_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self.scheduler.call_soon(self.pump)

    def _may_wait(self, now: float) -> bool:
        """Wait for more calls where the oldest has not waited its time; a timer then pumps."""
        if self.queued_rows >= self.max_batch_rows:
            return False
        oldest = next((entry for entry in self._queue if entry.queued), None)
        if oldest is None or now >= oldest.began + self._max_delay_s:
            return False
        if self._delay is None:
            self._delay = self.scheduler.call_later(oldest.began + self._max_delay_s - now, self._waited)
        for entry in self._queue:
            self._watch(entry)
        return True

    def _waited(self) -> None:
        self._delay = None
        self.pump()

    def _take(self, now: float) -> list[CallEntry]:
        """Take the next batch off the queue; what is too late fails."""
        queue, inline_rows = self._queue, self.slot.inline_rows
        taken: list[CallEntry] = []
        if self._is_one_batch(inline_rows):  # as nearly always
            taken += queue
            queue.clear()
            for entry in taken:
                entry.queued = False
            self.queued_calls = self.queued_rows = self.queued_bytes = 0
            return taken
        late: list[CallEntry] = []
        rows = 0
        most = self.max_batch_rows
        while queue:
            entry = queue[0]
            if not entry.queued:
                queue.popleft()
                continue
            deadline = entry.call.deadline
            if deadline is not None and now >= deadline:
                late.append(queue.popleft())
                self._left(entry)
                continue
            if taken and (rows + entry.rows > most or not is_mergeable(entry)):
                break
            if not taken and entry.rows <= inline_rows:
                most = min(most, inline_rows)  # small calls stay on the event loop
            taken.append(queue.popleft())
            self._left(entry)
            rows += entry.rows
            if not is_mergeable(entry):
                break
        if late:
            self._finish(self.slot, [Computed([entry], DeadlineError(_LATE), entry.rows) for entry in late])
        return taken

    def _is_one_batch(self, inline_rows: int) -> bool:
        """Return whether all that stands in the queue is one batch for the event loop, with nothing to look at."""
        rows = self.queued_rows
        return (
            rows <= inline_rows
            and rows <= self.max_batch_rows
            and not self._singular
            and self.queued_calls == len(self._queue)
        )

    def _left(self, entry: CallEntry) -> None:
        entry.queued = False
        self.queued_calls -= 1
        self.queued_rows -= entry.rows
        call = entry.call
        self.queued_bytes -= call.size_bytes
        self._singular -= call.deadline is not None or not is_mergeable(entry)

    # Beside the event loop.

    def _lay_ready(self, now: float) -> None:
        """Give the executor the next batch, where it is full already and none lies there."""
        if self._ahead_rows or self.slot.inline_rows or self.queued_rows < self.max_batch_rows:
            return
        entries = self._take(now)
        if entries:
            self._ahead_calls, self._ahead_rows = len(entries), sum([entry.rows for entry in entries])
            self.running_calls += len(entries)
            self._submit(entries, self._ahead_rows)

    def _dispatch(self, entries: list[CallEntry], rows: int, now: float) -> None:
        self._runs_since = now
        self.running_calls, self.running_rows = len(entries), rows
        self._submit(entries, rows)
        if self._queue:
            self._lay_ready(now)

    def _submit(self, entries: list[CallEntry], rows: int) -> None:
        for entry in entries:
            self._watch(entry)
        for entry in self._queue:
            self._watch(entry)
        self._executor.submit(self._work, entries, rows, self.scheduler)

    def _work(self, entries: list[CallEntry], rows: int, scheduler: Scheduler) -> None:
        slot = self.slot
        with slot.lock:
            wanted = [entry for entry in entries if not entry.done and not self._is_late(entry)]
            parts = compute(slot.predictor, wanted, now=wanted[-1].at) if wanted else []
        with suppress(RuntimeError):  # the event loop has ended: nobody waits any more
            scheduler.call_soon_threadsafe(partial(self._completed, entries, parts, rows))

    def _completed(self, entries: list[CallEntry], parts: list[Computed], rows: int) -> None:
        began, ended = self._runs_since, self._monotonic()
        self._runs_since = ended if self._ahead_rows else None
        self.running_calls, self.running_rows = self._ahead_calls, self._ahead_rows
        self._ahead_calls = self._ahead_rows = 0
        if self._queue and not self.slot.inline_rows:
            self.pump()  # before the answers are written: the version waits for nobody
        computed = {id(entry) for part in parts for entry in part.entries}
        late = [entry for entry in entries if id(entry) not in computed and not entry.done]
        parts += [Computed([entry], DeadlineError(_LATE), entry.rows) for entry in late]
        self._finish(self.slot, parts)
        if began is not None and not late:
            self.service_time.note(rows, ended - began)
        if self._queue and self.slot.inline_rows:
            self._pump_soon()

    def _is_late(self, entry: CallEntry) -> bool:
        deadline = entry.call.deadline
        return deadline is not None and self._monotonic() >= deadline

    def _watch(self, entry: CallEntry) -> None:
        """Let a call that must wait fail at its deadline."""
        deadline = entry.call.deadline
        if deadline is not None and entry.timer is None and not entry.done:
            delay = max(0.0, deadline - self._monotonic())
            entry.timer = self.scheduler.call_later(delay, partial(self._expired, entry))

    def _expired(self, entry: CallEntry) -> None:
        if not entry.done:
            self.forget(entry)
            self._finish(self.slot, [Computed([entry], DeadlineError(_LATE_ANSWER), entry.rows)])
