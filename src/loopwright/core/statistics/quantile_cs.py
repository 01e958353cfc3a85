"""Quantiles bounded at all times at once, and two arms' latencies compared from fixed histograms.

Source: S. Howard, A. Ramdas (2022), Sequential estimation of quantiles with applications to A/B testing and best-arm
identification, Bernoulli 28; the use on histograms follows M. Lindon, C. Sanden, V. Shirikian (2022), Rapid regression
detection in software deployments through sequential testing (arXiv 2205.14762).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from loopwright.core.statistics.anytime import Interval
from loopwright.core.statistics.histogram import EDGES_MS
from loopwright.core.statistics.mixtures import bisect

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from loopwright.core.statistics.histogram import LatencyHistogram

DEFAULT_LEADING = 0.85  # A of the empirical-process bound (Theorem 2); must exceed 1 / sqrt(2)
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def empirical_process_bound(rows: int, *, alpha: float, from_rows: int, leading: float = DEFAULT_LEADING) -> float:
    """Bound the distance between the empirical and the true distribution function, everywhere and at all times.

    `A sqrt((ln(1 + ln(t / m)) + C) / t)` from row m on, infinite before (Theorem 2).

    Args:
        rows: Rows seen, t.
        alpha: Chance that the bound is ever exceeded.
        from_rows: m: rows from which the bound holds; it is sharpest soon after.
        leading: A; smaller is sharper later.

    >>> round(empirical_process_bound(1000, alpha=0.05, from_rows=100), 7)
    0.0820478
    """
    if rows < from_rows:
        return math.inf
    return leading * math.sqrt((math.log1p(math.log(rows / from_rows)) + _process_constant(alpha, leading)) / rows)


def poly_stitching_bound(
    v: float, *, alpha: float, v_min: float, c: float = 0.0, s: float = 1.4, eta: float = 2.0
) -> float:
    """Give the polynomial stitched boundary of sub-gamma sums (Howard et al. 2021, Theorem 1).

    >>> round(poly_stitching_bound(100, alpha=0.05, v_min=10, c=3), 5)
    64.48755
    """
    time = max(v, v_min)
    k1, k2 = _stitching_constants(eta)
    level = s * math.log(math.log(eta * time / v_min)) - math.log(alpha)
    level += math.log(special.zeta(s) / math.log(eta) ** s)
    tail = k2 * c * level
    return math.sqrt(k1**2 * time * level + tail**2) + tail


def double_stitching_bound(
    q: float, rows: float, *, alpha: float, sharp_at_rows: float, delta: float = 0.5, s: float = 1.4, eta: float = 2.0
) -> float:
    """Bound `rows * (empirical - true distribution function)` at every quantile and time.

    Theorem 3 of Howard and Ramdas (2022). Narrower than `empirical_process_bound` at extreme quantiles.

    >>> round(double_stitching_bound(0.9, 1000, alpha=0.05, sharp_at_rows=100), 5)
    43.72119
    """
    time = max(rows, sharp_at_rows)
    growth = time / sharp_at_rows
    logit = math.log(q / (1.0 - q))
    r = q if q >= 0.5 else min(0.5, float(special.expit(logit + 2.0 * delta * math.sqrt(eta / growth))))
    variance = r * (1.0 - r)
    layer = math.sqrt(growth) * abs(logit) / (2.0 * delta) + 1.0
    zeta = float(special.zeta(s))
    level = s * math.log(math.log(eta * growth)) + s * math.log(layer)
    level += math.log(2.0 * zeta * (2.0 * zeta + 1.0) / (alpha * math.log(eta) ** s))
    k1, k2 = _stitching_constants(eta)
    tail = k2 * (1.0 - 2.0 * q) / 3.0 * level
    return delta * math.sqrt(eta * growth * variance) + math.sqrt(k1**2 * variance * time * level + tail**2) + tail


def quantile_interval_ms(histogram: LatencyHistogram, q: float, *, alpha: float, from_rows: int = 100) -> Interval:
    """Bound a latency quantile in milliseconds at all times at once, from bucket counts.

    The true quantile lies between the lower edge of the first bucket it can be in and the upper edge of the last; the
    grid widens the interval by at most one bucket on each side.

    Args:
        histogram: Latencies so far.
        q: Quantile in (0, 1), 0.99 say.
        alpha: Chance that the interval ever misses.
        from_rows: Rows from which the interval is informative; before, it is everything.
    """
    width = empirical_process_bound(histogram.rows, alpha=alpha, from_rows=from_rows)
    shares = histogram.shares_at_edges
    surely_below = np.flatnonzero(shares + width < q)
    surely_reached = np.flatnonzero(shares - width >= q)
    low = EDGES_MS[surely_below[-1]] if len(surely_below) else 0.0
    high = EDGES_MS[surely_reached[0]] if len(surely_reached) else math.inf
    return Interval(low, high)


def quantile_difference_ms(
    control: LatencyHistogram, canary: LatencyHistogram, q: float, *, alpha: float, from_rows: int = 100
) -> Interval:
    """Bound `canary quantile - control quantile` in milliseconds at all times at once.

    Each arm gets half of alpha. Above a budget with its lower end, the canary is surely slower; below it with its
    upper end, surely not.

    >>> from loopwright.core.statistics.histogram import LatencyHistogram
    >>> slow, fast = LatencyHistogram.of([40.0] * 5000), LatencyHistogram.of([10.0] * 5000)
    >>> quantile_difference_ms(fast, slow, 0.5, alpha=0.01).low > 20
    True
    """
    a = quantile_interval_ms(control, q, alpha=alpha / 2.0, from_rows=from_rows)
    b = quantile_interval_ms(canary, q, alpha=alpha / 2.0, from_rows=from_rows)
    return Interval(b.low - a.high, b.high - a.low)


def quantile_ab_p_value(
    arm_a: ArrayLike, arm_b: ArrayLike, q: float, *, log_mixture: Callable[[float, float], float]
) -> float:
    """Compute the anytime-valid p-value of "both arms have the same q-quantile".

    For every candidate common quantile x, the evidence against it is the sum of both arms' log-mixtures; the p-value
    is that of the least contradicted x (Howard and Ramdas 2022, section 5).

    Args:
        arm_a: Shape (n,).
        arm_b: Shape (m,).
        q: Quantile in (0, 1).
        log_mixture: `(s, v) -> log-mixture`, such as the two-sided beta-binomial one with g = q and h = 1 - q.
    """
    a, b = np.sort(np.asarray(arm_a, dtype=np.float64)), np.sort(np.asarray(arm_b, dtype=np.float64))
    candidates = np.unique(np.concatenate([a, b]))
    evidence = _arm_evidence(a, candidates, q, log_mixture) + _arm_evidence(b, candidates, q, log_mixture)
    return float(min(1.0, math.exp(-float(evidence.min()))))


def _arm_evidence(
    values: NDArray[np.float64], candidates: NDArray[np.float64], q: float, log_mixture: Callable[[float, float], float]
) -> NDArray[np.float64]:
    """Evidence of one arm against each candidate, taking the share below that contradicts it least."""
    rows = len(values)

    def evidence(share: float) -> float:
        return log_mixture((share - q) * rows, q * (1.0 - q) * rows)

    low, high = 0.0, 1.0
    for _ in range(80):  # golden sections to float precision: the evidence is convex in the share
        third = (high - low) * _GOLDEN
        if evidence(high - third) < evidence(low + third):
            high = low + third
        else:
            low = high - third
    below = np.searchsorted(values, candidates, side="left") / rows
    through = np.searchsorted(values, candidates, side="right") / rows
    shares, back = np.unique(np.clip((low + high) / 2.0, below, through), return_inverse=True)
    return np.array([evidence(float(share)) for share in shares])[back]


def _stitching_constants(eta: float) -> tuple[float, float]:
    return (eta**0.25 + eta**-0.25) / math.sqrt(2.0), (math.sqrt(eta) + 1.0) / 2.0


@lru_cache(maxsize=64)
def _process_constant(alpha: float, leading: float) -> float:
    """Find the smallest C at which the crossing probability of Theorem 2, minimised over eta, is alpha."""

    def crossing_probability(constant: float) -> float:
        # eta must keep gamma^2 = (2 / eta) (A - sqrt(2 (eta - 1) / C))^2 above 1.
        largest = bisect(
            lambda eta: math.sqrt(eta / 2.0) + math.sqrt(2.0 * (eta - 1.0) / constant) >= leading, 1.0, 2.0 * leading**2
        )
        # Two zooms of a grid find the minimum of this smooth, single-dipped function.
        lowest, best = 1.0, math.inf
        for _ in range(6):
            eta = np.linspace(lowest, largest, 402)[1:-1]
            gamma2 = 2.0 / eta * (leading - np.sqrt(2.0 * (eta - 1.0) / constant)) ** 2
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                error = 4.0 * np.exp(-gamma2 * constant) * (1.0 + 1.0 / ((gamma2 - 1.0) * np.log(eta)))
            error = np.where(gamma2 > 1.0, error, np.inf)
            at = int(np.argmin(error))
            best = min(best, float(error[at]))
            step = eta[1] - eta[0]
            lowest, largest = max(1.0, float(eta[at] - 2 * step)), float(eta[at] + 2 * step)
        return best

    high = 5.0
    while crossing_probability(high) > alpha:
        high *= 2.0
    return bisect(lambda constant: crossing_probability(constant) <= alpha, 1e-3, high)
