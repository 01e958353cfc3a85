"""How far a price may have moved since it was read."""

from __future__ import annotations

import math
from datetime import date

FRESH_DAYS = 90
OLD_DAYS = 365
_FRESH, _AGED, _OLD, _OLD_ACCELERATOR = 0.05, 0.15, 0.25, 0.40


def spread_of(as_of: str, today: date, *, is_gpu: bool = False) -> float:
    """Return the band around a price by its age, as a share: 0.05 stands for 5 % up or down.

    5 % within 90 days, 15 % within a year; beyond it 40 % for accelerators, whose prices fall in steps, and 25 % for
    the rest. A price without a day counts as the oldest.

    >>> spread_of("2026-07-20", date(2026, 8, 1)), spread_of("", date(2026, 8, 1), is_gpu=True)
    (0.05, 0.4)
    """
    days = age_days(as_of, today)
    if days < FRESH_DAYS:
        return _FRESH
    if days < OLD_DAYS:
        return _AGED
    return _OLD_ACCELERATOR if is_gpu else _OLD


def age_days(as_of: str, today: date) -> float:
    """Return how old a price is; without a day it is infinitely old, and one of tomorrow is new."""
    return max(0, (today - date.fromisoformat(as_of)).days) if as_of else math.inf


def deviation_of(spread: float) -> float:
    """Return the standard deviation of a price that lies evenly within the band: the half width over the root of 3."""
    return spread / math.sqrt(3)


def deviation_of_zones(low: float | None, high: float | None) -> float:
    """Return the standard deviation of the logarithm of a price that differs from zone to zone.

    The lowest and the highest of a few zones lie about two deviations apart on each side of the middle.
    """
    if low is None or high is None or low <= 0 or high <= low:
        return 0.0
    return math.log(high / low) / 4
