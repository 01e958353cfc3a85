"""What is asked of the system: requests, latency, data, cadence, places, budget.

What is not given is None here. The planner assumes a value then and says so; see ``demand.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError
from loopwright.core.sizes import parse_size
from loopwright.planning.cadence import CADENCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.planning.cadence import Cadence
    from loopwright.planning.jobs import BatchJob, Data, StreamJob

_SECONDS_PER_DAY = 86_400
_MOST_NODES = 1_000
CLOUDS = ("aws", "gcp", "azure")


@dataclass(frozen=True)
class Fixed:
    """What the person has decided already; empty where the planner is free."""

    provider: str = ""
    region: str = ""
    instance_type: str = ""
    purchase: str = ""
    packaging: str = ""
    service: str = ""
    nodes: int | None = None


@dataclass(frozen=True)
class Workload:
    """The declared demand on a project.

    Attributes:
        requests_per_day: Requests on an average day; 0 for a project that only scores batches or streams.
        peak_rps: Requests per second in the busiest stretch.
        latency_p99: What the percentile of answers may take.
        retrain: How often the model is expected to be trained anew.
        payload_bytes: Size of one request's payload.
        retention: How long raw data are kept; None for ever.
        name: Of the project.
        percentile: Which percentile of the answers the limit is about.
        floor_rps: Requests per second in the quietest moment.
        hourly_rps: The measured mean rate of each of the 24 hours; empty for a curve through floor, mean and peak.
        growth_per_year: 0.2 for a fifth more each year.
        burst_factor: How far a second of the peak lies above the peak's mean.
        step_rps: The largest sudden rise to be carried without a slow answer.
        network_s: What the way to the service and back takes.
        payload_spread: The standard deviation of the logarithm of the payload's size.
        response_bytes: Size of one answer.
        data: What arrives and is kept, by kind.
        availability: The share of time in which it must answer.
        min_nodes: The fewest machines that answer.
        spare_nodes: How many machines may fail without a slow answer.
        clouds: Where it may run.
        regions: Which regions; empty for the first of each cloud.
        budget: Dollars a month by stage, or ``total``.
        fixed: What is decided already.
        batches: Jobs that score many rows at once.
        streams: Streams that are scored.
        ratios: How much longer a service takes on other hardware, with the standard deviation of the ratio's logarithm,
            by architecture (``x86``, ``arm``), accelerator or machine type.
        longest_commitment_years: For how long machines may be committed to: 0, 1 or 3; None for 0.
        log_bytes: Written to the logs for one request.
        mb_per_s_per_core: What one core gets through when raw data become features.
        given: The names of the fields that the person gave.
    """

    requests_per_day: float
    peak_rps: float
    latency_p99: timedelta
    retrain: Cadence
    payload_bytes: int | None
    retention: timedelta | None
    name: str = "project"
    percentile: float = 0.99
    floor_rps: float | None = None
    hourly_rps: tuple[float, ...] = ()
    growth_per_year: float | None = None
    burst_factor: float | None = None
    step_rps: float | None = None
    network_s: float | None = None
    payload_spread: float | None = None
    response_bytes: float | None = None
    data: tuple[Data, ...] = ()
    availability: float | None = None
    min_nodes: int | None = None
    spare_nodes: int | None = None
    clouds: tuple[str, ...] = CLOUDS
    regions: tuple[str, ...] = ()
    budget: Mapping[str, float] = field(default_factory=dict)
    fixed: Fixed = field(default_factory=Fixed)
    batches: tuple[BatchJob, ...] = ()
    streams: tuple[StreamJob, ...] = ()
    ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    longest_commitment_years: float | None = None
    log_bytes: float | None = None
    mb_per_s_per_core: float | None = None
    given: frozenset[str] = frozenset()

    @property
    def mean_rps(self) -> float:
        """Requests per second, averaged over a day."""
        return self.requests_per_day / _SECONDS_PER_DAY


def workload(
    *,
    requests_per_day: float = 0.0,
    peak_rps: float | None = None,
    latency_p99: str | float | timedelta | None = None,
    retrain: Cadence = "monthly",
    payload: str | int | None = None,
    retention: str | timedelta | None = None,
    **more: object,
) -> Workload:
    """Declare what a project must carry.

    Args:
        requests_per_day: Requests on an average day, more than 0; left out where only batches or streams are scored.
        peak_rps: Requests per second at peak; three times the daily mean where it is not given.
        latency_p99: Bound on the percentile of the answer time, such as ``"200ms"``, which is assumed.
        retrain: The expected cadence of training.
        payload: Size of a request's payload in bytes, or as ``"100KB"``.
        retention: How long raw data are kept, such as ``"90d"``.
        more: Any other field of :class:`Workload`, in its own unit.

    Raises:
        DeclarationError: If a number is not positive, or the peak lies below the daily mean.

    >>> workload(requests_per_day=1_000_000, peak_rps=50, payload="100KB").payload_bytes
    100000
    """
    is_asked = bool(more.get("batches") or more.get("streams"))
    if not (requests_per_day > 0 or (requests_per_day == 0 and is_asked)):
        raise DeclarationError(
            f"requests_per_day must be more than 0, got {requests_per_day:g}.",
            hint="Give the requests of an average day, a batch job or a stream.",
        )
    mean = requests_per_day / _SECONDS_PER_DAY
    hourly = _hourly(more.get("hourly_rps"))
    peak = (max(hourly) if hourly else 3 * mean) if peak_rps is None else peak_rps
    if peak < mean:
        raise DeclarationError(
            f"peak_rps={peak:g} lies below the mean of {mean:.3g} requests/s that {requests_per_day:g} a day make.",
            hint="Give the busiest second of the day.",
        )
    if retrain not in CADENCES:
        raise DeclarationError(f"retrain={retrain!r} is no cadence.", hint=f"Use one of {', '.join(CADENCES)}.")
    limit = parse_duration("200ms" if latency_p99 is None else latency_p99)
    if limit <= timedelta(0):
        raise DeclarationError("latency_p99 must be more than 0.", hint="Write '200ms'.")
    asked = {
        "peak_rps": peak_rps,
        "latency_p99": latency_p99,
        "payload_bytes": payload,
        "retention": retention,
        "requests_per_day": requests_per_day or None,
    }
    made = Workload(
        requests_per_day=float(requests_per_day),
        peak_rps=float(peak),
        latency_p99=limit,
        retrain=retrain,
        payload_bytes=None if payload is None else parse_size(payload),
        retention=None if retention is None else parse_duration(retention),
        given=frozenset([name for name, value in asked.items() if value is not None] + list(more)),
        **more,  # type: ignore[arg-type]
    )
    _check(made)
    return made


def _hourly(values: object) -> tuple[float, ...]:
    if not values:
        return ()
    hourly = tuple(float(value) for value in values)  # type: ignore[attr-defined]
    if len(hourly) != 24 or min(hourly) < 0:
        raise DeclarationError(
            f"hourly_rps needs 24 rates from 0, got {len(hourly)}.", hint="Give the mean requests/s of each hour."
        )
    return hourly


def _check(asked: Workload) -> None:
    """Refuse what cannot be, one message for the first thing found."""
    mean, floor, limit_s = asked.mean_rps, asked.floor_rps, asked.latency_p99.total_seconds()
    rules: list[tuple[bool, str, str]] = [
        (
            floor is None or 0 <= floor <= mean,
            f"floor_rps={floor} does not lie between 0 and the mean of {mean:.3g} requests/s.",
            "Give the quietest moment of the day.",
        ),
        (0.5 <= asked.percentile < 1, f"percentile={asked.percentile:g} is no tail.", "Write 0.99."),
        (
            asked.burst_factor is None or 1 <= asked.burst_factor <= 100,
            f"burst_factor={asked.burst_factor} must be at least 1.",
            "1.3 puts a busy second 30 % above the peak's mean.",
        ),
        (
            asked.availability is None or 0 < asked.availability < 1,
            f"availability={asked.availability} is no share of time.",
            "Write 0.999.",
        ),
        (
            asked.growth_per_year is None or asked.growth_per_year > -1,
            f"growth_per_year={asked.growth_per_year} leaves nothing.",
            "Write 0.2 for 20 % more a year.",
        ),
        (
            asked.network_s is None or asked.network_s >= 0,
            f"network_s={asked.network_s} must not be negative.",
            "Write '10ms'.",
        ),
        (
            asked.network_s is None or asked.network_s < limit_s,
            f"The network takes {1000 * (asked.network_s or 0):g} of the {1000 * limit_s:g} ms: no service fits.",
            "Raise the limit, or bring the service nearer.",
        ),
        (
            1 <= (1 if asked.min_nodes is None else asked.min_nodes) <= _MOST_NODES
            and 0 <= (asked.spare_nodes or 0) <= _MOST_NODES
            and 1 <= (1 if asked.fixed.nodes is None else asked.fixed.nodes) <= _MOST_NODES,
            f"min_nodes={asked.min_nodes}, spare_nodes={asked.spare_nodes} and nodes={asked.fixed.nodes} cannot be.",
            f"At least one machine, no negative spare, and at most {_MOST_NODES:,}.",
        ),
        (
            all(usd >= 0 for usd in asked.budget.values()),
            "A budget line is negative.",
            "Give dollars a month, from 0.",
        ),
        (bool(asked.clouds), "There is no cloud to plan for.", f"Name some of {', '.join(CLOUDS)}."),
    ]
    for job in asked.batches:
        ok = job.rows > 0 and job.window_s > 0 and job.cadence in CADENCES
        rules.append((ok, f"The batch job '{job.name}' needs rows, a window and a cadence.", "Give all above 0."))
    for stream in asked.streams:
        ok = stream.events_per_s > 0 and stream.limit_s > 0
        rules.append((ok, f"The stream '{stream.name}' needs events and a limit above 0.", "Correct it."))
        ok = stream.peak_per_s is None or stream.peak_per_s >= stream.events_per_s
        rules.append((ok, f"The stream '{stream.name}' has a peak below its mean.", "Correct peak_per_s."))
    for data in asked.data:
        ok = data.bytes_per_day >= 0 and data.stored_bytes >= 0 and (data.retention_days or 0) >= 0
        ok = ok and (data.object_bytes is None or data.object_bytes > 0)
        rules.append((ok, f"The sizes of the {data.kind} data must not be negative.", "Correct them."))
    for holds, text, hint in rules:
        if not holds:
            raise DeclarationError(text, hint=hint)
