"""What a number of servers carries within the limit, for any number and any speed, from a few simulations.

A queue has no clock of its own: servers that are twice as slow behave as the same servers at half the rate with every
time doubled. So the percentile of the response, in units of the mean service time, depends on the utilisation and the
number of servers only; it is simulated at a few utilisations once, and every later question (another limit, a service
time that a draw made 20 % longer, another machine) is an interpolation.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from loopwright.planning.simulation import poisson_arrivals, simulate, simulate_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from loopwright.planning.service import ServiceModel

_UTILISATIONS = np.array([0.02, 0.25, 0.45, 0.6, 0.72, 0.82, 0.9, 0.96])
_REQUESTS = 8_000
_BATCHED = 5_000
_PER_SERVER = 60
_MOST_REQUESTS = 40_000
_EXACT = 8
_STEP = 1.5


class Capacity:
    """The capacity of servers of one service, by count and speed.

    Args:
        service: How long the model takes.
        percentile: Which one keeps the limit.
        seed: Of the simulation; the same for all, so that options differ by what they are and not by luck.
    """

    def __init__(self, service: ServiceModel, *, percentile: float = 0.99, seed: int = 0) -> None:
        self._service = service
        self._percentile = percentile
        self._seed = seed
        self._curves: dict[int, NDArray[np.float64]] = {}

    def rate(self, servers: int, room_s: float, scale: NDArray[np.float64] | float = 1.0) -> NDArray[np.float64]:
        """Return the highest rate within the limit, per second, for each scale of the service time; 0 where none.

        Args:
            servers: How many.
            room_s: The limit less what the way takes.
            scale: How much longer each draw's service takes than the model says.
        """
        slower = np.asarray(scale, dtype=float)
        below, above = _neighbours(servers)
        first = self._per_server(below, room_s / slower) / slower
        if above == below:
            return np.asarray(first * servers)
        second = self._per_server(above, room_s / slower) / slower
        share = (np.log(servers) - np.log(below)) / (np.log(above) - np.log(below))
        return np.asarray((first * (1 - share) + second * share) * servers)

    def rates(self, counts: Sequence[int], room_s: float, scale: float = 1.0) -> NDArray[np.float64]:
        """Return the highest rate of each number of servers; it never falls with the number."""
        found = [float(self.rate(count, room_s, scale)) for count in counts]
        return np.maximum.accumulate(np.array(found)) if found else np.array([])

    def fewest(self, rate: float, room_s: float, scale: float = 1.0, *, most: int = 4096) -> int | None:
        """Return the smallest number of servers that carry a rate; None where more than ``most`` would be needed."""
        alone = self._service.capacity_rps / scale
        if rate >= most * alone or float(self.rate(1, room_s, scale)) == float(self.rate(_EXACT, room_s, scale)) == 0:
            return None
        high = 1
        while high * alone <= rate:  # fewer are never enough, whatever the limit
            high *= 2
        while float(self.rate(high, room_s, scale)) < rate:
            high *= 2
            if high > most:
                return None
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if float(self.rate(middle, room_s, scale)) >= rate else (middle, high)
        return high

    def _per_server(self, servers: int, room_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the highest rate of each server, at the speed of the model, for a room in the model's own time."""
        curve = self._curve(servers)
        share = np.interp(room_s, curve, _UTILISATIONS, left=0.0)
        return np.asarray(share * self._service.capacity_rps)

    def _curve(self, servers: int) -> NDArray[np.float64]:
        found = self._curves.get(servers)
        if found is None:
            found = self._curves[servers] = _simulated(self._service, servers, self._percentile, self._seed)
        return found


@functools.lru_cache(maxsize=512)
def _simulated(service: ServiceModel, servers: int, percentile: float, seed: int) -> NDArray[np.float64]:
    """Return the percentile of the response at each utilisation; remembered, as plans ask again."""
    count = max(_REQUESTS if service.batch is None else _BATCHED, min(_MOST_REQUESTS, _PER_SERVER * servers))
    points = []
    for share in _UTILISATIONS:
        rng = np.random.default_rng(seed)
        arrivals = poisson_arrivals(float(share) * servers * service.capacity_rps, count, rng)
        if service.batch is not None:
            done = simulate_batches(arrivals, service.batch, service.largest_batch, servers=servers)
        else:
            done = simulate(arrivals, service.draws(count, rng), servers)
        points.append(done.percentile(percentile))
    curve: NDArray[np.float64] = np.maximum.accumulate(np.array(points)) + 1e-12 * np.arange(len(points))
    curve.flags.writeable = False
    return curve


def _neighbours(servers: int) -> tuple[int, int]:
    """Return the numbers that are simulated next to one: itself up to 8, then steps of a half more."""
    if servers <= _EXACT:
        return servers, servers
    below = _EXACT
    while True:
        above = int(np.ceil(below * _STEP))
        if servers == below:
            return below, below
        if servers < above:
            return below, above
        below = above
