"""What a plan says about the things that are to be made: fleet, jobs, streams, stores, rules for storage.

A plan is about money and time; an export needs counts, sizes, schedules and names. All of them are read from the plan
here, once, so that every file that is made has the same ones.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.planning.cadence import PER_MONTH
from loopwright.planning.export.fleet import Fleet, fleet_of
from loopwright.planning.export.quantity import slug
from loopwright.planning.export.schedule import schedule_of
from loopwright.planning.fitting import GIB, MEMORY_SHARE
from loopwright.planning.purchase import SAID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loopwright.planning.option import Option, Packaging, Purchase
    from loopwright.planning.plan import Plan
    from loopwright.planning.prices.table import PriceTable

Database = Literal["embedded", "own", "managed"]
_MACHINES = re.compile(r"(?P<job>.+): (?P<count>\d+) x (?P<type>\S+) \(.+\), (?P<said>[^,()]+)")
_CPU_SHARE = 0.9  # of a machine, as for replicas; the rest is the system's
_UNKNOWN_VCPUS, _UNKNOWN_MEMORY = 2.0, 4.0 * GIB


@dataclass(frozen=True)
class Machine:
    """A type of machine, and what of it a container may take.

    Attributes:
        type: As the provider calls it; empty for a machine of one's own.
        purchase: How it is bought.
        vcpus: For containers.
        memory_bytes: For containers.
        accelerator: Its model; empty where there is none.
        accelerators: How many; a share of one counts as one.
        architecture: Of its processor: ``x86`` or ``arm``.
    """

    type: str
    purchase: Purchase
    vcpus: float
    memory_bytes: float
    accelerator: str = ""
    accelerators: int = 0
    architecture: str = "x86"


@dataclass(frozen=True)
class Job:
    """Work that is done again and again and ends.

    Attributes:
        name: Of the job.
        kind: A training, or rows that are scored.
        runs_per_month: As planned.
        schedule: The cron expression that comes nearest, in UTC.
        hours: Of one run, as planned, lost machines included.
        limit_s: After which it is ended.
        machine: What it runs on.
        machines: How many the plan has for it at once.
    """

    name: str
    kind: Literal["training", "batch"]
    runs_per_month: float
    schedule: str
    hours: float
    limit_s: float
    machine: Machine
    machines: int = 1


@dataclass(frozen=True)
class Stream:
    """Events that are answered as they come.

    Attributes:
        name: Of the stream.
        machine: What its process runs on.
        machines: How many the plan has.
        sized_per_s: The events per second that it is planned for.
    """

    name: str
    machine: Machine
    machines: int
    sized_per_s: float


@dataclass(frozen=True)
class StorageRule:
    """What becomes of one kind of stored data, as planned.

    Attributes:
        kind: ``raw``, ``lake``, ``features``, ``models`` or ``logs``.
        storage_class: Into which it moves, as the provider's rules call it; empty where it stays.
        after_days: When it moves.
        expire_days: When it is let go; None where that is not by age.
        least_bytes: Smaller objects do not move; 0 where all do.
    """

    kind: str
    storage_class: str = ""
    after_days: float = 0.0
    expire_days: float | None = None
    least_bytes: float = 0.0


@dataclass(frozen=True)
class Blueprint:
    """Everything the exports are made of.

    Attributes:
        name: Of the project, as names of resources allow it.
        provider: The cloud.
        region: In it.
        fleet: What answers requests; None where nobody asks.
        jobs: What runs by schedule.
        streams: What is answered as it comes.
        control: What ingests, watches and decides runs on: the machine that the plan has for processing data.
        database: Where facts are kept.
        database_gb: How much of them.
        database_machine: What PostgreSQL runs on, where it is one's own.
        has_online_store: Whether the plan has an online store of its own.
        storage: What becomes of stored data.
        availability: The share of time in which requests must be answered.
        log_days: How long logs are kept.
        usd_per_month: What the plan costs.
        notes: What a reader must know: where the files differ from the plan, and why.
    """

    name: str
    provider: str
    region: str
    fleet: Fleet | None
    jobs: tuple[Job, ...]
    streams: tuple[Stream, ...]
    control: Machine
    database: Database
    database_gb: float
    database_machine: Machine
    has_online_store: bool
    storage: tuple[StorageRule, ...]
    availability: float
    log_days: float
    usd_per_month: float
    notes: tuple[str, ...]


def blueprint_of(plan: Plan, prices: PriceTable, *, packaging: Packaging) -> Blueprint:
    """Return what a plan has made.

    Args:
        plan: The plan.
        prices: Where the sizes of its machines are looked up.
        packaging: What the files are for. Where the plan chose another one, its cheapest working alternative of this
            one in the same place is taken, or else the chosen machines are.

    Raises:
        DeclarationError: If the plan chose nothing that could be made.
    """
    if not {"serving", "batch", "streaming", "training"} & set(plan.stages):
        raise DeclarationError("The plan serves, scores and trains nothing.", hint="Make one with `loopwright plan`.")
    provider, region = plan.place
    notes: list[str] = []
    chosen, note = _serving(plan, packaging)
    fleet = None if chosen is None else fleet_of(plan, chosen, prices)
    if note:
        notes.append(note)
    known = {one.name: one.value for one in plan.assumptions}
    metadata = plan.stages["metadata"].chosen if "metadata" in plan.stages else None
    streams = tuple(_streams(plan, prices, notes))
    watched = plan.stages["monitoring"].chosen.settings if "monitoring" in plan.stages else {}
    lines = () if metadata is None else metadata.lines
    return Blueprint(
        name=slug(plan.name),
        provider=provider,
        region=region,
        fleet=fleet,
        jobs=(*_training(plan, prices), *_batches(plan, prices, notes)),
        streams=streams,
        control=_control(plan, prices),
        database=cast("Database", "embedded" if metadata is None else metadata.settings["database"]),
        database_gb=float(known.get("database_gb", 20.0)),
        database_machine=_machine(
            prices, provider, region, "" if metadata is None else metadata.instance_type, "on_demand"
        ),
        has_online_store=any("online store" in f"{line.item} {line.note}" for line in lines),
        storage=tuple(_storage(plan)),
        availability=float(known.get("availability", 0.999)),
        log_days=float(watched.get("log_days", 30.0)),
        usd_per_month=plan.usd_per_month,
        notes=tuple(notes),
    )


def _control(plan: Plan, prices: PriceTable) -> Machine:
    found = Machine("", "on_demand", 1.0, 2.0 * GIB)
    if "processing" not in plan.stages:
        return found
    one = plan.stages["processing"].chosen
    machine = _machine(prices, one.provider, one.region, one.instance_type, "on_demand")
    # It runs all the time and needs such a machine for a few hours: it asks for its size, and for no type of machine.
    return replace(found, vcpus=max(1.0, machine.vcpus), memory_bytes=max(found.memory_bytes, machine.memory_bytes))


def _serving(plan: Plan, packaging: Packaging) -> tuple[Option | None, str]:
    """Return the serving to make, and a sentence where it is not the one that the plan chose."""
    stage = plan.stages.get("serving")
    if stage is None:
        return None, ""
    chosen = stage.chosen
    if chosen.packaging == packaging:
        return chosen, ""
    others = [
        one
        for one in stage.alternatives
        if one.packaging == packaging
        and one.is_feasible
        and one.purchase in {"on_demand", "spot"}
        and (one.provider, one.region) == (chosen.provider, chosen.region)
    ]
    if others:
        best = min(others, key=lambda one: (one.usd_per_month, one.name))
        return best, (
            f"The plan chose {chosen.name} (${chosen.usd_per_month:,.2f} a month); these files are its best "
            f"alternative of this kind: {best.name} (${best.usd_per_month:,.2f})."
        )
    return chosen, f"The plan chose {chosen.name}; these files run the same number of workers, sized the same."


def _training(plan: Plan, prices: PriceTable) -> Iterator[Job]:
    stage = plan.stages.get("training")
    if stage is None:
        return
    one = stage.chosen
    runs, hours = float(one.settings["runs_per_month"]), float(one.settings["wall_hours_per_run"])
    if runs <= 0:
        return
    between_s = 730 / runs * 3600
    machine = _machine(prices, one.provider, one.region, one.instance_type, one.purchase)
    count = int(float(one.settings.get("machines", 1)))
    yield Job("train", "training", runs, schedule_of(runs), hours, max(hours * 3600, min(between_s, hours * 7200)),
              machine, count)  # fmt: skip


def _batches(plan: Plan, prices: PriceTable, notes: list[str]) -> Iterator[Job]:
    if "batch" not in plan.stages:
        return
    for asked, one in _asked(plan, "batch", "batches"):
        runs = PER_MONTH[asked["cadence"]]
        line = next(line for line in one.lines if line.item.startswith(f"{asked['name']}: "))
        count, machine = _named(prices, one, str(asked["name"]))
        hours = line.quantity / (count * runs)
        if count > 1:
            notes.append(
                f"The plan scores '{asked['name']}' on {count} machines at once; a scoring runs on one machine, or on "
                "a cluster that LOOPWRIGHT_COMPUTE_URL names: one machine takes about "
                f"{hours * count:.2g} h."
            )
        yield Job(str(asked["name"]), "batch", runs, schedule_of(runs), hours, float(asked["window_s"]), machine, count)


def _streams(plan: Plan, prices: PriceTable, notes: list[str]) -> Iterator[Stream]:
    for asked, one in _asked(plan, "streaming", "streams"):
        count, machine = _named(prices, one, str(asked["name"]))
        if count > 1:
            notes.append(
                f"The plan answers '{asked['name']}' with {count} machines; one process answers all partitions of a "
                "topic, in one pod. Measure what it carries before relying on more."
            )
        is_first = one.settings.get("stream") == asked["name"]
        sized = one.settings["sized_per_s"] if is_first else asked["peak_per_s"] or asked["events_per_s"]
        yield Stream(str(asked["name"]), machine, count, float(cast("float", sized)))


def _asked(plan: Plan, stage: Literal["batch", "streaming"], kind: str) -> Iterator[tuple[Mapping[str, Any], Option]]:
    if stage in plan.stages:
        workload = cast("Mapping[str, list[Mapping[str, Any]]]", plan.inputs["workload"])
        for asked in workload[kind]:
            yield asked, plan.stages[stage].chosen


def _named(prices: PriceTable, option: Option, job: str) -> tuple[int, Machine]:
    """Return the machines of one job among several, which an option names one after the other."""
    for part in option.name.split("; "):
        found = _MACHINES.fullmatch(part)
        if found is not None and found["job"] == job:
            purchase = next(key for key, said in SAID.items() if said == found["said"])
            made = _machine(prices, option.provider, option.region, found["type"], cast("Purchase", purchase))
            return int(found["count"]), made
    raise DeclarationError(f"The plan names no machines for '{job}'.", hint="Make the plan again with this version.")


def _machine(prices: PriceTable, provider: str, region: str, kind: str, purchase: Purchase) -> Machine:
    try:
        one = prices.instance(provider, region, kind)
    except UnknownNameError:
        return Machine(kind, purchase, _UNKNOWN_VCPUS * _CPU_SHARE, _UNKNOWN_MEMORY * MEMORY_SHARE)
    return Machine(
        kind,
        purchase,
        one.vcpus * _CPU_SHARE,
        one.memory_gib * GIB * MEMORY_SHARE,
        one.accelerator,
        math.ceil(one.accelerators),
        one.architecture,
    )


def _storage(plan: Plan) -> Iterator[StorageRule]:
    if "storage" not in plan.stages:
        return
    settings = plan.stages["storage"].chosen.settings
    kept = _kept_days(plan)
    for name in settings:
        kind, _, key = name.rpartition("_")
        if key != "strategy":
            continue
        moves = f"{kind}_after_days" in settings
        yield StorageRule(
            kind=kind,
            storage_class=str(settings[f"{kind}_storage_class"]) if moves else "",
            after_days=float(settings.get(f"{kind}_after_days", 0.0)),
            expire_days=kept.get(kind),
            least_bytes=float(settings.get(f"{kind}_shard_bytes", 0.0)) / 2,
        )


def _kept_days(plan: Plan) -> dict[str, float]:
    """Return how long each kind is kept, where that was given or assumed."""
    workload = cast("Mapping[str, list[dict[str, object]]]", plan.inputs["workload"])
    found = {
        str(one["kind"]).replace("processed", "lake"): float(cast("float", one["retention_days"]))
        for one in workload["data"]
        if one["retention_days"] is not None
    }
    known = {one.name: one.value for one in plan.assumptions}
    for kind, name in (("raw", "raw_retention_days"), ("models", "model_retention_days")):
        if kind not in found and name in known:
            found[kind] = float(known[name])
    return found
