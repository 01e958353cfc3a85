"""The prediction log: every accepted row is on disk before its answer leaves, or counted as dropped with the reason.

The invariant, exact at every moment, from any thread, and exported as metrics::

    accepted = durable + in_flight + dropped{reason}

What is promised depends on the state of the log (`LogCounts.state`):

``quick``
    A write of records goes to the model's open segment in one frame with one ``write`` of the kernel
    (`loopwright.serving.log.segment`) before it returns. So an answered prediction survives ``kill -9`` of the server,
    and the rows of a request are there all together or not at all.
``slow``
    A write that took longer than ``slow_write_s`` (50 ms), or that another thread's write kept waiting for so long,
    hands over to a thread. From then on records wait in a bounded ring and answers leave before they are on disk.
    The thread begins to write what waits within 20 ms, or as soon as 1 MiB has come together. So ``kill -9`` loses at
    most what came in the last 20 ms and while the disk was busy with the write before; never more than the ring, and
    never a part of a request. ``in_flight`` says how much that is. When writes have been quick again for a while (a
    second; longer each time that the disk becomes slow soon after), the log is ``quick`` again.

Nobody is warned of the first slow write: the thread that makes it, which may be the event loop, waits for that one.

A full ring drops the newest rows (``dropped{reason="log_full"}``), or, for models whose log is audited
(``log_full="shed"``), has calls refused before they are accepted (`PredictionLog.refuse_if_full`); what was accepted
then waits, over the bounds if it has to be. When the disk is full the server goes on answering and counts the rows as
``dropped{reason="disk_full"}``: an alert's business, not the callers'. An audited log keeps them in the ring instead
and tries again.

``fsync`` says what survives the loss of power: ``interval`` syncs the file every ``sync_interval`` seconds (1 by
default), and that is the most that can be lost; ``always`` counts rows as durable only when they are synced, which in
the quick state is before the answer leaves; ``none`` leaves it to the kernel.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from loopwright.core.errors import OverloadedError, StoreError, StoreFullError
from loopwright.serving.log.log_ring import LogRing, LogRoom
from loopwright.serving.log.prediction_columns import encode_table
from loopwright.serving.log.prediction_record import encode_records
from loopwright.serving.log.segment import SegmentWriter
from loopwright.serving.log.segment_rota import SegmentRota

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.deploy import FsyncPolicy, LogFullPolicy
    from loopwright.serving.log.prediction_record import PredictionRecord
    from loopwright.serving.log.segment import Payload

LogState: TypeAlias = Literal["quick", "slow"]

SEGMENT_SUFFIX = ".seg"
DEFAULT_ROTATE_BYTES = 64 << 20
SLOW_WRITE_S = 0.05
GROUP_S = 0.02
GROUP_BYTES = 1 << 20
_CALM_S = 1.0
_MOST_CALM_S = 64.0
_RETRY_S = 0.25
_REFUSED_RETRY_S = 1.0


@dataclass(frozen=True)
class LogCounts:
    """Rows by state since the process began; ``accepted == durable + in_flight + sum(dropped.values())``.

    Attributes:
        accepted: Rows of accepted requests, and copies for the shadow.
        durable: Rows on disk: in the kernel's hands, with ``fsync="always"`` on the device.
        in_flight: Rows being computed, waiting in the ring or being written.
        dropped: Rows that are not kept, by reason.
        state: See the module.
        waiting: Rows in the ring, which are among those in flight.
        sync_failures: Syncs that failed; the loss of power may then cost rows that are counted as durable.
    """

    accepted: int = 0
    durable: int = 0
    in_flight: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    state: LogState = "quick"
    waiting: int = 0
    sync_failures: int = 0


def segments_folder(local: Path, model: str) -> Path:
    """Return the folder of a model's segments on this machine."""
    return local / "predictions" / model


