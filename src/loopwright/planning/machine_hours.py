"""What machines cost in a month, by way of buying their hours, and when a commitment pays."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.cost import HOURS_PER_MONTH, CostLine, Price

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopwright.planning.cost import Stage
    from loopwright.planning.option import Purchase
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.prices.table import PriceTable

_WORDS: dict[Purchase, str] = {
    "on_demand": "on demand",
    "spot": "spot",
    "commit_1y": "committed for a year",
    "commit_3y": "committed for three years",
}


def machine_line(
    stage: Stage,
    instance: Instance,
    purchase: Purchase,
    *,
    count: float = 1.0,
    hours: float = HOURS_PER_MONTH,
    note: str = "",
    drivers: tuple[tuple[str, float], ...] = (),
) -> CostLine:
    """Return what some machines cost in a month.

    A commitment is paid for every hour of the month, used or not. Where a provider takes less for a whole month than
    for 730 hours, nobody pays more than that.

    Args:
        stage: The stage that needs them.
        instance: The type.
        purchase: How the hours are bought.
        count: How many machines; parts of one are the mean over the month.
        hours: How long each runs in the month, up to 730.
        note: How count and hours were found.
        drivers: The inputs that the quantity is proportional to.

    Raises:
        DeclarationError: If the hours do not fit into a month, or there is no price for this way of buying.
    """
    if count < 0 or not 0 <= hours <= HOURS_PER_MONTH + 1e-9:
        raise DeclarationError(
            f"{count:g} machines for {hours:g} hours each do not fit into a month.",
            hint=f"A month has {HOURS_PER_MONTH:g} hours; more work needs more machines.",
        )
    price = _price(instance, purchase, hours)
    paid = HOURS_PER_MONTH if purchase in {"commit_1y", "commit_3y"} else hours
    name = f"{instance.type}, {_WORDS[purchase]}"
    return CostLine(stage, name, count * paid, price, note, () if paid > hours else drivers)


def can_buy(instance: Instance, purchase: Purchase) -> bool:
    """Return whether there is a price for buying a machine this way."""
    return instance.price(purchase) is not None


def break_even_utilisation(instance: Instance, purchase: Purchase) -> float | None:
    """Return the share of the hours that must be used for a commitment to pay: one less the discount; None without one.

    >>> from datetime import date
    >>> from loopwright.planning.prices.table import PriceTable
    >>> one = PriceTable.load(today=date(2026, 8, 1)).instance("gcp", "us-central1", "g2-standard-4")
    >>> round(break_even_utilisation(one, "commit_1y"), 2)
    0.63
    """
    committed = instance.price(purchase)
    if purchase not in {"commit_1y", "commit_3y"} or committed is None:
        return None
    return committed.usd / instance.on_demand.usd


def commitment_pays(instance: Instance, purchase: Purchase, utilisation: float) -> bool:
    """Return whether a commitment is cheaper than on demand at this share of the hours used: u > 1 - d."""
    share = break_even_utilisation(instance, purchase)
    if share is None:
        return False
    hours = utilisation * HOURS_PER_MONTH
    on_demand = machine_line("serving", instance, "on_demand", hours=hours).usd_per_month
    return machine_line("serving", instance, purchase).usd_per_month < on_demand


def smallest_machine(
    instances: Iterable[Instance], *, vcpus: float, memory_gib: float, may_burst: bool = False
) -> Instance:
    """Return the machine without accelerators that is cheapest on demand and large enough.

    Raises:
        DeclarationError: If none is large enough.
    """
    one = smallest_machine_or_none(instances, vcpus=vcpus, memory_gib=memory_gib, may_burst=may_burst)
    if one is None:
        raise DeclarationError(
            f"No machine with a price has {vcpus:g} vCPUs and {memory_gib:g} GiB there.",
            hint="Name another region, or bring the prices of larger machines with `loopwright prices import`.",
        )
    return one


def smallest_machine_or_none(
    instances: Iterable[Instance], *, vcpus: float, memory_gib: float, may_burst: bool = False
) -> Instance | None:
    """Return the same, or None where none is large enough."""
    found = [
        one
        for one in instances
        if not one.is_gpu
        and one.vcpus >= vcpus
        and one.memory_gib >= memory_gib
        and (may_burst or not one.is_burstable)
    ]
    return min(found, key=lambda one: (one.on_demand.usd, one.type), default=None)


def disk_line(
    stage: Stage, prices: PriceTable, provider: str, gigabytes: float, *, item: str = "disk", note: str = ""
) -> CostLine:
    """Return what disks of machines cost in a month."""
    return CostLine(stage, item, gigabytes, prices.unit_or_nearest(provider, "block_storage", "node_gb_month"), note)


def _price(instance: Instance, purchase: Purchase, hours: float) -> Price:
    price = instance.price(purchase)
    if price is None:
        raise DeclarationError(
            f"There is no price for {instance.provider} {instance.region} {instance.type} bought {_WORDS[purchase]}.",
            hint="Take it on demand, or bring the price with `loopwright prices import`.",
        )
    full = instance.full_month
    if purchase == "on_demand" and full is not None and 0 < full.usd < hours * price.usd:
        return dataclasses.replace(price, usd=full.usd / hours, source=full.source, as_of=full.as_of)
    return price
