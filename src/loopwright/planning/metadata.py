"""What the stores beside the lake cost: PostgreSQL, the online store, the image registry, the control plane."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.cost import GB, HOURS_PER_MONTH, CostLine
from loopwright.planning.machine_hours import disk_line, machine_line, smallest_machine, smallest_machine_or_none
from loopwright.planning.option import Option

if TYPE_CHECKING:
    from loopwright.planning.option import Purchase
    from loopwright.planning.prices.table import PriceTable

ONLINE_MEMORY_FACTOR = 1.5
"""Memory of an in-memory store over the bytes it holds: keys, fragmentation, and a copy while it saves."""

_DATABASE_VCPUS = 2
_SYSTEM_GIB = 1.0


@dataclass(frozen=True)
class Facts:
    """What the stores hold.

    Attributes:
        database_gb: Of the relational store.
        database_vcpus: It needs, rounded up to pairs.
        backup_gb: Beyond the size of the database.
        is_highly_available: Whether each store has a second one in another zone.
        online_gb: Of the online store; 0 where it is embedded in the servers.
        image_gb: Of container images in the registry.
        clusters: Of Kubernetes.
        runs_old_kubernetes: Whether their version is past its standard support.
    """

    database_gb: float = 20.0
    database_vcpus: float = 2.0
    backup_gb: float = 0.0
    is_highly_available: bool = False
    online_gb: float = 0.0
    image_gb: float = 5.0
    clusters: int = 0
    runs_old_kubernetes: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise DeclarationError(f"{name} of the metadata must be 0 or more, and finite; got {value}.")


def metadata_stage(
    facts: Facts, prices: PriceTable, provider: str, region: str, *, purchase: Purchase = "on_demand"
) -> tuple[Option, ...]:
    """Return a managed PostgreSQL and one on machines of one's own, the cheaper first.

    The online store runs on machines of one's own in both: no price of a managed one is on record. Where no machine
    with a price is large enough for the database, the managed one stands alone.

    Raises:
        UnknownNameError: If the provider or the region has no prices.
        DeclarationError: If no machine is large enough for the online store.
    """
    copies = 2 if facts.is_highly_available else 1
    machines = prices.instances([provider], [region])
    shared = [*registry_lines(facts, prices, provider), *control_plane_lines(facts, prices, provider)]
    if facts.online_gb > 0:
        memory = facts.online_gb * GB / 2**30 * ONLINE_MEMORY_FACTOR + _SYSTEM_GIB
        machine = smallest_machine(machines, vcpus=2, memory_gib=memory)
        note = f"online store: {facts.online_gb:g} GB need {memory:.1f} GiB"
        shared.append(machine_line("metadata", machine, purchase, count=copies, note=note))
        shared.append(disk_line("metadata", prices, provider, copies * 2 * facts.online_gb, item="disk, online store"))
    managed = Option(
        stage="metadata",
        name="managed PostgreSQL",
        provider=provider,
        region=region,
        instance_type="",
        purchase="on_demand",
        packaging="serverless",
        count=copies,
        settings={"database": "managed", "is_highly_available": facts.is_highly_available},
        lines=(*database_lines(facts, prices, provider), *shared),
    )
    own_machine = smallest_machine_or_none(machines, vcpus=facts.database_vcpus, memory_gib=2 * facts.database_vcpus)
    if own_machine is None:
        text = f"no machine with a price is large enough in {region} for a PostgreSQL of one's own"
        return (dataclasses.replace(managed, notes=(text,)),)
    own_lines = (
        machine_line("metadata", own_machine, purchase, count=copies, note="PostgreSQL"),
        disk_line("metadata", prices, provider, copies * 2 * facts.database_gb, item="disk, PostgreSQL and its log"),
    )
    own = Option(
        stage="metadata",
        name=f"PostgreSQL on {copies} x {own_machine.type}",
        provider=provider,
        region=region,
        instance_type=own_machine.type,
        purchase=purchase,
        packaging="vm",
        count=copies,
        settings={"database": "own", "is_highly_available": facts.is_highly_available},
        lines=(*own_lines, *shared),
        notes=("backups, updates and taking over after a failure are one's own work",),
    )
    return tuple(sorted((managed, own), key=lambda one: one.usd_per_month))


def database_lines(facts: Facts, prices: PriceTable, provider: str) -> tuple[CostLine, ...]:
    """Return what a managed PostgreSQL costs; a second one in another zone doubles machine and storage."""
    copies = 2 if facts.is_highly_available else 1
    pairs = max(1, math.ceil(facts.database_vcpus / _DATABASE_VCPUS))
    hour = prices.unit(provider, "postgres", "two_vcpus_hour")
    store = prices.unit(provider, "postgres", "storage_gb_month")
    note = f"{2 * pairs} vCPUs" + (", in two zones" if copies > 1 else "")
    lines = [
        CostLine("metadata", "managed PostgreSQL", pairs * copies * HOURS_PER_MONTH, hour, note),
        CostLine("metadata", "storage of PostgreSQL", facts.database_gb * copies, store),
    ]
    backup = prices.unit(provider, "postgres", "backup_gb_month")
    lines.append(CostLine("metadata", "backups of PostgreSQL", facts.backup_gb, backup))
    return tuple(line for line in lines if line.quantity > 0)


def registry_lines(facts: Facts, prices: PriceTable, provider: str) -> tuple[CostLine, ...]:
    """Return what keeping container images costs."""
    lines = []
    beyond = facts.image_gb
    if prices.has(provider, "registry", "month"):
        lines.append(CostLine("metadata", "registry", 1.0, prices.unit(provider, "registry", "month"), "with 10 GB"))
        beyond = max(0.0, beyond - 10.0)
    price = prices.unit_or_nearest(provider, "registry", "gb_month")
    lines.append(CostLine("metadata", "images in the registry", beyond, price))
    return tuple(line for line in lines if line.quantity > 0)


def control_plane_lines(facts: Facts, prices: PriceTable, provider: str) -> tuple[CostLine, ...]:
    """Return what the control planes of Kubernetes cost; old versions cost six times as much at one provider."""
    if not facts.clusters:
        return ()
    tier = "control_plane_hour"
    if facts.runs_old_kubernetes and prices.has(provider, "kubernetes", "control_plane_extended_hour"):
        tier = "control_plane_extended_hour"
    note = "a version past its standard support" if tier != "control_plane_hour" else ""
    hours = facts.clusters * HOURS_PER_MONTH
    return (CostLine("metadata", "control plane", hours, prices.unit(provider, "kubernetes", tier), note),)
