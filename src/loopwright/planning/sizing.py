"""How many servers and machines a service needs, by formula, then confirmed by simulation; remembered for one plan."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.planning.capacity import Capacity
from loopwright.planning.day_cost import level
from loopwright.planning.fleet import latency_at, response_quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from loopwright.planning.day_cost import Level
    from loopwright.planning.fitting import Fit
    from loopwright.planning.option import Latency
    from loopwright.planning.service import ServiceModel

MOST_SERVERS = 4096


class Sizing:
    """What was found out about services for one limit.

    Args:
        limit_s: Of the answer, from the client's point of view.
        before_s: What the way takes.
        percentile: Which one keeps the limit.
        seed: Of the simulations.
    """

    def __init__(self, limit_s: float, before_s: float, percentile: float, seed: int) -> None:
        self.limit_s = limit_s
        self.before_s = before_s
        self.percentile = percentile
        self._seed = seed
        self._capacities: dict[str, Capacity] = {}
        self._fewest: dict[tuple[str, float, float], int | None] = {}
        self._latencies: dict[tuple[str, float, float, int], Latency] = {}
        self._levels: dict[tuple[object, ...], Level] = {}

    @property
    def room_s(self) -> float:
        """The limit less what the way takes."""
        return self.limit_s - self.before_s

    def capacity(self, service: ServiceModel) -> Capacity:
        """Return the capacity curve of a service as it was measured or assumed."""
        found = self._capacities.get(service.name)
        if found is None:
            found = Capacity(service, percentile=self.percentile, seed=self._seed)
            self._capacities[service.name] = found
        return found

    def fewest(self, found: Fit, rate: float) -> int | None:
        """Return the fewest servers on a machine's kind for a rate; None where no number keeps the limit."""
        key = (found.base.name, found.scale, rate)
        if key not in self._fewest:
            self._fewest[key] = self._search(found, rate)
        return self._fewest[key]

    def latency(self, found: Fit, rate: float, servers: int) -> Latency:
        """Return how answers take, simulated; a load that the servers cannot carry is simulated as it grows."""
        key = (found.base.name, found.scale, rate, servers)
        if key not in self._latencies:
            self._latencies[key] = latency_at(
                found.service, rate, servers, self.limit_s, before_s=self.before_s, seed=self._seed
            )
        return self._latencies[key]

    def quantiles(self, found: Fit, rate: float, servers: int, shares: Sequence[float]) -> list[float]:
        """Return how long these shares of answers take at most, in seconds, the way included."""
        return response_quantiles(found.service, rate, servers, shares, before_s=self.before_s, seed=self._seed)

    def keeps(self, latency: Latency) -> bool:
        """Whether the share of slow answers is no larger than the percentile allows."""
        return latency.share_above_limit <= 1 - self.percentile + 1e-12

    def capacities(self, found: Fit, workers: int, nodes: int) -> NDArray[np.float64]:
        """Return what 1, 2, … machines carry."""
        counts: Sequence[int] = [workers * count for count in range(1, nodes + 1)]
        return self.capacity(found.base).rates(counts, self.room_s, found.scale)

    def level(
        self, found: Fit, workers: int, needed: NDArray[np.float64], *, fewest: int, most: int, spare: int, key: str
    ) -> Level:
        """Return how long each machine of a fleet runs over the day; ``key`` names what ``needed`` is."""
        name = (found.base.name, found.scale, workers, fewest, most, spare, key)
        if name not in self._levels:
            capacities = self.capacities(found, workers, max(1, most - spare))
            self._levels[name] = level(needed, capacities, fewest=fewest, most=most, spare=spare)
        return self._levels[name]

    def _search(self, found: Fit, rate: float) -> int | None:
        curve = self.capacity(found.base)
        count = curve.fewest(rate, self.room_s, found.scale, most=MOST_SERVERS)
        if count is None:
            return None
        stable = max(1, math.floor(rate / found.service.capacity_rps) + 1)
        count = max(count, stable)
        if count > 200:  # an edge of one in two hundred is below what a simulation tells
            return count
        while not self.keeps(self.latency(found, rate, count)):
            count += 1
        while count > stable and self.keeps(self.latency(found, rate, count - 1)):
            count -= 1
        return count
