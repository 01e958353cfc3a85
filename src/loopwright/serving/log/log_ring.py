"""Records that wait for a slow disk, in the order they came, within bounds that the logs of a process share."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.serving.log.segment import Payload

DEFAULT_RING_ROWS = 65_536
DEFAULT_RING_BYTES = 64 << 20


class LogRoom:
    """How much may wait in this process, over all its logs; from any thread.

    Args:
        rows: Most rows that wait.
        size_bytes: Most bytes that wait.

    >>> room = LogRoom(rows=10)
    >>> room.take(8, 100), room.take(8, 100), room.free_rows
    (True, False, 2)
    """

    def __init__(self, rows: int = DEFAULT_RING_ROWS, size_bytes: int = DEFAULT_RING_BYTES) -> None:
        self._lock = threading.Lock()
        self._rows, self._bytes = rows, size_bytes
        self._used_rows = self._used_bytes = 0

    @property
    def free_rows(self) -> int:
        """Return how many more rows may wait; none when the bytes are used up, and below 0 after a forced ``take``."""
        with self._lock:
            return self._rows - self._used_rows if self._used_bytes < self._bytes else 0

    def take(self, rows: int, size_bytes: int, *, force: bool = False) -> bool:
        """Take room, and tell whether there was enough; what is larger than all of it finds room where nothing waits.

        Args:
            rows: Rows.
            size_bytes: Bytes.
            force: Take it also where there is not enough.
        """
        with self._lock:
            fits = self._used_rows + rows <= self._rows and self._used_bytes + size_bytes <= self._bytes
            if not (fits or force or self._used_rows == 0):
                return False
            self._used_rows += rows
            self._used_bytes += size_bytes
            return True

    def give_back(self, rows: int, size_bytes: int) -> None:
        """Return room."""
        with self._lock:
            self._used_rows -= rows
            self._used_bytes -= size_bytes


@dataclass(frozen=True)
class Waiting:
    """The packed records of one write, which become one frame, and since when they wait."""

    payload: Payload
    rows: int
    at: float


class LogRing:
    """The records of one log that wait; guarded by the log's own lock.

    Args:
        room: What the logs of the process share.

    Attributes:
        rows: Rows that wait or are being written.
        waiting_bytes: Bytes of those that wait.
    """

    def __init__(self, room: LogRoom) -> None:
        self.room = room
        self._waiting: deque[Waiting] = deque()
        self.rows = 0
        self.waiting_bytes = 0

    def put(self, payload: Payload, rows: int, *, at: float, force: bool = False) -> bool:
        """Take records in at a moment of the monotonic clock; False where there is no room."""
        size = len(payload)
        if not self.room.take(rows, size, force=force):
            return False
        self._waiting.append(Waiting(payload, rows, at))
        self.rows += rows
        self.waiting_bytes += size
        return True

    def oldest_at(self) -> float | None:
        """Return since when the oldest of those that wait does, or None where none waits."""
        return self._waiting[0].at if self._waiting else None

    def take(self, size_bytes: int) -> list[Waiting]:
        """Take the oldest ones out to write them, of about so many bytes; they keep their room until ``done``."""
        group: list[Waiting] = []
        size = 0
        while self._waiting and size < size_bytes:
            group.append(self._waiting.popleft())
            size += len(group[-1].payload)
        self.waiting_bytes -= size
        return group

    def done(self, group: Sequence[Waiting]) -> int:
        """Let go of what ``take`` gave, and return its rows."""
        rows, size = sum(one.rows for one in group), sum(len(one.payload) for one in group)
        self.rows -= rows
        self.room.give_back(rows, size)
        return rows

    def put_back(self, group: Sequence[Waiting]) -> None:
        """Let what ``take`` gave wait again, before all others."""
        self._waiting.extendleft(reversed(group))
        self.waiting_bytes += sum(len(one.payload) for one in group)

    def clear(self) -> int:
        """Forget what waits, but for what was taken out, and return its rows."""
        return self.done(self.take(self.waiting_bytes + 1))
