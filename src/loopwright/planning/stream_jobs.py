"""Scoring a stream: workers that must keep up with the events and the limit, the brokers before them, and their copies.

The broker keeps three copies of each event, one in each zone, so that two of three cross a zone's border: a line that
is easily forgotten. Workers always run; the traffic of a stream is taken at its peak.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.planning.cost import GB, HOURS_PER_MONTH, SECONDS_PER_MONTH, CostLine
from loopwright.planning.day_cost import Level
from loopwright.planning.fitting import fit
from loopwright.planning.machine_hours import machine_line, smallest_machine
from loopwright.planning.option import Option, Reason
from loopwright.planning.purchase import PURCHASES, SAID, disk_line, machine_lines, spot_fleet
from loopwright.planning.sizing import Sizing
from loopwright.planning.sureness import Sureness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loopwright.planning.demand import Demand
    from loopwright.planning.fitting import Fit
    from loopwright.planning.jobs import StreamJob
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.service import ServiceModel
    from loopwright.planning.uncertainty import Uncertainty

BROKER_S = 0.010
COPIES = 3


def stream_sizing(job: StreamJob, percentile: float, seed: int) -> Sizing:
    """Return what remembers the sizes for one stream's limit, of which the broker takes 10 ms."""
    return Sizing(job.limit_s, min(BROKER_S, 0.5 * job.limit_s), percentile, seed)


def peak_of(job: StreamJob, demand: Demand) -> float:
    """Return the events per second that the workers are sized for."""
    return job.peak_per_s if job.peak_per_s is not None else job.events_per_s * demand.burst_factor


def stream_options(
    job: StreamJob,
    services: Sequence[ServiceModel],
    instances: Sequence[Instance],
    ratios: Mapping[str, tuple[float, float]],
    demand: Demand,
    sizing: Sizing,
    unsure: Uncertainty,
    prices: PriceTable,
    provider: str,
) -> tuple[Option, ...]:
    """Return every way to score the stream, those that work first, then by cost."""
    chosen = [one for one in services if not job.service or one.name == job.service]
    shared = broker_lines(job, instances, prices, provider)
    sure = Sureness(peak_of(job, demand), "events", sizing, unsure)
    found = [
        option
        for instance in instances
        for service in chosen
        if (placed := fit(service, instance, ratios)) is not None
        for option in _options(job, placed, demand, sizing, sure, prices, shared)
    ]
    return tuple(sorted(found, key=lambda one: (not one.is_feasible, one.usd_per_month, one.name)))


def broker_lines(
    job: StreamJob, instances: Sequence[Instance], prices: PriceTable, provider: str
) -> tuple[CostLine, ...]:
    """Return what three brokers cost: machines, disks for the events they keep, copies between zones."""
    machine = smallest_machine(instances, vcpus=2, memory_gib=8)
    drivers = (("events", 1.0),)
    kept = job.events_per_s * job.event_bytes * job.retention_s * COPIES / GB
    moved = job.events_per_s * SECONDS_PER_MONTH * job.event_bytes * (COPIES - 1) / GB
    disk = prices.unit_or_nearest(provider, "block_storage", "node_gb_month")
    lines = [
        machine_line("streaming", machine, "on_demand", count=COPIES, note="brokers, one in each zone"),
        CostLine("streaming", "disks of the brokers", 1.25 * kept, disk, f"{COPIES} copies and a fifth free", drivers),
    ]
    for tier, way in (("cross_zone_out", "sent"), ("cross_zone_in", "received")):
        price = prices.unit_or_nearest(provider, "egress", tier)
        lines.append(CostLine("streaming", f"copies between zones, {way}", moved, price, "", drivers))
    return tuple(line for line in lines if line.quantity > 0)


def _options(
    job: StreamJob,
    found: Fit,
    demand: Demand,
    sizing: Sizing,
    sure: Sureness,
    prices: PriceTable,
    shared: tuple[CostLine, ...],
) -> Iterator[Option]:
    instance, service, rate = found.instance, found.service, peak_of(job, demand)
    servers = None if found.reason else sizing.fewest(found, rate)
    reasons = [found.reason] if found.reason else []
    if servers is None:
        if not reasons:
            text = (
                f"'{service.name}' takes too long on {instance.type} for {job.limit_s * 1000:g} ms, "
                f"{sizing.before_s * 1000:g} ms of which the broker takes"
            )
            reasons.append(Reason("latency_p99", text))
        servers = 1
    working = math.ceil(servers / found.workers)
    fixed = sure.machines(found, found.workers, max(demand.min_nodes, working + demand.spare_nodes))
    use = rate / (fixed * found.full_speed_rps)
    if use > found.baseline:
        reasons.append(Reason("cpu_credits", f"{instance.type} may use {found.baseline:.0%} all the time"))
    disk = prices.unit_or_nearest(instance.provider, "block_storage", "node_gb_month")
    for purchase in PURCHASES:
        if purchase == "spot":
            count, always = max(fixed, spot_fleet(working, demand.min_nodes)), demand.min_nodes
        else:
            count, always = fixed, fixed
        lines = machine_lines("streaming", instance, Level((1.0,) * count, 0, 0, 0), purchase, fixed=always)
        if lines is None:
            continue
        latency = None if reasons else sizing.latency(found, rate, servers)
        carried = float(sizing.capacity(found.base).rate(servers, sizing.room_s, found.scale)) if not reasons else 0.0
        yield Option(
            "streaming", f"{job.name}: {count} x {instance.type} ({service.name}), {SAID[purchase]}",
            instance.provider, instance.region, instance.type, purchase, "vm_group", count,
            {
                "stream": job.name,
                "service": service.name,
                "events_per_s": job.events_per_s,
                "sized_per_s": rate,
                "workers_per_node": float(found.workers),
                "servers_needed": float(servers),
                "max_nodes": float(count),
                "capacity_rps": carried,
                "service_scale": found.scale,
                "share_of_draws_kept": float(sure.keeps(found, count * found.workers).mean()),
                "brokers": float(COPIES),
                "hours": HOURS_PER_MONTH,
            },
            (*lines, disk_line("streaming", count, disk), *shared),
            latency=latency,
            utilisation=min(1.0, use),
            reasons=tuple(reasons),
            is_extrapolated=service.is_extrapolated,
        )  # fmt: skip
