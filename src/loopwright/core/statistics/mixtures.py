"""Mixture martingales: the engines of anytime-valid tests.

Each function gives the logarithm of a nonnegative supermartingale that starts at 1, as a function of the running sum
`s` of centred values and its intrinsic time `v`. By Ville's inequality it ever reaches `1 / alpha` with probability at
most alpha, so one may look after every row. `rho` tunes at which `v` the test is sharpest; any rho is valid.

Source: S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence
sequences, Ann. Statist. 49, section 3; test values from the authors' reference implementation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.statistics import special

if TYPE_CHECKING:
    from collections.abc import Callable

_BISECTIONS = 200  # halvings; a double holds no more than about 60 useful ones


def best_rho(v_opt: float, *, alpha: float, one_sided: bool = False) -> float:
    """Choose rho so that the boundary is sharpest near intrinsic time `v_opt`.

    >>> round(best_rho(100, alpha=0.05), 5), round(best_rho(100, alpha=0.05, one_sided=True), 5)
    (12.60056, 15.80063)
    """
    log_inverse = -2.0 * math.log(2.0 * alpha if one_sided else alpha)
    return v_opt / (log_inverse + math.log1p(log_inverse))


def normal_log_mixture(s: float, v: float, *, rho: float, one_sided: bool = False) -> float:
    """Mix over normal drifts: for sums of sub-Gaussian values with variance process `v` (Prop. 5, two-sided; Prop. 6).

    >>> round(normal_log_mixture(10, 100, rho=best_rho(100, alpha=0.05)), 7)
    -0.6510052
    """
    value = 0.5 * math.log(rho / (v + rho)) + s * s / (2.0 * (v + rho))
    if one_sided:
        value += math.log(2.0) + float(special.log_ndtr(s / math.sqrt(v + rho)))
    return value


def normal_bound(v: float, *, alpha: float, rho: float, one_sided: bool = False) -> float:
    """Give the sum at which the normal mixture reaches `1 / alpha`.

    Two-sided: `sqrt((v + rho) ln((v + rho) / (rho alpha^2)))`.

    >>> round(normal_bound(100, alpha=0.05, rho=best_rho(100, alpha=0.05)), 5)
    30.35209
    """
    if one_sided:
        return crossing(lambda s: normal_log_mixture(s, v, rho=rho, one_sided=True), alpha=alpha, first_guess=v)
    return math.sqrt((v + rho) * (math.log1p(v / rho) - 2.0 * math.log(alpha)))


def gamma_exponential_log_mixture(s: float, v: float, *, rho: float, c: float) -> float:
    """Mix for sub-exponential sums with scale `c`: values bounded above by c, say (Prop. 9).

    >>> round(gamma_exponential_log_mixture(10, 100, rho=best_rho(100, alpha=0.05, one_sided=True), c=2), 7)
    -0.2490165
    """
    a, b = rho / c**2, (v + rho) / c**2
    z = (c * s + v + rho) / c**2
    start = a * math.log(a) - math.lgamma(a) - math.log(special.gammainc(a, a))
    return start + math.lgamma(b) + math.log(special.gammainc(b, z)) - b * math.log(z) + z - a


def gamma_poisson_log_mixture(s: float, v: float, *, rho: float, c: float) -> float:
    """Mix for sub-Poisson sums with scale `c`: counts above their rate (Prop. 10).

    >>> round(gamma_poisson_log_mixture(10, 100, rho=best_rho(100, alpha=0.05, one_sided=True), c=2), 8)
    -0.06991219
    """
    a, b = rho / c**2, (v + rho) / c**2
    shape = s / c + b
    start = a * math.log(a) - math.lgamma(a) - math.log(special.gammaincc(a, a))
    return start + math.lgamma(shape) + math.log(special.gammaincc(shape, b)) - shape * math.log(b) + v / c**2


def beta_binomial_log_mixture(s: float, v: float, *, g: float, h: float, rho: float, one_sided: bool = False) -> float:
    """Mix for sums of values in [-g, h]: Bernoulli trials are g = p, h = 1 - p (Props. 7 and 8).

    >>> round(beta_binomial_log_mixture(10, 100, g=0.2, h=0.8, rho=best_rho(100, alpha=0.05)), 7)
    -0.6941012
    """
    r = max(rho - g * h, 1e-3 * g * h)  # the mixing beta needs a positive size (section 3.2)
    width = g + h
    edge = h / width if one_sided else 1.0
    start = _log_incomplete_beta(r / (g * width), r / (h * width), edge)
    grown = _log_incomplete_beta((r + v - g * s) / (g * width), (r + v + h * s) / (h * width), edge)
    drift = v / (g * h) * math.log(width)
    drift -= (v + h * s) / (h * width) * math.log(g) + (v - g * s) / (g * width) * math.log(h)
    return drift + grown - start


def crossing(
    log_mixture: Callable[[float], float], *, alpha: float, first_guess: float, highest: float = math.inf
) -> float:
    """Find the sum at which a log-mixture that grows with it reaches `ln(1 / alpha)`.

    Args:
        log_mixture: The log-mixture at the present intrinsic time, as a function of the sum.
        alpha: Level of the test.
        first_guess: A positive sum to search upwards from.
        highest: Largest sum possible; returned when even it does not reach the level.
    """
    target = -math.log(alpha)
    if math.isfinite(highest):
        upper = highest
        if log_mixture(upper) < target:
            return upper
    else:
        upper = first_guess
        while log_mixture(upper) < target:
            upper *= 2.0
    return bisect(lambda s: log_mixture(s) >= target, 0.0, upper)


def bisect(holds: Callable[[float], bool], false_at: float, true_at: float) -> float:
    """Find where a condition turns true between a point where it fails and one where it holds, to float precision.

    >>> round(bisect(lambda x: x * x >= 2, 0.0, 2.0), 12)
    1.414213562373
    """
    for _ in range(_BISECTIONS):
        middle = (false_at + true_at) / 2.0
        if middle in (false_at, true_at):
            break
        if holds(middle):
            true_at = middle
        else:
            false_at = middle
    return true_at


def _log_incomplete_beta(a: float, b: float, x: float) -> float:
    whole = float(special.betaln(a, b))
    if x >= 1.0:
        return whole
    share = float(special.betainc(a, b, x))
    return whole + (math.log(share) if share > 0 else -np.inf)
