"""How the model is served: a draft written out, with its latency at the peak and everything that an export needs.

The numbers of servers come from interpolated capacity first (``capacity.py``) and are confirmed by simulation. All
workers are taken to draw from one queue, which a load balancer that prefers the least busy one comes near to.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.planning.autoscaling import SCALE_DOWN_S
from loopwright.planning.day_cost import Level
from loopwright.planning.draft import WORDS, Draft, reaction_of
from loopwright.planning.option import Option, Reason
from loopwright.planning.purchase import SAID, disk_line, machine_lines
from loopwright.planning.refusal import scale_to_zero

if TYPE_CHECKING:
    from loopwright.planning.demand import Demand
    from loopwright.planning.option import Latency
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.sizing import Sizing

_POD_SHARE = 0.9  # of a machine's processors; the rest is the kubelet's and the system's


def option_of(draft: Draft, demand: Demand, sizing: Sizing, *, servers_at_peak: int | None = None) -> Option:
    """Write a draft out: with its simulated latency at the peak and everything an export needs.

    Args:
        draft: What search compared.
        demand: What must be carried.
        sizing: What is known of the services.
        servers_at_peak: How many answer at the peak; those that are needed, without the spare ones, by default.
    """
    found, service = draft.found, draft.found.service
    at_peak = servers_at_peak or max(1, min(draft.servers, draft.most * found.workers))
    latency: Latency | None = None
    if found.reason is None:
        latency = sizing.latency(found, demand.sized_rps, at_peak)
    all_servers = draft.most * (1 if draft.packaging == "serverless" else found.workers)
    busy = demand.peak_rps / (all_servers * service.capacity_rps)
    bought = "" if draft.packaging == "serverless" else f", {SAID[draft.purchase]}"
    machine = f"{service.vcpus:g} vCPUs" if draft.packaging == "serverless" else found.instance.type
    span = f"{draft.fewest} to {draft.most}" if draft.fewest < draft.most else f"{draft.most}"
    return Option(
        stage="serving",
        name=f"{span} x {machine} ({service.name}){bought}, {WORDS[draft.packaging]}",
        provider=found.instance.provider,
        region=found.instance.region,
        instance_type=found.instance.type,
        purchase=draft.purchase,
        packaging=draft.packaging,
        count=draft.most,
        settings=_settings(draft, demand, sizing),
        lines=draft.lines,
        latency=latency,
        utilisation=min(1.0, busy),
        reasons=draft.reasons,
        notes=(*draft.notes, *_outgrown(draft, demand, sizing)),
        is_extrapolated=service.is_extrapolated,
    )


def _outgrown(draft: Draft, demand: Demand, sizing: Sizing) -> tuple[str, ...]:
    """Say when the traffic has outgrown the upper bound, if it grows as it is said to."""
    if demand.growth_per_year <= 0 or draft.found.reason is not None:
        return ()
    servers = draft.most * (1 if draft.packaging == "serverless" else draft.found.workers)
    carried = float(sizing.capacity(draft.found.base).rate(servers, sizing.room_s, draft.found.scale))
    if carried <= demand.sized_rps:
        return ()
    months = 12 * math.log(carried / demand.sized_rps) / math.log1p(demand.growth_per_year)
    return (f"at {demand.growth_per_year:.0%} more a year its upper bound is reached after {months:.0f} months",)


def _settings(draft: Draft, demand: Demand, sizing: Sizing) -> dict[str, float | str | bool]:
    found, service = draft.found, draft.found.service
    workers = 1 if draft.packaging == "serverless" else found.workers
    servers = max(1, draft.working * workers)
    carried = 0.0
    if found.reason is None:
        carried = float(sizing.capacity(found.base).rate(servers, sizing.room_s, found.scale))
    busy = min(0.95, carried / (servers * service.capacity_rps)) if carried else 0.5
    one = (
        service.mean_s if service.batch is None else service.batch.seconds(max(1, round(service.largest_batch * busy)))
    )
    per_worker = busy if service.batch is None else max(1.0, carried / servers * one)
    cores = found.instance.vcpus / workers
    reaction = reaction_of(draft.packaging, found).seconds
    return {
        "service": service.name,
        "kind": service.kind,
        "accelerator": found.instance.accelerator,
        "workers_per_node": float(workers),
        "servers_needed": float(draft.servers),
        "nodes_needed": float(draft.working),
        "min_nodes": float(draft.fewest),
        "max_nodes": float(draft.most),
        "mean_nodes": draft.mean_nodes,
        "min_replicas": float(draft.fewest * workers),
        "max_replicas": float(draft.most * workers),
        "spare_nodes": float(demand.spare_nodes),
        "is_autoscaled": draft.fewest < draft.most and draft.packaging != "vm",
        "scaling_metric": "requests_in_flight_per_replica",
        "scaling_target": round(max(per_worker, 0.1), 3),
        "scale_down_s": SCALE_DOWN_S,
        "reaction_s": reaction,
        "step_rps": demand.step_rps,
        "largest_batch": float(service.largest_batch),
        "capacity_rps": carried,
        "sized_rps": demand.sized_rps,
        "utilisation_limit": round(busy, 4),
        "vcpus_per_replica": round(min(service.vcpus, cores) * _POD_SHARE, 3),
        "memory_bytes_per_replica": float(service.memory_bytes),
        "service_mean_s": service.mean_s,
        "service_cv2": service.cv2,
        "service_scale": found.scale,
        "limit_s": demand.limit_s,
        "percentile": demand.percentile,
        "may_scale_to_zero": demand.min_nodes <= 1 and scale_to_zero(demand, reaction) is None,
    }


def too_few(draft: Draft, demand: Demand, sizing: Sizing, prices: PriceTable) -> Option | None:
    """Return the same fleet with one server less than it needs, refused with what would happen, if any."""
    found, servers = draft.found, draft.servers - 1
    if found.reason is not None or servers < 1:
        return None
    latency = sizing.latency(found, demand.sized_rps, servers)
    if sizing.keeps(latency):
        return None
    nodes = math.ceil(servers / found.workers)
    lines = machine_lines("serving", found.instance, Level((1.0,) * nodes, 0, 0, 0), "on_demand", fixed=nodes) or ()
    disks = prices.unit_or_nearest(found.instance.provider, "block_storage", "node_gb_month")
    reason = Reason(
        "latency_p99",
        f"{servers} servers of '{found.service.name}' at {demand.sized_rps:g} requests/s "
        f"({servers * found.service.capacity_rps:.3g} if they never rest): p{100 * demand.percentile:g} is "
        f"{_seconds(latency.p99_s)}, {latency.share_above_limit:.1%} of answers take longer than "
        f"{demand.limit_s * 1000:g} ms; {draft.servers} are needed",
    )
    short = Draft(
        found, "vm_group", "on_demand", servers, nodes, nodes, nodes, float(nodes),
        (*lines, disk_line("serving", nodes, disks)), (reason,), ("one server short",),
    )  # fmt: skip
    return option_of(short, demand, sizing, servers_at_peak=servers)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 10 else f"{value:,.0f} s and growing"
