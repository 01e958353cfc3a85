"""Time comes in as an argument: no room reads the wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the present moment, in UTC with its zone."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's own clock."""

    monotonic = staticmethod(time.monotonic)  # asked many times per request: without a call of our own in between

    def now(self) -> datetime:
        """Return the present moment, in UTC with its zone."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when it is told to; sleeping moves it.

    >>> clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    >>> clock.advance(90)
    >>> clock.now().isoformat()
    '2026-01-01T00:01:30+00:00'
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError(f"a clock needs a start with a time zone, got {start!r}")
        self._now = start.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Return the moment the clock was moved to."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds by which the clock was moved."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Move the clock by ``seconds`` and return at once."""
        self.advance(seconds)

    def advance(self, step: float | timedelta) -> None:
        """Move the clock forward by ``step`` (seconds or a timedelta).

        Raises:
            ValueError: If ``step`` is negative.
        """
        delta = step if isinstance(step, timedelta) else timedelta(seconds=step)
        if delta < timedelta(0):
            raise ValueError(f"a clock does not go back, got {delta}")
        self._now += delta
        self._monotonic += delta.total_seconds()
