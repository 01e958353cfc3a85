"""What is asked of the system: requests, latency, data, cadence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError
from loopwright.core.sizes import parse_size

if TYPE_CHECKING:
    from datetime import timedelta

Cadence = Literal["hourly", "daily", "weekly", "monthly", "quarterly", "never"]
_CADENCES: tuple[Cadence, ...] = ("hourly", "daily", "weekly", "monthly", "quarterly", "never")
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Workload:
    """The declared demand on a project.

    Attributes:
        requests_per_day: Requests on an average day.
        peak_rps: Requests per second in the busiest stretch.
        latency_p99: What the 99th percentile of answers may take.
        retrain: How often the model is expected to be trained anew.
        payload_bytes: Size of one request's payload.
        retention: How long raw data are kept; None for ever.
    """

    requests_per_day: float
    peak_rps: float
    latency_p99: timedelta
    retrain: Cadence
    payload_bytes: int | None
    retention: timedelta | None

    @property
    def mean_rps(self) -> float:
        """Requests per second, averaged over a day."""
        return self.requests_per_day / _SECONDS_PER_DAY


def workload(
    *,
    requests_per_day: float,
    peak_rps: float | None = None,
    latency_p99: str | float | timedelta = "200ms",
    retrain: Cadence = "monthly",
    payload: str | int | None = None,
    retention: str | timedelta | None = None,
) -> Workload:
    """Declare what a project must carry.

    Args:
        requests_per_day: Requests on an average day, more than 0.
        peak_rps: Requests per second at peak; three times the daily mean where it is not given.
        latency_p99: Bound on the 99th percentile of the answer time, such as ``"200ms"``.
        retrain: The expected cadence of training.
        payload: Size of a request's payload in bytes, or as ``"100KB"``.
        retention: How long raw data are kept, such as ``"90d"``.

    Raises:
        DeclarationError: If a number is not positive, or the peak lies below the daily mean.

    >>> workload(requests_per_day=1_000_000, peak_rps=50, payload="100KB").payload_bytes
    100000
    """
    if requests_per_day <= 0:
        raise DeclarationError(f"requests_per_day must be more than 0, got {requests_per_day}.")
    mean = requests_per_day / _SECONDS_PER_DAY
    peak = 3 * mean if peak_rps is None else peak_rps
    if peak < mean:
        raise DeclarationError(
            f"peak_rps={peak:g} lies below the mean of {mean:.3g} requests/s that {requests_per_day:g} a day make.",
            hint="Give the busiest second of the day.",
        )
    if retrain not in _CADENCES:
        raise DeclarationError(f"retrain={retrain!r} is no cadence.", hint=f"Use one of {', '.join(_CADENCES)}.")
    return Workload(
        requests_per_day=float(requests_per_day),
        peak_rps=float(peak),
        latency_p99=parse_duration(latency_p99),
        retrain=retrain,
        payload_bytes=None if payload is None else parse_size(payload),
        retention=None if retention is None else parse_duration(retention),
    )
