"""Confidence intervals of a rate, from a fixed number of independent trials."""

from __future__ import annotations

import math

from loopwright.core.statistics import special
from loopwright.core.statistics.anytime import Interval


def clopper_pearson(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Bound a rate exactly: coverage is never below the confidence.

    Source: C. Clopper, E. Pearson (1934), Biometrika 26, 404-413; ends as beta quantiles.

    >>> interval = clopper_pearson(0, 1500, confidence=0.9)
    >>> interval.low, round(interval.high, 5)
    (0.0, 0.002)
    """
    _check(successes, trials)
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(special.betaincinv(successes + 1, trials - successes, 1.0 - tail))
    return Interval(low, high)


def clopper_pearson_upper(successes: int, trials: int, *, confidence: float = 0.95) -> float:
    """Bound a rate exactly from above only.

    >>> round(clopper_pearson_upper(0, 1500), 5)
    0.002
    """
    _check(successes, trials)
    if successes == trials:
        return 1.0
    return float(special.betaincinv(successes + 1, trials - successes, confidence))


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Bound a rate by the score interval: coverage near the confidence on average, shorter than the exact one.

    Source: E. Wilson (1927), JASA 22, 209-212.

    >>> interval = wilson(8, 10)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.4902, 0.9433)
    """
    _check(successes, trials)
    z = float(special.ndtri(0.5 + confidence / 2.0))
    rate = successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Interval(low, high)


def _check(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"a rate needs 0 <= successes <= trials and a trial; got {successes} of {trials}")
