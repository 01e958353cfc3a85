"""The ways to lose money that this plan would run into: every detector of ``traps.py``, and those of machines here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.planning.plan import Warned
from loopwright.planning.routing import simulate_routed
from loopwright.planning.simulation import poisson_arrivals
from loopwright.planning.traps import lifecycle_trap, nat_trap, spot_market_traps

if TYPE_CHECKING:
    from loopwright.planning.place import Asked, Place
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.routing import Policy
    from loopwright.planning.service import ServiceModel

_ROUTED = 20_000


def pitfalls(place: Place, asked: Asked, prices: PriceTable) -> tuple[Warned, ...]:
    """Return what was found, the dearest first."""
    found = [lifecycle_trap(data, place.provider, today=asked.today) for data in place.stored]
    if place.traffic is not None:
        found.append(nat_trap(place.traffic, prices, place.provider))
    warned = [Warned(one.name, one.text, one.usd_per_month) for one in found if one is not None]
    spot = [option.instance_type for option in place.chosen.values() if option.purchase == "spot"]
    machines = [one for one in place.instances if one.type in spot]
    warned += [Warned(one.name, one.text, one.usd_per_month) for one in spot_market_traps(machines)]
    bare = bare_spot(place)
    if bare is not None:
        warned.append(bare)
    drawn = random_balancer(place, asked)
    if drawn is not None:
        warned.append(drawn)
    warned += [one for service in asked.services if (one := busy_gpu(service, asked)) is not None]
    return tuple(sorted(warned, key=lambda one: -one.usd_per_month))


def bare_spot(place: Place) -> Warned | None:
    """Return the trap of spot without checkpoints, where a training that starts anew eats up the discount."""
    options = [place.chosen[stage] for stage in ("training",) if stage in place.chosen]
    options += place.others.get("training", ())
    for option in options:
        for reason in option.reasons:
            if reason.limit == "spot_without_checkpoints":
                rivals = [one for one in options if one.purchase == "on_demand" and one.is_feasible]
                more = option.usd_per_month - min((one.usd_per_month for one in rivals), default=option.usd_per_month)
                text = f"{option.name}: {reason.text}. Write checkpoints, or train on demand."
                return Warned("spot_without_checkpoints", text, max(0.0, more))
    return None


def random_balancer(place: Place, asked: Asked) -> Warned | None:
    """Return the trap of a balancer that draws machines at random, where the chosen fleet is too slow behind one."""
    if place.serving is None:
        return None
    draft, demand = place.serving.chosen.draft, asked.demand
    service, workers = draft.found.service, draft.found.workers
    if draft.packaging == "serverless" or draft.most < 2 or service.batch is not None:
        return None
    rng = np.random.default_rng(asked.seed)
    arrivals = poisson_arrivals(demand.sized_rps, _ROUTED, rng)
    took = service.draws(_ROUTED, rng)
    policies: tuple[Policy, ...] = ("random", "round_robin", "least_loaded")
    found = {one: simulate_routed(arrivals, took, draft.most, one, rng, workers=workers) for one in policies}
    late = {one: run.share_above(asked.sizing.room_s) for one, run in found.items()}
    if late["random"] <= 1 - demand.percentile:
        return None
    text = (
        f"Behind a balancer that draws one of the {draft.most} machines at random, as kube-proxy does, "
        f"{late['random']:.1%} of the answers at the peak take too long, in turns {late['round_robin']:.1%}, and "
        f"{late['least_loaded']:.1%} where each goes to the least loaded. Set least connections or least outstanding "
        "requests."
    )
    return Warned("random_balancer", text)


def busy_gpu(service: ServiceModel, asked: Asked) -> Warned | None:
    """Return the trap of scaling a batching server by how busy its GPU is: it is busy long before it is full.

    Whenever one row waits the server works on a batch of one, so that at a rate at which it is nearly always busy much
    of its capacity is left: s(b) = τ0 + αb, capacity B / s(B), and a server that answers rows one by one is always busy
    from 1 / s(1) on.
    """
    batch = service.batch
    if batch is None or service.largest_batch < 2 or not asked.demand.is_online:
        return None
    one_by_one, full = 1 / batch.seconds(1), batch.capacity(service.largest_batch)
    left = 1 - one_by_one / full
    if left < 0.2:
        return None
    text = (
        f"'{service.name}' is busy all the time from {one_by_one:,.0f} requests/s on and full at {full:,.0f}: an "
        f"autoscaler that follows GPU use would double the machines with {left:.0%} of the capacity left. Scale on "
        "requests in flight, queue length or batch size."
    )
    return Warned("gpu_busy_autoscaling", text)
