"""Ways to lose money that look like savings, found in a plan's own figures and put into dollars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.prices.object_storage import break_even_months, storage_classes
from loopwright.planning.cost import HOURS_PER_MONTH, total
from loopwright.planning.network import gateway_excess_usd
from loopwright.planning.storage import SMALLEST_STAY_BEFORE_MOVING_DAYS, cheapest, storage_lines, storage_options

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from loopwright.planning.metadata import Facts
    from loopwright.planning.network import Traffic
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.stored_data import StoredData


@dataclass(frozen=True)
class Trap:
    """One of them.

    Attributes:
        name: A short one: ``lifecycle``, ``nat``, ``spot_market``, ``extended_support``.
        text: What happens, with the figures, and what to do instead.
        usd_per_month: What it would cost, or costs, more than the better way.
    """

    name: str
    text: str
    usd_per_month: float


def lifecycle_trap(data: StoredData, provider: str, *, today: date) -> Trap | None:
    """Return the trap of moving small objects to a colder class, where the usual rule costs more than to do nothing.

    Raises:
        UnknownNameError: If the provider's storage has no prices.
    """
    hot, cold, *_ = storage_classes(provider)
    start = max(data.hot_days, SMALLEST_STAY_BEFORE_MOVING_DAYS)
    if start >= data.priced_days:
        return None
    kept = total(storage_lines(data, ((0.0, hot),), today=today))
    moved = total(storage_lines(data, ((0.0, hot), (start, cold)), today=today))
    if moved <= kept:
        return None
    months = break_even_months(hot, cold, data.object_bytes)
    pays = "never pays for itself" if months is None else f"pays for itself after {months:.1f} months an object"
    best = cheapest(storage_options(data, provider, today=today))
    instead = f" {best.name} costs {best.usd_per_month:,.0f}." if best.usd_per_month < kept else ""
    text = (
        f"A rule that moves {data.kind} objects of {data.object_bytes / 1000:,.0f} kB to {cold.name} after {start:g} "
        f"days costs {moved:,.0f} USD a month, and to leave them {kept:,.0f}: the move is billed by the object, and it "
        f"{pays}.{instead}"
    )
    return Trap("lifecycle", text, moved - kept)


def nat_trap(traffic: Traffic, prices: PriceTable, provider: str) -> Trap | None:
    """Return the trap of sending the bytes of the object storage through a gateway that bills each of them.

    Raises:
        UnknownNameError: If the provider's network has no prices.
    """
    excess = gateway_excess_usd(traffic, prices, provider)
    if excess <= 0:
        return None
    price = prices.unit(provider, "nat_gateway", "gb").usd
    gigabytes = (traffic.stored_bytes + traffic.image_bytes * traffic.image_pulls) / 1e9
    text = (
        f"{gigabytes:,.0f} GB a month between the machines and the object storage and registry would pass a gateway "
        f"that bills {price:g} USD for each, {excess:,.0f} USD a month more than endpoints, over which they are free "
        "or nearly so."
    )
    return Trap("nat", text, excess)


def spot_market_traps(instances: Iterable[Instance], *, hours: float = HOURS_PER_MONTH) -> tuple[Trap, ...]:
    """Return the machines whose spot price is that of on demand, everywhere or in one zone: a saving that is none.

    Args:
        instances: That a plan would buy as spot.
        hours: Of each, in a month.
    """
    found = []
    for one in instances:
        if one.spot is None:
            continue
        where = f"{one.provider} {one.region} {one.type}"
        if one.spot.usd >= one.on_demand.usd:
            text = f"{where} costs the same as spot and on demand, {one.on_demand.usd:g} USD an hour, and spot is taken"
            found.append(Trap("spot_market", f"{text} away at any time: there may be no spot market for it.", 0.0))
        elif one.spot_high is not None and one.spot_high >= one.on_demand.usd - 0.005:
            more = (one.spot_high - one.spot.usd) * hours
            text = (
                f"{where} costs {one.spot.usd:g} USD an hour as spot in the middle of the zones and "
                f"{one.spot_high:g} in the dearest, as much as on demand: name the zones, or set a highest price."
            )
            found.append(Trap("spot_market", text, more))
    return tuple(found)


def extended_support_trap(facts: Facts, prices: PriceTable, provider: str) -> Trap | None:
    """Return the trap of a version of Kubernetes past its standard support.

    Raises:
        UnknownNameError: If the provider's control plane has no price.
    """
    if not (facts.clusters and facts.runs_old_kubernetes):
        return None
    if not prices.has(provider, "kubernetes", "control_plane_extended_hour"):
        return None
    standard = prices.unit(provider, "kubernetes", "control_plane_hour").usd
    extended = prices.unit(provider, "kubernetes", "control_plane_extended_hour").usd
    more = (extended - standard) * HOURS_PER_MONTH * facts.clusters
    text = (
        f"A control plane of a version past its standard support costs {extended:g} USD an hour, "
        f"{extended / standard:.0f} times the {standard:g} of a supported one: {more:,.0f} USD a month more. Upgrade."
    )
    return Trap("extended_support", text, more)