class PredictionLog:
    """Write one model's prediction records, from any thread.

    Args:
        local: The folder of this machine's own files (``stores.local``).
        model: Name of the model.
        clock: Times writes, and the intervals between syncs.
        ids: Names segments.
        rotate_bytes: Size at which a new segment is begun.
        rotate_s: Age, in seconds, at which a new segment is begun.
        sync_interval: Seconds between two syncs against the loss of power.
        fsync: When the file is synced.
        log_full: What a full ring means.
        slow_write_s: Seconds from which on a write is slow.
        room: How much may wait, over all logs that share it; one of its own by default.
        open_segment: Opens a segment's file.
    """

    def __init__(
        self,
        local: Path,
        model: str,
        *,
        clock: Clock,
        ids: Ids,
        rotate_bytes: int = DEFAULT_ROTATE_BYTES,
        rotate_s: float = 900.0,
        sync_interval: float = 1.0,
        fsync: FsyncPolicy = "interval",
        log_full: LogFullPolicy = "drop_newest",
        slow_write_s: float = SLOW_WRITE_S,
        room: LogRoom | None = None,
        open_segment: Callable[[Path], SegmentWriter] = SegmentWriter,
    ) -> None:
        self.model = model
        self.folder = segments_folder(local, model)
        self._clock = clock
        self._fsync = fsync
        self._sheds = log_full == "shed"
        self._slow_write_s = slow_write_s
        self._segments = SegmentRota(
            lambda: open_segment(self.folder / f"{ids.new()}{SEGMENT_SUFFIX}"),
            clock=clock,
            rotate_bytes=rotate_bytes,
            rotate_s=rotate_s,
            sync_interval=sync_interval,
            fsync=fsync,
        )
        self._disk = threading.Lock()  # held while the segment is written; never asked for by who holds the other one
        self._lock = threading.Lock()  # the counts, the state and the ring; held for moments
        self._changed = threading.Condition(self._lock)
        self._slow = False
        self._ring = LogRing(room or LogRoom())
        self._flushing = 0
        self._calm_s = _CALM_S
        self._quick_since: float | None = None
        self._accepted = 0
        self._durable = 0
        self._in_flight = 0
        self._dropped: Counter[str] = Counter()

    def accept(self, rows: int) -> None:
        """Count ``rows`` as accepted; each must end in ``write``, ``write_table`` or ``drop``."""
        with self._lock:
            self._accepted += rows
            self._in_flight += rows

    def refuse_if_full(self, rows: int) -> None:
        """Call before ``accept``: refuses a call that an audited log would not have room for.

        Raises:
            OverloadedError: With ``log_full="shed"``, while the ring has no room for what is in flight and these rows.
        """
        if not self._sheds or not self._slow:
            return
        with self._lock:
            computing = self._in_flight - self._ring.rows
            if not self._slow or computing + rows <= self._ring.room.free_rows or self._in_flight == 0:
                return
            waiting = self._ring.rows
        raise OverloadedError(
            f"The prediction log of '{self.model}' is full: {waiting} rows wait for a slow disk.",
            retry_after_s=_REFUSED_RETRY_S,
        )

    def write(self, records: list[PredictionRecord]) -> bool:
        """Write records, of one request or of several, in one frame.

        Returns:
            False when they had to be dropped, and were counted so. True when they are durable, or, in the slow state,
            in flight.
        """
        return self._put(encode_records(records), len(records))

    def write_table(self, table: pa.Table) -> bool:
        """Write the rows of a large request, laid out by `loopwright.serving.log.prediction_columns.records_table`.

        Returns:
            As ``write`` does.
        """
        return self._put(encode_table(table), table.num_rows)

    def drop(self, rows: int, reason: str) -> None:
        """Count accepted rows that will never be written."""
        with self._lock:
            self._in_flight -= rows
            self._dropped[reason] += rows

    def counts(self) -> LogCounts:
        """Return the rows by state, one consistent reading."""
        with self._lock:
            return LogCounts(
                self._accepted,
                self._durable,
                self._in_flight,
                dict(self._dropped),
                "slow" if self._slow else "quick",
                self._ring.rows,
                self._segments.sync_failures,
            )

    def sync_if_due(self) -> bool:
        """Sync when something is unsynced and the interval is over; called from a thread that may wait for the disk."""
        return self._segments.sync_if_due(self._disk)

    def rotate(self) -> None:
        """Finish the open segment; the next record begins another."""
        with self._disk:
            self._segments.retire()
        self._segments.close_retired()

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, sync and finish the open segment; a later record begins another.

        Args:
            timeout_s: Seconds that a slow disk gets; what waits then is dropped as ``shutdown``.
        """
        with self._lock:
            self._flushing += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._ring.rows, timeout_s)
            self._flushing -= 1
            rows = self._ring.clear()  # what the thread is just writing stays in flight: it may still arrive
            if rows:
                self._in_flight -= rows
                self._dropped["shutdown"] += rows
            if not self._ring.rows:
                self._become_quick()
        if self._disk.acquire(timeout=timeout_s):
            try:
                self._segments.retire()
            finally:
                self._disk.release()
            self._segments.close_retired()

    def _put(self, payload: Payload, rows: int) -> bool:
        while True:
            if not self._slow:
                if self._disk.acquire(blocking=False) or self._disk.acquire(timeout=self._slow_write_s):
                    try:
                        if not self._slow:
                            return self._write_now(payload, rows)
                    finally:
                        self._disk.release()
                else:
                    self._become_slow()
            with self._lock:
                if self._slow:
                    return self._wait(payload, rows)

    def _write_now(self, payload: Payload, rows: int) -> bool:
        monotonic = self._clock.monotonic
        began = monotonic()
        failed = self._written((payload,))
        if monotonic() - began > self._slow_write_s or (failed is not None and self._sheds):
            self._become_slow()
        with self._lock:
            if failed is None:
                self._durable += rows
            elif self._sheds:
                return self._wait(payload, rows)
            else:
                self._dropped[failed] += rows
            self._in_flight -= rows
        return failed is None

    def _written(self, payloads: Sequence[Payload]) -> str | None:
        """Write frames, all or none; return the reason where that failed. The disk is ours."""
        try:
            self._segments.append(payloads)
        except StoreFullError:
            return "disk_full"
        except (StoreError, OSError) as error:
            return "sync_error" if isinstance(error, OSError) and self._fsync == "always" else "write_error"
        return None

    def _wait(self, payload: Payload, rows: int) -> bool:
        """Put records into the ring; the lock is ours, and the state is slow."""
        is_first = self._ring.oldest_at() is None
        if not self._ring.put(payload, rows, at=self._clock.monotonic(), force=self._sheds):
            self._in_flight -= rows
            self._dropped["log_full"] += rows
            return False
        if is_first or self._ring.waiting_bytes >= GROUP_BYTES:
            self._changed.notify_all()
        return True

    def _become_slow(self) -> None:
        with self._lock:
            if self._slow:
                return
            self._slow = True
            relapsed = self._quick_since is not None and self._clock.monotonic() - self._quick_since < 10 * self._calm_s
            self._calm_s = min(2 * self._calm_s, _MOST_CALM_S) if relapsed else _CALM_S
        threading.Thread(target=self._write_behind, name=f"loopwright-log-{self.model}", daemon=True).start()

    def _become_quick(self) -> None:
        """Write at once from now on, which ends the thread; the lock is ours, and nothing waits."""
        if self._slow:
            self._slow, self._quick_since = False, self._clock.monotonic()
            self._changed.notify_all()

    def _write_behind(self) -> None:
        """Write what waits, in groups, until the disk has been quick for a while: the thread of the slow state."""
        slow_at, is_quick, most = self._clock.monotonic(), False, GROUP_BYTES
        while self._group_waits(None if not is_quick else slow_at + self._calm_s):
            began = self._clock.monotonic()
            with self._disk:
                with self._lock:
                    group = self._ring.take(most)
                failed = self._written([one.payload for one in group]) if group else None
            ended = self._clock.monotonic()
            is_quick = failed is None and ended - began <= self._slow_write_s
            if not is_quick:
                slow_at = ended
            with self._lock:
                most = 1 if failed else GROUP_BYTES  # where a group found no place, one after the other may
                if failed is not None and (self._sheds or len(group) > 1):
                    self._ring.put_back(group)
                    if len(group) == 1:
                        self._changed.wait_for(lambda: not self._slow, _RETRY_S)
                    continue
                rows = self._ring.done(group)
                self._in_flight -= rows
                if failed is None:
                    self._durable += rows
                else:
                    self._dropped[failed] += rows
                self._changed.notify_all()

    def _group_waits(self, calm_at: float | None) -> bool:
        """Wait for records, and for more of them; False when the log is quick again.

        Args:
            calm_at: When the disk has been quick for long enough; None while it is slow.
        """
        with self._lock:
            while self._slow:
                oldest, now = self._ring.oldest_at(), self._clock.monotonic()
                if oldest is not None:
                    if now - oldest < GROUP_S:
                        self._changed.wait_for(self._is_group, GROUP_S - (now - oldest))
                    return True
                if calm_at is not None and now >= calm_at:
                    self._become_quick()
                else:
                    self._changed.wait(None if calm_at is None else calm_at - now)
            return False

    def _is_group(self) -> bool:
        return self._ring.waiting_bytes >= GROUP_BYTES or self._flushing > 0
