"""What watching costs: metrics, logs by the traffic, alarms, dashboards; bought from the cloud, or run by oneself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.cost import DAYS_PER_MONTH, GB, SECONDS_PER_MONTH, CostLine
from loopwright.planning.machine_hours import disk_line, machine_line, smallest_machine_or_none
from loopwright.planning.option import Option
from loopwright.planning.tiered import tiered_lines

if TYPE_CHECKING:
    from loopwright.planning.option import Purchase
    from loopwright.planning.prices.table import PriceTable

SAMPLE_BYTES = 2.0
"""Of one stored sample: Prometheus' documentation gives 1 to 2 bytes (Storage, operational aspects)."""

SERIES_BYTES = 8_000.0
"""Of memory for one active series, labels and index included: a rule of thumb on the safe side."""

_CLOUD_SAMPLE_BYTES = 8.0
"""As which one provider counts a sample of a plain number."""
_SERVER_GIB = 2.0
_FREE_DASHBOARDS = 3
_LOGS_WITH_INGEST_DAYS = {"gcp": 30.0, "azure": 31.0}
"""How long logs lie before storing them is billed."""
_LOG_COMPRESSION = 0.2
"""Compressed size of text logs as a share, where the provider bills compressed bytes."""


@dataclass(frozen=True)
class Watched:
    """What is watched.

    Attributes:
        requests: Requests in a month.
        log_bytes: Written for one request.
        other_log_bytes: Written in a month whatever the traffic.
        log_days: How long logs are kept.
        scanned_share: The share of a month's logs that searches read, in multiples of it.
        series: Active series of metrics, over all machines.
        interval_s: Between two samples of a series.
        metric_days: How long samples are kept.
        alarms: Conditions that are looked at.
        dashboards: How many.
    """

    requests: float
    log_bytes: float = 500.0
    other_log_bytes: float = 0.0
    log_days: float = 30.0
    scanned_share: float = 1.0
    series: float = 200.0
    interval_s: float = 60.0
    metric_days: float = 90.0
    alarms: float = 10.0
    dashboards: float = 3.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < float("inf"):
                raise DeclarationError(f"{name} of what is watched must be 0 or more, and finite; got {value}.")
        if self.interval_s <= 0:
            raise DeclarationError(f"Samples are apart: interval_s must be more than 0, got {self.interval_s}.")

    @property
    def log_gb(self) -> float:
        """What is logged in a month."""
        return (self.requests * self.log_bytes + self.other_log_bytes) / GB

    @property
    def samples(self) -> float:
        """How many samples a month has."""
        return self.series * SECONDS_PER_MONTH / self.interval_s


def monitoring_stage(
    watched: Watched, prices: PriceTable, provider: str, region: str, *, purchase: Purchase = "on_demand"
) -> tuple[Option, ...]:
    """Return the cloud's own service and a Prometheus on a machine of one's own, the cheaper first.

    Logs go to the cloud's service in both. Where no machine with a price is large enough, the first stands alone.

    Raises:
        UnknownNameError: If the provider or the region has no prices.
    """
    logs = log_lines(watched, prices, provider)
    cloud = Option(
        stage="monitoring",
        name="the cloud's metrics, alarms and dashboards",
        provider=provider,
        region=region,
        instance_type="",
        purchase="on_demand",
        packaging="serverless",
        count=0,
        settings={"metrics": "cloud", "log_days": watched.log_days},
        lines=(*logs, *metric_lines(watched, prices, provider)),
    )
    needed_gib = _SERVER_GIB + watched.series * SERIES_BYTES / 2**30
    machines = prices.instances([provider], [region])
    machine = smallest_machine_or_none(machines, vcpus=2, memory_gib=needed_gib, may_burst=True)
    if machine is None:
        text = f"no machine with a price has {needed_gib:,.0f} GiB in {region} for a Prometheus of one's own"
        return (dataclasses.replace(cloud, notes=(text,)),)
    stored = watched.samples / DAYS_PER_MONTH * watched.metric_days * SAMPLE_BYTES / GB
    note = f"{watched.series:,.0f} series need {needed_gib:.1f} GiB"
    own = Option(
        stage="monitoring",
        name=f"Prometheus, Alertmanager and Grafana on one {machine.type}",
        provider=provider,
        region=region,
        instance_type=machine.type,
        purchase=purchase,
        packaging="vm",
        count=1,
        settings={"metrics": "prometheus", "log_days": watched.log_days, "metric_days": watched.metric_days},
        lines=(
            *logs,
            machine_line("monitoring", machine, purchase, note=note),
            disk_line("monitoring", prices, provider, max(20.0, 1.2 * stored), item="disk for metrics"),
        ),
        notes=("one machine: while it is down nobody is alerted, and somebody keeps it up to date",),
    )
    return tuple(sorted((cloud, own), key=lambda one: one.usd_per_month))


def log_lines(watched: Watched, prices: PriceTable, provider: str) -> tuple[CostLine, ...]:
    """Return what logs cost: taking them in, keeping them, searching them."""
    gigabytes, drivers = watched.log_gb, (("requests", 1.0),)
    note = f"{watched.requests:,.0f} requests at {watched.log_bytes:g} bytes"
    lines = [
        CostLine("monitoring", "logs taken in", gigabytes, prices.unit(provider, "logging", "ingest_gb"), note, drivers)
    ]
    included = _LOGS_WITH_INGEST_DAYS.get(provider, 0.0)
    kept = gigabytes * max(0.0, watched.log_days - included) / DAYS_PER_MONTH
    store = prices.unit(provider, "logging", "store_gb_month")
    note = f"beyond {included:g} days" if included else "compressed to a fifth"
    kept *= 1.0 if included else _LOG_COMPRESSION
    lines.append(CostLine("monitoring", "logs kept", kept, store, note, drivers))
    if prices.has(provider, "logging", "scan_gb"):
        scan = prices.unit(provider, "logging", "scan_gb")
        scanned = gigabytes * watched.scanned_share
        lines.append(CostLine("monitoring", "logs searched", scanned, scan, "", drivers))
    return tuple(line for line in lines if line.quantity > 0)


def metric_lines(watched: Watched, prices: PriceTable, provider: str) -> tuple[CostLine, ...]:
    """Return what the cloud's own metrics, alarms and dashboards cost."""
    if prices.has(provider, "monitoring", "metric_mb"):
        megabytes = watched.samples * _CLOUD_SAMPLE_BYTES / 1e6
        tiers = prices.tiers(provider, "monitoring", "metric_mb")
        note = f"{watched.series:,.0f} series every {watched.interval_s:g} s, 8 bytes a sample"
        lines = list(tiered_lines("monitoring", "metrics", megabytes, tiers, note=note))
    else:
        price = prices.unit_or_nearest(provider, "monitoring", "metric_month")
        lines = [CostLine("monitoring", "metrics", watched.series, price, f"{watched.series:,.0f} series")]
    alarm = prices.unit_or_nearest(provider, "monitoring", "alarm_month")
    lines.append(CostLine("monitoring", "alarms", watched.alarms, alarm))
    board = prices.unit_or_nearest(provider, "monitoring", "dashboard_month")
    beyond = max(0.0, watched.dashboards - _FREE_DASHBOARDS)
    lines.append(CostLine("monitoring", "dashboards", beyond, board, f"beyond the first {_FREE_DASHBOARDS}"))
    return tuple(line for line in lines if line.quantity > 0)
