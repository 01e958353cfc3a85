"""How many machines work over a day: the time average that a bill is made of.

At each moment the machines carry what is needed, max(h·r(t), r(t) + step), with k spare; n(t) = max(n_min, n*(needed)
+ k). They have to be there a reaction time before the traffic is, and stay for the autoscaler's stabilisation window
after it went, so that n(t) is the largest need in the window from five minutes ago to a reaction time ahead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.planning.autoscaling import SCALE_DOWN_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.planning.demand import Demand

_NUDGE = 1.1


@dataclass(frozen=True)
class Level:
    """What a fleet of one kind is over a day.

    Attributes:
        shares: For the first, second … machine, the share of the day in which it runs.
        by_requests: By what power the machine-hours follow the traffic.
        by_peak: By what power they follow the height of the peak over the floor.
        by_service: By what power they follow the service time.
    """

    shares: tuple[float, ...]
    by_requests: float
    by_peak: float
    by_service: float

    @property
    def mean(self) -> float:
        """The machines on average."""
        return sum(self.shares)

    def drivers(self, factor: float = 1.0) -> tuple[tuple[str, float], ...]:
        """Return by what powers the machine-hours follow the inputs, as cost lines carry them."""
        powers = (("requests", self.by_requests), ("peak", self.by_peak), ("service_time", self.by_service))
        return tuple((name, round(power * factor, 4)) for name, power in powers if abs(power) > 1e-6)


def needed_rps(demand: Demand, reaction_s: float) -> NDArray[np.float64]:
    """Return what must be carried in each minute, the reaction ahead and the scale-down behind included."""
    now = np.maximum(demand.minutes_rps * demand.burst_factor, demand.minutes_rps + demand.step_rps)
    now = np.minimum(now, demand.sized_rps)
    behind, ahead = math.ceil(SCALE_DOWN_S / 60), math.ceil(reaction_s / 60)
    return np.asarray(np.max([np.roll(now, shift) for shift in range(-ahead, behind + 1)], axis=0))


def level(
    needed: NDArray[np.float64], capacities_rps: NDArray[np.float64], *, fewest: int, most: int, spare: int
) -> Level:
    """Return how long each machine runs.

    Args:
        needed: What must be carried in each minute.
        capacities_rps: What the first 1, 2, … working machines carry; up to ``most - spare`` of them.
        fewest: The lower bound of the autoscaler.
        most: Its upper bound.
        spare: How many machines beyond the working ones.
    """
    shares = _shares(needed, capacities_rps, fewest, most, spare)
    mean = float(shares.sum())

    def power(more: NDArray[np.float64], less: NDArray[np.float64], scale: float = 1.0) -> float:
        high = float(_shares(more, capacities_rps * scale, fewest, most, spare).sum())
        low = float(_shares(less, capacities_rps / scale, fewest, most, spare).sum())
        return math.log(high / low) / (2 * math.log(_NUDGE)) if mean else 0.0

    floor = float(needed.min())
    return Level(
        tuple(float(share) for share in shares),
        power(needed * _NUDGE, needed / _NUDGE),
        power(floor + (needed - floor) * _NUDGE, floor + (needed - floor) / _NUDGE),
        power(needed, needed, 1 / _NUDGE),
    )


def _shares(
    needed: NDArray[np.float64], capacities: NDArray[np.float64], fewest: int, most: int, spare: int
) -> NDArray[np.float64]:
    working = np.searchsorted(capacities, needed * (1 - 1e-9)) + 1
    nodes = np.clip(working + spare, fewest, most)
    return np.array([float((nodes >= count).mean()) for count in range(1, most + 1)])
