"""The stages around serving, with what the workload leaves open: data, processing, network, watching, stores."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from loopwright.planning.cost import DAYS_PER_MONTH, GB, CostLine
from loopwright.planning.metadata import Facts, metadata_stage
from loopwright.planning.monitoring import Watched, monitoring_stage
from loopwright.planning.network import Traffic, network_stage
from loopwright.planning.option import Option, Reason
from loopwright.planning.processing import Batches, processing_stage
from loopwright.planning.stored_data import StoredData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.planning.assumption import Ledger
    from loopwright.planning.demand import Demand
    from loopwright.planning.jobs import Data
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.stored_data import Kind
    from loopwright.planning.workload import Workload

_KINDS: dict[str, Kind] = {
    "raw": "raw",
    "processed": "lake",
    "features": "features",
    "models": "models",
    "logs": "logs",
}
_OBJECT_BYTES = 16e6
_IMAGE_BYTES = 1.5e9
_SMALL_DATABASE_GB = 20.0


def data_of(asked: Workload, demand: Demand, models_bytes: float, runs: float, ledger: Ledger) -> list[StoredData]:
    """Return what is stored: what the workload names, and the payloads and models where it does not."""
    named = {one.kind for one in asked.data}
    found = [_stored(one, demand, ledger) for one in asked.data]
    if "raw" not in named and demand.is_online:
        kept = asked.retention
        days = ledger.number(
            "raw_retention_days", None if kept is None else kept.total_seconds() / 86_400, 90.0, "days", "a quarter"
        )
        if days > 0:
            found.append(StoredData("raw", asked.requests_per_day, demand.payload_bytes, days))
    if "models" not in named and models_bytes > 0 and runs > 0:
        kept_days = ledger.number("model_retention_days", None, 365.0, "days", "a year of versions")
        found.append(StoredData("models", runs / DAYS_PER_MONTH, models_bytes, kept_days, hot_days=60))
    return [one for one in found if one.objects_per_day > 0]


def _stored(data: Data, demand: Demand, ledger: Ledger) -> StoredData:
    own = demand.payload_bytes if data.kind == "raw" and demand.is_online and not data.stored_bytes else _OBJECT_BYTES
    why = "one object a payload" if own != _OBJECT_BYTES else "files of a table"
    size = ledger.number(f"object_bytes.{data.kind}", data.object_bytes, own, "bytes", why)
    kept = math.inf if data.retention_days is None else max(data.retention_days, 1 / 24)
    kind = _KINDS[data.kind]
    if data.bytes_per_day > 0:
        return StoredData(kind, data.bytes_per_day / size, size, kept, hot_reads=data.reads_per_month)
    stock = StoredData.of_stock(kind, data.stored_bytes, size)
    return replace(stock, hot_reads=data.reads_per_month)


def processing_of(
    asked: Workload, stored: Sequence[StoredData], instances: Sequence[Instance], ledger: Ledger
) -> tuple[Option, ...]:
    """Return how a day's raw data become features; nothing where none come."""
    raw = sum(one.objects_per_day * one.object_bytes for one in stored if one.kind == "raw")
    raw = raw if any(one.kind == "raw" for one in stored) else 0.0
    stock = any(data.kind == "raw" and data.bytes_per_day == 0 for data in asked.data)
    if raw <= 0 or stock:
        return ()
    speed = ledger.number(
        "mb_per_s_per_core", asked.mb_per_s_per_core, 20.0, "MB/s", "decoding and joining on one core", spread=0.35
    )
    is_known = "arm" in asked.ratios  # the speed of a core is that of x86
    known = [one for one in instances if is_known or one.architecture == "x86"]
    batches = Batches(run_bytes=raw, runs=DAYS_PER_MONTH, mb_per_s_per_core=speed, deadline_h=4.0)
    return processing_stage(batches, known)


