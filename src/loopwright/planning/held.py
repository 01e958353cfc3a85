"""One assumption of a plan held against what is seen: a band, an interval, and what follows.

Each assumption has a band: the figure of the plan, with the 5th and the 95th percentile of the spread that the plan
itself gives it. What is seen has an interval too, as counts are random. An assumption is **broken** when the interval
lies wholly outside the band, and **holds** when the figure lies inside the inner four fifths of the band; in between it
is **near its edge**, and neither raises an alarm nor ends one (hysteresis).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["holds", "near its edge", "broken", "not known"]
Z: Final = 1.645
_INNER: Final = 0.8


@dataclass(frozen=True)
class Held:
    """One assumption, held against what is seen.

    Attributes:
        check: Which: one of ``CHECKS``.
        state: Whether it holds.
        planned: The plan's figure, grown with the plan's age where it named a growth.
        low: The lower end of what the plan allows for.
        high: The upper end.
        seen: The figure that was seen; None where there is too little to see.
        seen_low: The lower end of the interval of what was seen.
        seen_high: The upper end.
        unit: Of all of them.
        rows: How many rows or events the figure rests on.
        text: In words, with the figures.
        advice: What to do where it is broken; empty otherwise.
    """

    check: str
    state: State
    planned: float
    low: float
    high: float
    seen: float | None
    seen_low: float | None
    seen_high: float | None
    unit: str
    rows: int
    text: str
    advice: str = ""


def count_interval(count: float) -> tuple[float, float]:
    """Return the interval of the mean that a count of independent events speaks for, with 90 % coverage.

    It is (√n ± z/2)², near its nominal coverage from a handful of events on; source: F. J. Anscombe, "The
    transformation of Poisson, binomial and negative-binomial data", Biometrika 35 (1948).

    >>> count_interval(0)[0], round(count_interval(100)[1])
    (0.0, 117)
    """
    root = math.sqrt(count)
    return max(0.0, root - Z / 2) ** 2 if root > Z / 2 else 0.0, (root + Z / 2) ** 2


def judge(
    check: str,
    planned: float,
    spread: float,
    seen: tuple[float, float, float],
    unit: str,
    rows: int,
    what: str,
    advice: str,
) -> Held:
    """Hold a figure with its interval (value, low, high) against a lognormal band."""
    reach = math.exp(Z * spread)
    return within(check, planned, planned / reach, planned * reach, seen, unit, rows, what, advice)


def within(
    check: str,
    planned: float,
    low: float,
    high: float,
    seen: tuple[float, float, float],
    unit: str,
    rows: int,
    what: str,
    advice: str,
) -> Held:
    """Hold a figure with its interval (value, low, high) against a band."""
    value, least, most = seen
    state: State = "near its edge"
    if least > high or most < low:
        state = "broken"
    elif _inner(value, low, high):
        state = "holds"
    text = f"{what} {said(value)} {unit}; the plan has {said(planned)} and allows {said(low)} to {said(high)}"
    return Held(
        check, state, planned, low, high, value, least, most, unit, rows, text, advice if state == "broken" else ""
    )


def _inner(value: float, low: float, high: float) -> bool:
    """Return whether a value lies in the inner part of a band; a band from 0 or without an end is cut on one side."""
    if low > 0 and math.isfinite(high):
        middle, reach = math.sqrt(low * high), math.log(high / low) / 2 * _INNER
        return value > 0 and abs(math.log(value / middle)) <= reach
    return value >= low and (value <= high * _INNER if math.isfinite(high) else True)


def too_little(check: str, planned: float, unit: str, text: str) -> Held:
    """Return that nothing can be said yet, and why."""
    return Held(check, "not known", planned, planned, planned, None, None, None, unit, 0, text)


def said(value: float) -> str:
    """Write a figure with as many digits as matter."""
    if not math.isfinite(value):
        return "beyond 10 s"
    if value == 0 or 0.001 <= abs(value) < 10:
        return f"{value:.3g}"
    return f"{value:,.0f}"
