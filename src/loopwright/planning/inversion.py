"""Percentiles of the wait in M/G/1, from its Laplace transform.

W*(s) = (1-ρ)s / (s - λ + λB*(s)) (Pollaczek and Khinchine), inverted by the Euler method of J. Abate and W. Whitt,
"Numerical inversion of Laplace transforms of probability distributions", ORSA Journal on Computing 7 (1995): the
Bromwich integral by the trapezoid rule, the alternating tail summed by Euler's method. The discretisation error is
about e^-A.
"""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable

_A = 18.4  # an error of 1e-8
_TERMS = 15
_EULER = 11
_WEIGHTS = tuple(math.comb(_EULER, k) / 2.0**_EULER for k in range(_EULER + 1))


def exponential(mean_s: float) -> Callable[[complex], complex]:
    """Return the transform of an exponential service time."""
    return lambda s: 1 / (1 + s * mean_s)


def erlang(stages: int, mean_s: float) -> Callable[[complex], complex]:
    """Return the transform of an Erlang service time: C²s = 1 / stages."""
    return lambda s: (1 + s * mean_s / stages) ** -stages


def deterministic(mean_s: float) -> Callable[[complex], complex]:
    """Return the transform of a constant service time."""
    return lambda s: cmath.exp(-s * mean_s)


def hyperexponential(mean_s: float, cv2: float) -> Callable[[complex], complex]:
    """Return the transform of a two-phase hyperexponential with balanced means and C²s = cv2 > 1."""
    share = (1 + math.sqrt((cv2 - 1) / (cv2 + 1))) / 2
    first, second = 2 * share / mean_s, 2 * (1 - share) / mean_s
    return lambda s: share * first / (first + s) + (1 - share) * second / (second + s)


def samples(values_s: list[float]) -> Callable[[complex], complex]:
    """Return the transform of measured service times, each as likely as another."""
    count = len(values_s)
    return lambda s: sum((cmath.exp(-s * value) for value in values_s), 0j) / count


def wait_cdf(arrivals: float, mean_s: float, service: Callable[[complex], complex], limit_s: float) -> float:
    """Return the share of arrivals of M/G/1 that wait at most ``limit_s`` seconds.

    Args:
        arrivals: λ, per second.
        mean_s: The mean service time, in seconds.
        service: The transform of the service time.
        limit_s: The limit, more than 0.
    """
    utilisation = arrivals * mean_s
    if not 0 < utilisation < 1:
        raise DeclarationError(f"A utilisation of {utilisation:.3g} has no steady state with waiting.")

    def transform(s: complex) -> complex:
        return (1 - utilisation) / (s - arrivals + arrivals * service(s))

    half = _A / (2 * limit_s)
    total: float = transform(complex(half, 0)).real / 2
    partial: list[float] = []
    for k in range(1, _TERMS + _EULER + 1):
        total += (-1.0 if k % 2 else 1.0) * transform(complex(half, k * math.pi / limit_s)).real
        if k >= _TERMS:
            partial.append(total)
    summed = sum(weight * value for weight, value in zip(_WEIGHTS, partial, strict=True))
    return min(1.0, max(0.0, math.exp(_A / 2) / limit_s * summed))


def wait_percentile_mg1(
    arrivals: float, mean_s: float, service: Callable[[complex], complex], percentile: float
) -> float:
    """Return a percentile of the wait in M/G/1, in seconds; 0 where fewer than 1 - percentile wait.

    >>> round(wait_percentile_mg1(0.8, 1.0, exponential(1.0), 0.99), 3)
    21.91
    """
    if arrivals * mean_s <= 1 - percentile:
        return 0.0
    high = mean_s
    while wait_cdf(arrivals, mean_s, service, high) < percentile:
        high *= 2
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        if wait_cdf(arrivals, mean_s, service, middle) < percentile:
            low = middle
        else:
            high = middle
    return (low + high) / 2
