"""How traffic moves over a day: r(t) = b + (P - b)·((1 + cos(2π(t - t_p)/24)) / 2)^k, t in hours.

b is the floor, P the peak at the hour t_p, and k makes the mean come out right: the mean of the power of the cosine is
Γ(k + ½) / (√π Γ(k + 1)), which falls from 1 to 0 as k grows, so that k is found by bisection.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from loopwright.core.errors import DeclarationError

HOURS = 24.0
_STEPS = 24 * 60


@dataclass(frozen=True)
class DayCurve:
    """Requests per second over the hours of a day.

    Attributes:
        floor_rps: The quietest moment.
        peak_rps: The busiest moment.
        sharpness: k; 0 is flat at the peak.
        peak_hour: When the peak is, 0 to 24.
    """

    floor_rps: float
    peak_rps: float
    sharpness: float
    peak_hour: float = 14.0

    def rate(self, hour: float) -> float:
        """Return the requests per second at an hour of the day."""
        wave = (1 + math.cos(2 * math.pi * (hour - self.peak_hour) / HOURS)) / 2
        return self.floor_rps + (self.peak_rps - self.floor_rps) * math.pow(wave, self.sharpness)

    @property
    def mean_rps(self) -> float:
        """The mean over the day."""
        return self.floor_rps + (self.peak_rps - self.floor_rps) * _mean_power(self.sharpness)

    def hours_above(self, rps: float) -> float:
        """Return for how many hours a day the rate lies above a value."""
        if rps >= self.peak_rps:
            return 0.0
        if rps < self.floor_rps or self.sharpness == 0:
            return HOURS
        wave = ((rps - self.floor_rps) / (self.peak_rps - self.floor_rps)) ** (1 / self.sharpness)
        return HOURS / math.pi * math.acos(2 * wave - 1)

    def steepest(self) -> float:
        """Return the fastest rise, in requests per second per minute."""
        rates = [self.rate(step * HOURS / _STEPS) for step in range(_STEPS + 1)]
        return max(later - sooner for sooner, later in itertools.pairwise(rates))


def day_curve(mean_rps: float, peak_rps: float, floor_rps: float, *, peak_hour: float = 14.0) -> DayCurve:
    """Return the curve with a mean, a peak and a floor, each in requests per second.

    >>> round(day_curve(1_000_000 / 86_400, 50, 2).sharpness, 3)
    7.747

    Raises:
        DeclarationError: If not 0 ≤ floor ≤ mean ≤ peak, or if the mean lies so near the floor that no curve has it.
    """
    if not 0 <= floor_rps <= mean_rps <= peak_rps or peak_rps <= 0:
        raise DeclarationError(
            f"A day's floor, mean and peak are in this order: got {floor_rps:g}, {mean_rps:g} and {peak_rps:g} "
            "requests/s.",
            hint="Correct the peak, or the requests per day.",
        )
    if mean_rps == peak_rps:
        return DayCurve(floor_rps, peak_rps, 0.0, peak_hour)
    wanted = (mean_rps - floor_rps) / (peak_rps - floor_rps)
    high = 1.0
    while _mean_power(high) > wanted:
        high *= 2
        if high > 1e7:
            raise DeclarationError(
                f"A mean of {mean_rps:g} requests/s lies at the floor of {floor_rps:g}, and the peak is {peak_rps:g}.",
                hint="Lower the floor, or give an hourly histogram.",
            )
    low = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_power(middle) > wanted else (low, middle)
    return DayCurve(floor_rps, peak_rps, (low + high) / 2, peak_hour)


def _mean_power(k: float) -> float:
    return math.exp(math.lgamma(k + 0.5) - math.lgamma(k + 1)) / math.sqrt(math.pi)
