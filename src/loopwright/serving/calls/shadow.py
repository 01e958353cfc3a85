"""The shadow: copies of answered requests, computed by the challenger on a thread of its own and never waited for.

The queue is bounded. When it is full the newest copy is dropped and counted: the champion's answers never queue
behind the challenger's.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class ShadowTask:
    """The copies of one batch: the work to do, and how many rows and requests it has."""

    run: Callable[[], None]
    rows: int
    copies: int = 1


class ShadowRunner:
    """Run copies one after the other on a daemon thread.

    Args:
        capacity: Batches of copies that may wait.
        on_drop: Called, on the caller's thread, for a copy that found no room.
    """

    def __init__(self, *, capacity: int = 256, on_drop: Callable[[], None]) -> None:
        self._queue: queue.Queue[ShadowTask | None] = queue.Queue(capacity)
        self._on_drop = on_drop
        self._thread: threading.Thread | None = None
        self._closed = False

    def offer(self, task: ShadowTask) -> bool:
        """Hand over copies without waiting; False when there was no room."""
        if self._closed:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="loopwright-shadow", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(task)
        except queue.Full:
            for _ in range(task.copies):
                self._on_drop()
            return False
        return True

    def _work(self) -> None:
        while True:
            task = self._queue.get()
            if task is None:
                return
            task.run()

    def close(self, *, timeout: float = 5.0) -> None:
        """Finish what waits, for at most ``timeout`` seconds, and end the thread."""
        self._closed = True
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)
        self._thread = None
