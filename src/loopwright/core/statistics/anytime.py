"""Tests and intervals that stay valid however often one looks, and whenever one stops.

State is a handful of sums, so workers' states add. Peeking 100 times at a fixed-size z-test gives 36 % false alarms
at a nominal 5 %; these give at most the nominal rate over all times together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.statistics.mixtures import best_rho, beta_binomial_log_mixture, bisect

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Interval:
    """Hold a confidence interval, ends included.

    >>> Interval(-1.0, 1.0).contains(0.0)
    True
    """

    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Say whether the value lies inside."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Moments:
    """Count, mean and spread of values seen so far; states of disjoint rows merge exactly.

    Source of the merge: T. Chan, G. Golub, R. LeVeque (1979).

    >>> (Moments.of([1.0, 2.0]) + Moments.of([6.0])).mean
    3.0
    """

    rows: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """Take values, shape (n,)."""
        array = np.asarray(values, dtype=np.float64).ravel()
        if len(array) == 0:
            return cls()
        mean = float(array.mean())
        return cls(len(array), mean, float(((array - mean) ** 2).sum()))

    def __add__(self, other: Moments) -> Moments:
        rows = self.rows + other.rows
        if rows == 0:
            return self
        shift = other.mean - self.mean
        return Moments(
            rows,
            self.mean + shift * other.rows / rows,
            self.squares + other.squares + shift**2 * self.rows * other.rows / rows,
        )

    @property
    def variance(self) -> float:
        """Give the variance, over n."""
        return self.squares / self.rows if self.rows else 0.0


def msprt_likelihood_ratio(rows: float, mean: float, *, variance: float, tau_squared: float) -> float:
    """Compute the mixture likelihood ratio of a mean against zero, over normal effects of variance `tau_squared`.

    `sqrt(s2 / (s2 + n tau2)) exp(n^2 tau2 mean^2 / (2 s2 (s2 + n tau2)))`; the always-valid p-value is the smallest
    `1 / ratio` so far. For the difference of two paired streams of variance s2 each, give `2 s2`.

    Source: R. Johari, P. Koomen, L. Pekelis, D. Walsh (2022), Always valid inference, Oper. Res. 70.

    >>> round(msprt_likelihood_ratio(100, 0.2, variance=1.0, tau_squared=0.01), 7)
    1.9221155
    """
    grown = variance + rows * tau_squared
    exponent = rows**2 * tau_squared * mean**2 / (2.0 * variance * grown)
    return math.sqrt(variance / grown) * math.exp(min(exponent, 700.0))  # 700: the largest power of e in a double


def msprt_p_values(values: ArrayLike, *, variance: float, tau_squared: float) -> NDArray[np.float64]:
    """Compute the always-valid p-value after every row, for the null that the mean is zero.

    Args:
        values: Shape (..., n), in order.
        variance: Known variance of one value.
        tau_squared: Variance of the effects looked for.

    Returns:
        Shape (..., n), never rising.
    """
    array = np.asarray(values, dtype=np.float64)
    rows = np.arange(1, array.shape[-1] + 1)
    sums = array.cumsum(axis=-1)
    grown = variance + rows * tau_squared
    log_ratio = 0.5 * np.log(variance / grown) + sums**2 * tau_squared / (2.0 * variance * grown)
    p: NDArray[np.float64] = np.exp(-np.maximum.accumulate(np.maximum(log_ratio, 0.0), axis=-1))
    return p


def asymptotic_rho(sharp_at_rows: float, *, alpha: float) -> float:
    """Choose rho so that the asymptotic confidence sequence is narrowest after so many rows.

    >>> round(asymptotic_rho(1000, alpha=0.05), 7)
    0.0890851
    """
    log_inverse = -2.0 * math.log(alpha)
    return math.sqrt((log_inverse + math.log1p(log_inverse)) / sharp_at_rows)


def asymptotic_half_width(rows: float, variance: float, *, alpha: float, sharp_at_rows: float) -> float:
    """Give the half-width of the asymptotic confidence sequence of a mean; infinite before the first row.

    `sqrt((n s2 rho^2 + 1) / (n^2 rho^2) ln((n s2 rho^2 + 1) / alpha^2))`. Needs finite variance only; valid in the
    limit, so not to be read in the first few dozen rows.

    Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas (2024), Time-uniform central limit theory and
    asymptotic confidence sequences, Ann. Statist. 52.

    >>> round(asymptotic_half_width(1000, 1.0, alpha=0.05, sharp_at_rows=1000), 7)
    0.0959817
    """
    if rows <= 0:
        return math.inf
    rho_squared = asymptotic_rho(sharp_at_rows, alpha=alpha) ** 2
    grown = rows * variance * rho_squared + 1.0
    return math.sqrt(grown / (rows**2 * rho_squared) * math.log(grown / alpha**2))


def mean_interval(values: Moments, *, alpha: float, sharp_at_rows: float) -> Interval:
    """Bound a mean at all times at once, by the asymptotic confidence sequence."""
    width = asymptotic_half_width(values.rows, values.variance, alpha=alpha, sharp_at_rows=sharp_at_rows)
    return Interval(values.mean - width, values.mean + width)


def mean_difference_interval(
    control: Moments, treatment: Moments, *, alpha: float, sharp_at_rows: float, control_share: float = 0.5
) -> Interval:
    """Bound `treatment mean - control mean` at all times at once, for rows assigned at random with a known share.

    Each row contributes its inverse-propensity score, whose variance per row is
    `s0^2 / share0 + s1^2 / share1` about the difference.

    Args:
        control: Values of the control arm.
        treatment: Values of the treatment arm.
        alpha: One minus the confidence, over all times.
        sharp_at_rows: Rows of both arms together after which the interval is narrowest.
        control_share: Chance of a row to be in the control arm.
    """
    if control.rows == 0 or treatment.rows == 0:
        return Interval(-math.inf, math.inf)
    variance = control.variance / control_share + treatment.variance / (1.0 - control_share)
    width = asymptotic_half_width(control.rows + treatment.rows, variance, alpha=alpha, sharp_at_rows=sharp_at_rows)
    difference = treatment.mean - control.mean
    return Interval(difference - width, difference + width)


def rate_interval(successes: float, trials: int, *, alpha: float, sharp_at_rows: float) -> Interval:
    """Bound the chance of success at all times at once, by the beta-binomial mixture.

    Source: Howard et al. (2021), section 3.2; test values from the authors' reference implementation.

    >>> interval = rate_interval(700, 1000, alpha=0.05, sharp_at_rows=100)
    >>> round(interval.low, 6), round(interval.high, 6)
    (0.65163, 0.74595)
    """
    if trials <= 0:
        return Interval(0.0, 1.0)
    seen = successes / trials
    target = -math.log(alpha)

    def consistent(p: float) -> bool:
        if not 0.0 < p < 1.0:
            return False
        rho = best_rho(p * (1.0 - p) * sharp_at_rows, alpha=0.05)
        s, v = (seen - p) * trials, p * (1.0 - p) * trials
        return beta_binomial_log_mixture(s, v, g=p, h=1.0 - p, rho=rho) < target

    low = bisect(consistent, 0.0, seen) if seen > 0.0 else 0.0
    high = bisect(consistent, 1.0, seen) if seen < 1.0 else 1.0
    return Interval(low, high)
