"""Every way to serve with one kind of machine: group, Kubernetes, serverless, one machine; each way of buying.

A draft is what search compares; the few that remain are written out as options (``serving.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.planning.autoscaling import Reaction
from loopwright.planning.cost import HOURS_PER_MONTH, CostLine, total
from loopwright.planning.day_cost import Level, needed_rps
from loopwright.planning.purchase import PURCHASES, ZONES, disk_line, machine_lines, spot_fleet
from loopwright.planning.refusal import one_machine, overloaded, scale_to_zero, too_slow, worn_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.planning.demand import Demand
    from loopwright.planning.fitting import Fit
    from loopwright.planning.option import Packaging, Purchase, Reason
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.sizing import Sizing
    from loopwright.planning.sureness import Sureness
    from loopwright.planning.workload import Fixed

WORDS: dict[Packaging, str] = {
    "vm": "one machine",
    "vm_group": "group of machines",
    "kubernetes": "Kubernetes",
    "serverless": "serverless containers",
    "local": "own machine",
}
NODE_BOOT_S = 60.0
_LOAD_BALANCED: tuple[Packaging, ...] = ("vm_group", "kubernetes")


@dataclass(frozen=True)
class Draft:
    """An option before it is written out: what search compares."""

    found: Fit
    packaging: Packaging
    purchase: Purchase
    servers: int
    working: int
    fewest: int
    most: int
    mean_nodes: float
    lines: tuple[CostLine, ...]
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...] = ()

    @property
    def usd(self) -> float:
        """What it costs in a month."""
        return total(self.lines)


def reaction_of(packaging: Packaging, found: Fit) -> Reaction:
    """Return what lies between a rise and a ready server: a machine's boot where one must come."""
    return Reaction(
        metric_window_s=60.0 if packaging == "vm_group" else 15.0,
        model_load_s=found.base.load_s,
        node_boot_s=0.0 if packaging == "serverless" else NODE_BOOT_S,
    )


def drafts(
    found: Fit, demand: Demand, sizing: Sizing, sure: Sureness, prices: PriceTable, fixed: Fixed
) -> Iterator[Draft]:
    """Return every way to serve with one kind of machine, the infeasible with their reasons."""
    servers = None if found.reason else sizing.fewest(found, demand.sized_rps)
    if servers is None:
        yield _refused(found, found.reason or too_slow(found, sizing))
        return
    if fixed.packaging in {"", "vm"}:
        yield from _one_machine(found, demand, servers, prices)
    working = math.ceil(servers / found.workers)
    most = max(demand.min_nodes, working + demand.spare_nodes)
    most = fixed.nodes or sure.machines(found, found.workers, most)
    if most == 1:
        return
    for packaging in _LOAD_BALANCED:
        if fixed.packaging not in {"", packaging}:
            continue
        seconds = reaction_of(packaging, found).seconds
        for purchase in PURCHASES:
            if fixed.purchase in {"", purchase}:
                made = _group(found, demand, sizing, prices, packaging, purchase, servers, working, most, seconds)
                if made is not None:
                    yield made
    provider = found.instance.provider
    if fixed.packaging in {"", "serverless"} and prices.has(provider, "serverless", "vcpu_hour"):
        yield from _serverless(found, demand, sizing, sure, prices, servers)


