"""The servers of a plan: how many, how large, what each carries, and when another one is due."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from loopwright.core.errors import UnknownNameError
from loopwright.planning.fitting import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.planning.option import Option, Packaging, Purchase
    from loopwright.planning.plan import Plan
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.prices.table import PriceTable

_SHARE = 0.9  # of a machine's processors, as the plan gives them to replicas
LEAST_MEMORY = 400 * 2**20
"""A server with a small model takes about 260 MB; less than this is not asked for."""


@dataclass(frozen=True)
class Fleet:
    """What answers requests. A replica is one worker process.

    Attributes:
        service: The form of the model.
        is_gpu: Whether it runs on an accelerator.
        instance_type: The machine.
        purchase: How it is bought.
        packaging: What the plan runs it in.
        workers_per_node: Workers of one machine.
        min_nodes: The fewest machines.
        max_nodes: The most, spare ones included.
        spare_nodes: How many of these may fail.
        servers_needed: Workers that carry the planned peak within the limit.
        worker_rps: What one of them carries then.
        sized_rps: The planned peak, bursts included.
        vcpus: Of one worker, the system's share left out.
        memory_bytes: Of one worker.
        threads: Of one worker, for numeric libraries.
        target_in_flight: Requests in flight in one worker at which another one is due.
        target_busy: The share of its time that a worker is busy at the planned rate.
        scale_down_s: How long traffic must be low before one goes.
        limit_s: Of an answer, the way included.
        network_s: Of that, the way.
        percentile: The share of answers within the limit.
        load_s: From the start of a process to ready.
        largest_batch: The most rows of a call.
        accelerator: Its model; empty where there is none.
        accelerators: Of one machine; a share of one counts as one.
        architecture: Of the processor: ``x86`` or ``arm``.
        machine_memory_bytes: Of one machine; 0 where that is not known.
    """

    service: str
    is_gpu: bool
    instance_type: str
    purchase: Purchase
    packaging: Packaging
    workers_per_node: int
    min_nodes: int
    max_nodes: int
    spare_nodes: int
    servers_needed: int
    worker_rps: float
    sized_rps: float
    vcpus: float
    memory_bytes: float
    threads: int
    target_in_flight: float
    target_busy: float
    scale_down_s: float
    limit_s: float
    network_s: float
    percentile: float
    load_s: float
    largest_batch: int
    accelerator: str
    accelerators: int
    architecture: str
    machine_memory_bytes: float

    @property
    def min_replicas(self) -> int:
        """The fewest workers."""
        return self.min_nodes * self.workers_per_node

    @property
    def max_replicas(self) -> int:
        """The most workers, spare ones included."""
        return self.max_nodes * self.workers_per_node

    @property
    def is_autoscaled(self) -> bool:
        """Whether their number follows the traffic."""
        return self.min_nodes < self.max_nodes

    @property
    def node_vcpus(self) -> float:
        """Of one machine, for its workers."""
        return self.vcpus * self.workers_per_node

    @property
    def node_memory_bytes(self) -> float:
        """Of one machine, for its workers."""
        return self.memory_bytes * self.workers_per_node

    @property
    def node_rps(self) -> float:
        """What one machine carries within the limit."""
        return self.worker_rps * self.workers_per_node


def fleet_of(plan: Plan, option: Option, prices: PriceTable) -> Fleet:
    """Return the servers of a serving option."""
    settings = option.settings

    def number(name: str) -> float:
        return float(settings[name])

    workers, working = int(number("workers_per_node")), int(number("nodes_needed"))
    known = {one.name: one.value for one in plan.assumptions}
    models = cast("list[Mapping[str, object]]", plan.inputs["services"])
    service = next(one for one in models if one["name"] == settings["service"])
    vcpus = number("vcpus_per_replica")
    machine = _instance(option, prices)
    of_a_core = 2.0 if machine is None else machine.vcpus / machine.cores
    return Fleet(
        service=str(settings["service"]),
        is_gpu=settings["kind"] == "gpu",
        instance_type=option.instance_type,
        purchase=option.purchase,
        packaging=option.packaging,
        workers_per_node=workers,
        min_nodes=max(1, int(number("min_nodes"))),
        max_nodes=int(number("max_nodes")),
        spare_nodes=int(number("spare_nodes")),
        servers_needed=int(number("servers_needed")),
        worker_rps=number("capacity_rps") / max(1, workers * working),
        sized_rps=number("sized_rps"),
        vcpus=vcpus,
        memory_bytes=max(LEAST_MEMORY, number("memory_bytes_per_replica")),
        threads=max(1, math.floor(vcpus / _SHARE / of_a_core + 1e-6)),
        target_in_flight=number("scaling_target"),
        target_busy=number("utilisation_limit"),
        scale_down_s=number("scale_down_s"),
        limit_s=number("limit_s"),
        network_s=float(known.get("network_s", 0.0)),
        percentile=number("percentile"),
        load_s=float(cast("float", service["load_s"])),
        largest_batch=int(number("largest_batch")),
        accelerator=str(settings["accelerator"]),
        accelerators=0 if machine is None else math.ceil(machine.accelerators),
        architecture="x86" if machine is None else machine.architecture,
        machine_memory_bytes=0.0 if machine is None else machine.memory_gib * GIB,
    )


def _instance(option: Option, prices: PriceTable) -> Instance | None:
    try:
        return prices.instance(option.provider, option.region, option.instance_type)
    except UnknownNameError:
        return None
