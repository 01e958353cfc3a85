"""The segments of one log, one after the other: opened, written, synced, finished by size and by age."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopwright.core.clock import Clock
    from loopwright.serving.deploy import FsyncPolicy
    from loopwright.serving.log.segment import Payload, SegmentWriter

_MOST_RETIRED = 3


class SegmentRota:
    """Append frames to the segment whose turn it is.

    ``append`` and ``retire`` are for whoever holds the disk; the others may be called at any time. A finished segment
    is closed, which waits for the device, by ``sync_if_due`` or ``close_retired``, not by who writes.

    Args:
        begin: Opens the next segment.
        clock: For ages and intervals.
        rotate_bytes: Size at which a segment is finished.
        rotate_s: Age at which it is, in seconds.
        sync_interval: Seconds between two syncs, with ``fsync="interval"``.
        fsync: When files are synced.
    """

    def __init__(
        self,
        begin: Callable[[], SegmentWriter],
        *,
        clock: Clock,
        rotate_bytes: int,
        rotate_s: float,
        sync_interval: float,
        fsync: FsyncPolicy,
    ) -> None:
        self._begin = begin
        self._clock = clock
        self._rotate_bytes = rotate_bytes
        self._rotate_s = rotate_s
        self._sync_interval = sync_interval
        self._fsync = fsync
        self._writer: SegmentWriter | None = None
        self._begun_at = 0.0
        self._retired: list[SegmentWriter] = []
        self._closing = threading.Lock()  # so that no file is closed while it is synced
        self._synced_at = clock.monotonic()
        self._unsynced = False
        self.sync_failures = 0

    def append(self, payloads: Sequence[Payload]) -> None:
        """Write frames, all or none of them; with ``fsync="always"`` they are on the device afterwards.

        Raises:
            StoreFullError: When there is no space.
            StoreError: When the file cannot be written.
            OSError: When no file can be opened, or the sync failed.
        """
        writer = self._writer
        if writer is None or writer.size >= self._rotate_bytes or writer.broken:
            writer = self._begun()
        before = writer.size
        if len(payloads) == 1:
            writer.append(payloads[0])
        else:
            writer.append_many(payloads)
        if self._fsync == "always":
            try:
                writer.sync()
            except OSError:  # what the device has of it is unknown, and the next sync would not say
                writer.cut_back(before)
                writer.broken = True
                self.sync_failures += 1
                raise
        self._unsynced = True

    def retire(self) -> None:
        """Finish the open segment; the next append begins another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._retired.append(writer)

    def close_retired(self) -> None:
        """Sync and close finished segments; waits for the device."""
        with self._closing:
            self._close_retired()

    def sync_if_due(self, disk: threading.Lock) -> bool:
        """Sync when something is unsynced and the interval is over, and close finished segments.

        Args:
            disk: Taken for a moment to finish a segment by its age, unless somebody writes.
        """
        with self._closing:
            now, writer = self._clock.monotonic(), self._writer
            if writer is not None and now - self._begun_at >= self._rotate_s and disk.acquire(blocking=False):
                try:
                    self.retire()
                finally:
                    disk.release()
            self._close_retired()
            writer = self._writer
            due = self._fsync == "interval" and self._unsynced and now - self._synced_at >= self._sync_interval
            if not due or writer is None:
                return False
            self._unsynced = False
            self._synced_at = now
            try:  # while the log goes on being written
                writer.sync()
            except OSError:
                self.sync_failures += 1
                writer.broken = True
                return False
            return True

    def _begun(self) -> SegmentWriter:
        """Begin the next segment."""
        self.retire()
        if len(self._retired) > _MOST_RETIRED:  # nobody calls sync_if_due
            self.close_retired()
        self._writer = self._begin()
        self._begun_at = self._clock.monotonic()
        return self._writer

    def _close_retired(self) -> None:
        while self._retired:
            writer = self._retired.pop(0)
            try:
                writer.close(sync=self._fsync != "none")
            except OSError:
                self.sync_failures += 1
