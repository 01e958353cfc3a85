"""How sure the cost is: draws of the uncertain inputs, the same for every alternative.

Volumes, sizes, peaks, service times and training hours are lognormal around the figure that the plan uses; prices lie
evenly in the band of their age, together for all prices of one source. All alternatives see the same draws (common
random numbers), so that one being cheaper than another is not a matter of luck. Cost lines say what they follow by
their drivers: a name and a power.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from loopwright.planning.plan import Band, Swing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from loopwright.planning.cost import CostLine

_TOGETHER = {"volume": "requests"}  # what is stored comes from what is asked
PRICES = "list prices"
SPOT = "spot prices"


@dataclass
class Draws:
    """Standard normal and uniform draws by name, the same for a seed whatever is asked for first.

    >>> draws = Draws(7, 3)
    >>> bool((draws.normal("peak") == Draws(7, 3).normal("peak")).all())
    True
    """

    seed: int
    count: int
    _kept: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def normal(self, name: str) -> NDArray[np.float64]:
        """Return standard normal draws."""
        key = _TOGETHER.get(name, name)
        if key not in self._kept:
            self._kept[key] = self._rng(key).standard_normal(self.count)
        return self._kept[key]

    def uniform(self, name: str) -> NDArray[np.float64]:
        """Return draws that lie evenly between -1 and 1."""
        key = f"uniform {name}"
        if key not in self._kept:
            self._kept[key] = self._rng(key).uniform(-1, 1, self.count)
        return self._kept[key]

    def _rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])


@dataclass(frozen=True)
class Uncertainty:
    """What is not sure, and by how much.

    Attributes:
        draws: The draws.
        spreads: The standard deviation of the logarithm of each driver; one that is not named is certain.
    """

    draws: Draws
    spreads: Mapping[str, float]

    def factor(self, driver: str, power: float = 1.0) -> NDArray[np.float64]:
        """Return what each draw multiplies a figure by that follows a driver by a power."""
        spread = self.spreads.get(driver, 0.0)
        return np.asarray(np.exp(power * spread * self.draws.normal(driver))) if spread else np.ones(self.draws.count)

    def cost(self, lines: Iterable[CostLine], *, service: str = "") -> NDArray[np.float64]:
        """Return what the lines cost in a month in each draw; ``service`` is whose time drives them."""
        found = np.zeros(self.draws.count)
        for line in lines:
            value = np.full(self.draws.count, line.usd_per_month)
            if line.price.spread:
                value *= np.maximum(0.05, 1 + math.sqrt(3) * line.price.spread * self.draws.uniform(line.price.source))
            for name, power in line.drivers:
                value *= self.factor(_own(name, service), power)
            found += value
        return found

    def tornado(self, parts: Sequence[tuple[Sequence[CostLine], str]], *, most: int = 12) -> tuple[Swing, ...]:
        """Return what each input alone does to the total, one standard deviation down and up; the largest first."""
        names = {_own(name, service) for lines, service in parts for line in lines for name, _ in line.drivers}
        groups = {_TOGETHER.get(name, name) for name in names if self.spreads.get(name)}
        swings = []
        for name in sorted(groups | {PRICES, SPOT}):
            low, high = (sum(self._moved(lines, service, name, z) for lines, service in parts) for z in (-1.0, 1.0))
            if abs(high - low) > 0.005:
                swings.append(Swing(name, low, high))
        return tuple(sorted(swings, key=lambda one: -one.width_usd)[:most])

    def _moved(self, lines: Sequence[CostLine], service: str, moved: str, z: float) -> float:
        found = 0.0
        for line in lines:
            value = line.usd_per_month
            if moved == (SPOT if is_spot(line) else PRICES):
                value *= max(0.05, 1 + z * line.price.spread)
            for name, power in line.drivers:
                own = _own(name, service)
                if _TOGETHER.get(own, own) == moved:
                    value *= math.exp(z * power * self.spreads.get(own, 0.0))
            found += value
        return found


def is_spot(line: CostLine) -> bool:
    """Whether a line is of spot machines."""
    return line.item.endswith(", spot")


def band(values: NDArray[np.float64]) -> Band:
    """Return the 5th, 50th and 95th percentile."""
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return Band(float(low), float(middle), float(high))


def winners(costs: NDArray[np.float64], feasible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each alternative the share of draws in which it is feasible and none that is feasible is cheaper.

    Args:
        costs: Alternatives by draws.
        feasible: The same shape. A draw in which none is feasible counts for nobody.
    """
    if not len(costs):
        return np.array([])
    priced = np.where(feasible, costs, np.inf)
    best = priced.argmin(axis=0)
    any_is = np.isfinite(priced.min(axis=0))
    return np.array([float(((best == row) & any_is).mean()) for row in range(len(costs))])


def _own(driver: str, service: str) -> str:
    return f"service_time.{service}" if driver == "service_time" and service else driver
