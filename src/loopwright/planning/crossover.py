"""Where one way to serve becomes cheaper than another, as the traffic grows with the shape of its day.

For each rate every machine of a side is sized from the capacity curve and priced on demand over the day; the cheapest
is the side's point. The spare machines, the lower bound and the limit are those of the plan.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from loopwright.planning.cost import HOURS_PER_MONTH
from loopwright.planning.day_cost import needed_rps
from loopwright.planning.draft import reaction_of
from loopwright.planning.fitting import fit
from loopwright.planning.plan import Crossover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from loopwright.planning.fitting import Fit
    from loopwright.planning.place import Asked, Place
    from loopwright.planning.prices.table import PriceTable

_STEPS = 25
_LOW, _HIGH = 1 / 16, 64.0
_BEST = 6
_MOST = 400


def crossovers(place: Place, asked: Asked, prices: PriceTable) -> tuple[Crossover, ...]:
    """Return where GPU beats CPU, machines beat serverless containers, and one machine is no longer enough."""
    if place.serving is None:
        return ()
    fits = [
        placed
        for instance in place.instances
        for service in asked.services
        if (placed := fit(service, instance, asked.workload.ratios)) is not None
        and placed.reason is None
        and placed.baseline == 1
        and not placed.is_cut
        and asked.workload.fixed.instance_type in {"", instance.type}
    ]
    sides = {kind: _most_for_the_money([one for one in fits if one.base.kind == kind]) for kind in ("cpu", "gpu")}
    rates = asked.demand.peak_rps * np.geomspace(_LOW, _HIGH, _STEPS)
    found = []

    def cheapest(pool: Sequence[Fit]) -> Callable[[float], float]:
        return lambda rate: min((group_usd(one, rate, asked) for one in pool), default=math.inf)

    if sides["cpu"] and sides["gpu"]:
        found.append(_between("GPU beats CPU", "CPU", "GPU", cheapest(sides["cpu"]), cheapest(sides["gpu"]), rates))
    if sides["cpu"] and prices.has(place.provider, "serverless", "vcpu_hour"):
        whole = [one for one in fits if one.base.kind == "cpu" and one.workers == 1 and one.scale == 1.0]
        if whole:
            by_second = _serverless(whole, asked, prices, place.provider)
            name = "machines beat serverless containers"
            found.append(_between(name, "serverless containers", "machines", by_second, cheapest(sides["cpu"]), rates))
    if fits:
        found.append(_one_machine(sides["cpu"] or sides["gpu"], asked, rates))
    return tuple(found)


def group_usd(found: Fit, peak_rps: float, asked: Asked) -> float:
    """Return what a group of one kind of machine costs in a month on demand, for a day scaled to a peak."""
    demand = asked.demand
    scale = peak_rps / demand.peak_rps
    curve, rate = asked.sizing.capacity(found.base), demand.sized_rps * scale
    servers = curve.fewest(rate, asked.sizing.room_s, found.scale, most=_MOST * found.workers)
    if servers is None:
        return math.inf
    working = math.ceil(servers / found.workers)
    most = max(demand.min_nodes, working + demand.spare_nodes)
    if most > _MOST:
        return math.inf
    return (
        _mean_nodes(found, found.workers, working, most, scale, asked) * found.instance.on_demand.usd * HOURS_PER_MONTH
    )


def _mean_nodes(found: Fit, workers: int, working: int, most: int, scale: float, asked: Asked) -> float:
    demand = asked.demand
    needed = needed_rps(demand, reaction_of("vm_group", found).seconds) * scale
    capacities = asked.sizing.capacities(found, workers, working)
    nodes = np.searchsorted(capacities, needed * (1 - 1e-9)) + 1 + demand.spare_nodes
    return float(np.clip(nodes, demand.min_nodes, most).mean())


def _serverless(pool: Sequence[Fit], asked: Asked, prices: PriceTable, provider: str) -> Callable[[float], float]:
    cpu = prices.unit(provider, "serverless", "vcpu_hour").usd
    memory = prices.unit(provider, "serverless", "memory_gb_hour").usd
    by_service = {one.base.name: one for one in pool}

    def usd(rate: float) -> float:
        found = []
        for one in by_service.values():
            scale = rate / asked.demand.peak_rps
            rate_rps = asked.demand.sized_rps * scale
            servers = asked.sizing.capacity(one.base).fewest(rate_rps, asked.sizing.room_s, most=_MOST)
            if servers is not None:
                most = max(asked.demand.min_nodes, servers + asked.demand.spare_nodes)
                hour = one.base.vcpus * cpu + max(one.base.memory_bytes / 1e9, 2 * one.base.vcpus) * memory
                found.append(_mean_nodes(one, 1, servers, most, scale, asked) * hour * HOURS_PER_MONTH)
        return min(found, default=math.inf)

    return usd


def _one_machine(pool: Sequence[Fit], asked: Asked, rates: NDArray[np.float64]) -> Crossover:
    """Return the peak up to which the largest single machine keeps the limit, availability aside."""
    sizing, burst = asked.sizing, asked.demand.burst_factor

    def carries(one: Fit) -> float:
        return float(sizing.capacity(one.base).rate(one.workers, sizing.room_s, one.scale)) / burst

    best = max(pool, key=carries)

    def alone(rate: float) -> float:
        able = [one.instance.on_demand.usd for one in pool if carries(one) >= rate]
        return min(able, default=math.inf) * HOURS_PER_MONTH

    points = tuple(
        (float(rate), alone(float(rate)), min(group_usd(one, rate, asked) for one in pool)) for rate in rates
    )
    at = carries(best)
    text = (
        f"One {best.instance.type} keeps the limit up to {at:,.4g} requests/s at peak; beyond that it takes a group. "
        "A group is also what an availability with spare machines asks for."
    )
    return Crossover(
        "a group beats one machine", at, "requests/s at peak", "one machine", "group of machines", _finite(points), text
    )


def _most_for_the_money(fits: Sequence[Fit]) -> list[Fit]:
    """Return the few machines that carry most for a dollar, and the cheapest."""
    by_worth = sorted(fits, key=lambda one: -one.full_speed_rps / one.instance.on_demand.usd)[:_BEST]
    by_price = sorted(fits, key=lambda one: one.instance.on_demand.usd)[:_BEST]
    return list({(one.instance.type, one.base.name): one for one in (*by_worth, *by_price)}.values())


def _between(
    name: str,
    first: str,
    second: str,
    first_usd: Callable[[float], float],
    second_usd: Callable[[float], float],
    rates: NDArray[np.float64],
) -> Crossover:
    every = tuple((float(rate), first_usd(float(rate)), second_usd(float(rate))) for rate in rates)
    points = tuple(point for point in every if math.isfinite(min(point[1:])))
    wins = [two < one for _, one, two in points]
    unit, opened = "requests/s at peak", name[:1].upper() + name[1:]
    if not points or not wins[-1]:
        text = f"{opened} at no rate up to {points[-1][0] if points else 0:,.4g} {unit}."
        return Crossover(name, None, unit, first, second, _finite(points), text)
    if all(wins):
        text = f"{opened} at every rate that was looked at, {points[0][0]:,.3g} to {points[-1][0]:,.4g} {unit}."
        return Crossover(name, None, unit, first, second, _finite(points), text)
    last = max(row for row, won in enumerate(wins) if not won)
    low, high = points[last][0], points[last + 1][0]
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if second_usd(middle) < first_usd(middle) else (middle, high)
    usd = second_usd(high)
    text = f"{opened} from {high:,.4g} {unit} on, where either costs ${usd:,.0f} a month."
    return Crossover(name, high, unit, first, second, _finite(points), text)


def _finite(points: tuple[tuple[float, float, float], ...]) -> tuple[tuple[float, float, float], ...]:
    """Return the points at which both ways exist: a file of JSON has no infinity."""
    return tuple(point for point in points if all(math.isfinite(value) for value in point))
