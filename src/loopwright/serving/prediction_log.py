"""The prediction log: every accepted row is on disk before its answer leaves, or counted as dropped with the reason.

The invariant, exact at every moment and exported as metrics::

    accepted = durable + in_flight + dropped{reason}

A request's records go to the model's open segment in one frame with one ``write`` (`loopwright.serving.segment`), so
an acknowledged prediction survives ``kill -9`` of the server, and its rows are there all together or not at all.
Against the loss of power the file is synced every ``sync_interval`` seconds (1 by default): that is the most that can
be lost then. When the disk is full the server goes on answering, and counts the rows as
``dropped{reason="disk_full"}``: an alert's business, not the callers'.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.errors import StoreError, StoreFullError
from loopwright.serving.prediction_record import encode_records
from loopwright.serving.segment import SegmentWriter

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.prediction_record import PredictionRecord

SEGMENT_SUFFIX = ".seg"
DEFAULT_ROTATE_BYTES = 64 << 20


@dataclass(frozen=True)
class LogCounts:
    """Rows by state since the process began; ``accepted == durable + in_flight + sum(dropped.values())``."""

    accepted: int = 0
    durable: int = 0
    in_flight: int = 0
    dropped: dict[str, int] = field(default_factory=dict)


def segments_folder(local: Path, model: str) -> Path:
    """Return the folder of a model's segments on this machine."""
    return local / "predictions" / model


class PredictionLog:
    """Write one model's prediction records, from any thread.

    Args:
        local: The folder of this machine's own files (``stores.local``).
        model: Name of the model.
        clock: For the interval between syncs.
        ids: Names segments.
        rotate_bytes: Size at which a new segment is begun.
        sync_interval: Seconds between two syncs against the loss of power.
    """

    def __init__(
        self,
        local: Path,
        model: str,
        *,
        clock: Clock,
        ids: Ids,
        rotate_bytes: int = DEFAULT_ROTATE_BYTES,
        sync_interval: float = 1.0,
    ) -> None:
        self.model = model
        self.folder = segments_folder(local, model)
        self._clock = clock
        self._ids = ids
        self._rotate_bytes = rotate_bytes
        self._sync_interval = sync_interval
        self._lock = threading.Lock()
        self._writer: SegmentWriter | None = None
        self._synced_at = clock.monotonic()
        self._unsynced = False
        self._accepted = 0
        self._durable = 0
        self._in_flight = 0
        self._dropped: Counter[str] = Counter()

    def accept(self, rows: int) -> None:
        """Count ``rows`` as accepted; each must end in ``write`` or ``drop``."""
        with self._lock:
            self._accepted += rows
            self._in_flight += rows

    def write(self, records: list[PredictionRecord]) -> bool:
        """Write the records of one request; return False when they had to be dropped (and were counted so)."""
        payload = encode_records(records)
        rows = len(records)
        with self._lock:
            self._in_flight -= rows
            try:
                self._open().append(payload)
            except StoreFullError:
                self._dropped["disk_full"] += rows
                return False
            except (StoreError, OSError):
                self._dropped["write_error"] += rows
                return False
            self._durable += rows
            self._unsynced = True
            return True

    def drop(self, rows: int, reason: str) -> None:
        """Count accepted rows that will never be written."""
        with self._lock:
            self._in_flight -= rows
            self._dropped[reason] += rows

    def _open(self) -> SegmentWriter:
        writer = self._writer
        if writer is not None and (writer.size >= self._rotate_bytes or writer.broken):
            self._writer = None
            writer.close()
            writer = None
        if writer is None:
            writer = self._writer = SegmentWriter(self.folder / f"{self._ids.new()}{SEGMENT_SUFFIX}")
        return writer

    def sync_if_due(self) -> bool:
        """Sync when something is unsynced and the interval is over; called from a thread that may wait for the disk."""
        with self._lock:
            due = self._unsynced and self._clock.monotonic() - self._synced_at >= self._sync_interval
            writer = self._writer
            if not due or writer is None:
                return False
            self._unsynced = False
            self._synced_at = self._clock.monotonic()
        # Outside the lock: requests go on being logged meanwhile. A rotation closes with a sync of its own.
        try:
            writer.sync()
        except OSError:
            return False
        return True

    def counts(self) -> LogCounts:
        """Return the rows by state, one consistent reading."""
        with self._lock:
            return LogCounts(self._accepted, self._durable, self._in_flight, dict(self._dropped))

    def rotate(self) -> None:
        """Finish the open segment; the next record begins another."""
        with self._lock:
            writer, self._writer = self._writer, None
            self._unsynced = False
        if writer is not None:
            writer.close()

    def close(self) -> None:
        """Sync and finish the open segment; a later record begins another."""
        self.rotate()