def _group(
    found: Fit,
    demand: Demand,
    sizing: Sizing,
    prices: PriceTable,
    packaging: Packaging,
    purchase: Purchase,
    servers: int,
    working: int,
    most: int,
    reaction_s: float,
) -> Draft | None:
    instance, spare = found.instance, demand.spare_nodes
    fewest = demand.min_nodes if found.baseline == 1 else most  # burstable ones must run to earn what they use
    notes: tuple[str, ...] = ()
    if purchase == "spot":
        most = max(most, spot_fleet(working, fewest))
        spare = most - working
        notes = (f"one of {ZONES} zones may take its spot machines back without a slow answer",)
    fleet = sizing.level(
        found,
        found.workers,
        needed_rps(demand, reaction_s),
        fewest=fewest,
        most=most,
        spare=spare,
        key=f"{packaging}/{reaction_s:g}",
    )
    lines = machine_lines("serving", instance, fleet, purchase, fixed=fewest)
    if lines is None:
        return None
    disks = prices.unit_or_nearest(instance.provider, "block_storage", "node_gb_month")
    lines = (*lines, disk_line("serving", fleet.mean, disks))
    if packaging == "kubernetes":
        plane = prices.unit_or_nearest(instance.provider, "kubernetes", "control_plane_hour")
        lines = (*lines, CostLine("serving", "Kubernetes control plane", HOURS_PER_MONTH, plane, "one cluster"))
    reasons = worn_out(found, demand, fewest=fewest, most=most)
    return Draft(found, packaging, purchase, servers, working, fewest, most, fleet.mean, lines, reasons, notes)


def _one_machine(found: Fit, demand: Demand, servers: int, prices: PriceTable) -> Iterator[Draft]:
    reasons = list(overloaded(found, demand, servers))
    reasons.extend(one_machine(demand))
    reasons.extend(worn_out(found, demand, fewest=1, most=1))
    disks = prices.unit_or_nearest(found.instance.provider, "block_storage", "node_gb_month")
    for purchase in PURCHASES:
        if purchase == "spot":
            continue
        lines = machine_lines("serving", found.instance, Level((1.0,), 0, 0, 0), purchase, fixed=1)
        if lines is not None:
            full = (*lines, disk_line("serving", 1.0, disks))
            yield Draft(found, "vm", purchase, servers, 1, 1, 1, 1.0, full, tuple(reasons))


def _serverless(
    found: Fit, demand: Demand, sizing: Sizing, sure: Sureness, prices: PriceTable, servers: int
) -> Iterator[Draft]:
    """Containers by the second: of the size of one worker, so that only x86 machines with one worker stand for them."""
    if found.instance.is_gpu or found.instance.is_burstable or found.workers != 1 or found.scale != 1.0:
        return
    fewest = demand.min_nodes
    most = sure.machines(found, 1, max(demand.min_nodes, servers + demand.spare_nodes))
    seconds = reaction_of("serverless", found).seconds
    fleet = sizing.level(
        found,
        1,
        needed_rps(demand, seconds),
        fewest=fewest,
        most=most,
        spare=demand.spare_nodes,
        key=f"serverless/{seconds:g}",
    )
    hours = fleet.mean * HOURS_PER_MONTH
    drivers = fleet.drivers()
    provider, memory = found.instance.provider, max(found.base.memory_bytes / 1e9, 2 * found.base.vcpus)
    lines = (
        CostLine(
            "serving",
            f"{fleet.mean:.2f} x {found.base.vcpus:g} vCPUs, serverless",
            hours * found.base.vcpus,
            prices.unit(provider, "serverless", "vcpu_hour"),
            "on average over the day, by autoscaling",
            drivers,
        ),
        CostLine(
            "serving",
            f"{memory:g} GB each",
            hours * memory,
            prices.unit(provider, "serverless", "memory_gb_hour"),
            "the least that goes with so many vCPUs",
            drivers,
        ),
    )
    to_zero = scale_to_zero(demand, seconds)
    notes = (to_zero.text,) if to_zero else ()
    yield Draft(found, "serverless", "on_demand", servers, servers, fewest, most, fleet.mean, lines, (), notes)


def _refused(found: Fit, reason: Reason) -> Draft:
    price = found.instance.on_demand
    line = CostLine("serving", f"1 x {found.instance.type}, on demand", HOURS_PER_MONTH, price, "all the time")
    return Draft(found, "vm", "on_demand", 1, 1, 1, 1, 1.0, (line,), (reason,))
