"""Durations as people write them: ``"2h"``, ``"200ms"``, ``"7d"``."""

from __future__ import annotations

import re
from datetime import timedelta

from loopwright.core.errors import DeclarationError

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|min|s|m|h|d|w)\s*")


def parse_duration(value: str | float | timedelta) -> timedelta:
    """Read a duration: ``"1h30m"``, ``"200ms"``, a number of seconds, or a timedelta.

    Raises:
        DeclarationError: If the text is no duration or the duration is negative.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(value, timedelta):
        result = value
    elif isinstance(value, (int, float)):
        result = timedelta(seconds=value)
    else:
        position, total_us = 0, 0.0
        while match := _PART.match(value, position):
            total_us += float(match[1]) * _UNITS_US[match[2]]
            position = match.end()
        if position != len(value) or not value.strip():
            raise DeclarationError(
                f"{value!r} is not a duration.",
                hint="Write a number and a unit: us, ms, s, m, h, d or w, as in '2h' or '1h30m'.",
            )
        result = timedelta(microseconds=total_us)
    if result < timedelta(0):
        raise DeclarationError(f"A duration cannot be negative, got {value!r}.")
    return result


def format_duration(value: timedelta | float) -> str:
    """Write a duration (timedelta or seconds) for people, with its two largest units.

    >>> format_duration(timedelta(hours=2, minutes=5)), format_duration(0.0123), format_duration(75)
    ('2h5m', '12ms', '1m15s')
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + "s"
    rest, parts = round(seconds), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
