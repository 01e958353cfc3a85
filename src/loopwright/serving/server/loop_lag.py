"""How late an event loop is: what is due is asked for on time, and the difference is what callers wait for in vain."""

from __future__ import annotations

import asyncio

LOOK_EVERY_S = 0.25
LATE_S = 1.0
"""A loop that is later than this cannot be called alive."""


class LoopLag:
    """Measures the running event loop from inside."""

    def __init__(self) -> None:
        self._due = 0.0
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + LOOK_EVERY_S
        self._timer = loop.call_at(self._due, self._look)

    def stop(self) -> None:
        """End measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def seconds(self) -> float:
        """Return by how much the loop was late at its last look, or is late with the next."""
        if self._timer is None:
            return 0.0
        return max(self._last, asyncio.get_running_loop().time() - self._due)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._last = max(0.0, now - self._due)
        self._due = now + LOOK_EVERY_S
        self._timer = loop.call_at(self._due, self._look)
