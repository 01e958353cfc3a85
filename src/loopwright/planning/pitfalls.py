"""The ways to lose money that this plan would run into: every detector of ``traps.py``, and those of machines here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.plan import Warned
from loopwright.planning.traps import lifecycle_trap, nat_trap, spot_market_traps

if TYPE_CHECKING:
    from loopwright.planning.place import Asked, Place
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.service import ServiceModel


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