def traffic_of(demand: Demand, stored: Sequence[StoredData], nodes: float, ledger: Ledger) -> Traffic:
    """Return what moves in a month."""
    written = sum(one.objects_per_day * one.object_bytes for one in stored) * DAYS_PER_MONTH
    share = ledger.number("internet_share", None, 1.0, "", "every answer leaves the cloud") if demand.is_online else 1.0
    zones = 2 if demand.min_nodes > 1 else 1
    return Traffic(
        requests=demand.requests_per_month,
        request_bytes=demand.payload_bytes,
        answer_bytes=demand.response_bytes,
        internet_share=share,
        internal_bytes=ledger.number("internal_bytes", None, 1_000.0, "bytes", "lookups and facts of one request")
        if demand.is_online
        else 0.0,
        stored_bytes=written,
        image_bytes=_IMAGE_BYTES,
        image_pulls=max(4.0, 30.0 * nodes if demand.is_online else 30.0),
        machines=max(1.0, nodes),
        zones=zones,
        requests_per_connection=ledger.number("requests_per_connection", None, 10.0, "", "clients keep connections")
        if demand.is_online
        else 1.0,
    )


def network_of(
    traffic: Traffic, prices: PriceTable, provider: str, region: str, *, has_balancer: bool
) -> tuple[Option, ...]:
    """Return the ways out; a single machine with an address of its own needs neither gateway nor balancer."""
    options = network_stage(traffic, prices, provider, region=region, has_balancer=has_balancer)
    if has_balancer:
        return options
    shared = [line for line in options[0].lines if not line.item.startswith(("gateway", "through the", "endpoint"))]
    address = CostLine(
        "network", "public address", 730.0, prices.unit_or_nearest(provider, "network", "public_ip_hour")
    )
    own = replace(
        options[0],
        name="one public address",
        settings={"way_out": "address", "zones": 1.0},
        lines=(*shared, address),
        reasons=(),
    )
    return tuple(sorted((own, *options), key=lambda one: (not one.is_feasible, one.usd_per_month)))


def monitoring_of(
    asked: Workload, demand: Demand, replicas: float, prices: PriceTable, provider: str, region: str, ledger: Ledger
) -> tuple[Option, ...]:
    """Return how it is watched."""
    log = ledger.number("log_bytes", asked.log_bytes, 500.0, "bytes", "one line a request")
    series = ledger.number("series_per_replica", None, 60.0, "", "latency, errors, drift of 20 features")
    watched = Watched(
        requests=demand.requests_per_month,
        log_bytes=log,
        other_log_bytes=ledger.number("other_logs_gb", None, 1.0, "GB", "system and jobs") * GB,
        series=100.0 + series * max(1.0, replicas),
    )
    return monitoring_stage(watched, prices, provider, region)


def metadata_of(
    demand: Demand, prices: PriceTable, provider: str, region: str, *, machines: int, ledger: Ledger
) -> tuple[Option, ...]:
    """Return where runs, versions and lineage are kept; beside the model where one machine does everything."""
    size = ledger.number("database_gb", None, _SMALL_DATABASE_GB, "GB", "runs, versions, lineage of a small team")
    facts = Facts(database_gb=size, is_highly_available=demand.availability >= 0.9995)
    options = metadata_stage(facts, prices, provider, region)
    disk = CostLine(
        "metadata",
        "disk of the embedded store",
        size,
        prices.unit_or_nearest(provider, "block_storage", "node_gb_month"),
    )
    images = [line for line in options[0].lines if line.item.startswith(("registry", "images"))]
    reasons: tuple[Reason, ...] = ()
    if machines > 1:
        text = f"{machines} machines write, and a SQLite file has one writer on one machine"
        reasons = (Reason("availability", text),)
    embedded = Option(
        "metadata", "SQLite beside the model", provider, region, "", "on_demand", "local", 1, {"database": "embedded"},
        (disk, *images), reasons=reasons, notes=("backups are copies of one file",),
    )  # fmt: skip
    return tuple(sorted((embedded, *options), key=lambda one: (not one.is_feasible, one.usd_per_month)))
