"""How many servers carry a rate within a limit: by formula first, then by simulation of the ones that could."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.planning.option import Latency
from loopwright.planning.queueing import mean_wait
from loopwright.planning.simulation import poisson_arrivals, simulate, simulate_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.planning.service import ServiceModel
    from loopwright.planning.simulation import Simulated

REQUESTS = 40_000  # 400 beyond the 99th percentile
_SAFE_CV2 = 1.0
MOST_SERVERS = 10_000


def latency_at(
    service: ServiceModel,
    rate: float,
    servers: int,
    limit_s: float,
    *,
    before_s: float = 0.0,
    requests: int = REQUESTS,
    seed: int = 0,
) -> Latency:
    """Return how answers take at a steady rate, by simulation on the service's own times.

    Args:
        service: How long the model takes.
        rate: Requests per second, over all servers.
        servers: How many.
        limit_s: The limit, from the client's point of view.
        before_s: What the way to the server and back takes.
        requests: How many are simulated; the first tenth is left out.
        seed: Of the randomness: the same one gives the same arrivals for every candidate.
    """
    found = _run(service, rate, servers, requests, seed)
    response = found.response_s[requests // 10 :] + before_s
    p50, p95, p99 = (float(value) for value in np.quantile(response, [0.5, 0.95, 0.99]))
    return Latency(p50, p95, p99, float((response > limit_s).mean()), is_simulated=True)


def response_quantiles(
    service: ServiceModel,
    rate: float,
    servers: int,
    shares: Sequence[float],
    *,
    before_s: float = 0.0,
    requests: int = REQUESTS,
    seed: int = 0,
) -> list[float]:
    """Return how long these shares of answers take at most at a steady rate, in seconds."""
    response = _run(service, rate, servers, requests, seed).response_s[requests // 10 :] + before_s
    return [float(value) for value in np.quantile(response, list(shares))]


def fewest_servers(
    service: ServiceModel,
    rate: float,
    limit_s: float,
    *,
    percentile: float = 0.99,
    before_s: float = 0.0,
    requests: int = REQUESTS,
    seed: int = 0,
) -> int:
    """Return the smallest number of servers whose percentile keeps the limit at a steady rate.

    The search starts where the load fits and the mean alone keeps the limit, and goes up by simulation.

    Raises:
        DeclarationError: If the service alone breaks the limit, whatever the number.
    """
    alone = _alone(service, percentile, seed) + before_s
    if alone > limit_s:
        raise DeclarationError(
            f"'{service.name}' takes {alone * 1000:.0f} ms at the {percentile:.0%} percentile with nobody waiting, and "
            f"the limit is {limit_s * 1000:.0f} ms.",
            hint="Make the model faster (compile, quantise), or raise the limit.",
        )
    count = max(1, math.floor(rate / service.capacity_rps) + 1)
    if service.batch is None:
        count = _by_mean(service, rate, limit_s - before_s, count)
    while count <= MOST_SERVERS:
        found = _run(service, rate, count, requests, seed)
        if float(np.quantile(found.response_s[requests // 10 :], percentile)) + before_s <= limit_s:
            return count
        count += max(1, count // 50)
    raise DeclarationError(
        f"More than {MOST_SERVERS} servers of '{service.name}' would be needed for {rate:g} requests/s."
    )


def highest_rate(
    service: ServiceModel,
    servers: int,
    limit_s: float,
    *,
    percentile: float = 0.99,
    before_s: float = 0.0,
    requests: int = REQUESTS,
    seed: int = 0,
) -> float:
    """Return the highest steady rate that a number of servers carries within the limit, to 1 %; 0 where none."""
    low, high = 0.0, servers * service.capacity_rps
    if _alone(service, percentile, seed) + before_s > limit_s:
        return 0.0
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        found = _run(service, middle, servers, requests, seed)
        keeps = float(np.quantile(found.response_s[requests // 10 :], percentile)) + before_s <= limit_s
        low, high = (middle, high) if keeps else (low, middle)
    return low


def _by_mean(service: ServiceModel, rate: float, room_s: float, count: int) -> int:
    """Skip the numbers of servers whose mean response alone exceeds the limit; cheap, and never too many."""
    cv2 = min(service.cv2, _SAFE_CV2)
    while (
        count < MOST_SERVERS and 0.8 * mean_wait(count, rate, service.mean_s, service_cv2=cv2) > room_s - service.mean_s
    ):
        count += 1
    return count


def _alone(service: ServiceModel, percentile: float, seed: int) -> float:
    if service.batch is not None:
        return service.batch.seconds(1)
    return float(np.quantile(service.draws(20_000, np.random.default_rng(seed)), percentile))


def _run(service: ServiceModel, rate: float, servers: int, requests: int, seed: int) -> Simulated:
    rng = np.random.default_rng(seed)
    arrivals = poisson_arrivals(rate, requests, rng)
    if service.batch is not None:
        return simulate_batches(arrivals, service.batch, service.largest_batch, servers=servers)
    return simulate(arrivals, service.draws(requests, rng), servers)
