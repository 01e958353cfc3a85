"""The workload with nothing left open: what was given, and for the rest what is assumed, each noted with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.planning.assumption import Assumption
from loopwright.planning.cost import DAYS_PER_MONTH
from loopwright.planning.day_curve import day_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.planning.assumption import Ledger, Tag
    from loopwright.planning.workload import Workload

MINUTES = 1440
VOLUME_SPREAD = 0.15
PEAK_SPREAD = 0.2
PAYLOAD_SPREAD = 0.35
_FLOOR_SHARE = 0.17
_ALWAYS = 0.995


@dataclass(frozen=True)
class Demand:
    """What has to be carried.

    Attributes:
        mean_rps: Over the day.
        peak_rps: In the busiest minute.
        floor_rps: In the quietest minute.
        minutes_rps: The rate in each of the 1,440 minutes of a day.
        burst_factor: How far a second lies above its minute.
        step_rps: The largest sudden rise that no answer may suffer from.
        limit_s: Of the answer, from the client's point of view.
        percentile: Which one keeps the limit.
        network_s: Of the limit, what the way takes.
        requests_per_month: Over 730 hours.
        payload_bytes: Of one request.
        response_bytes: Of one answer.
        min_nodes: The fewest machines that answer.
        spare_nodes: How many of them may fail.
        availability: The share of time in which it must answer.
        growth_per_year: Of the traffic.
    """

    mean_rps: float
    peak_rps: float
    floor_rps: float
    minutes_rps: NDArray[np.float64]
    burst_factor: float
    step_rps: float
    limit_s: float
    percentile: float
    network_s: float
    requests_per_month: float
    payload_bytes: float
    response_bytes: float
    min_nodes: int
    spare_nodes: int
    availability: float
    growth_per_year: float

    @property
    def sized_rps(self) -> float:
        """The rate that the machines are sized for: the peak with its bursts."""
        return self.peak_rps * self.burst_factor

    @property
    def is_online(self) -> bool:
        """Whether anybody asks over the network."""
        return self.mean_rps > 0


def demand_of(asked: Workload, ledger: Ledger) -> Demand:
    """Return the demand, every figure of it noted in the ledger.

    Raises:
        DeclarationError: If floor, mean and peak cannot be those of one day.
    """
    mean = asked.mean_rps
    if mean == 0:
        return _silent(asked, ledger)
    _given(ledger, asked, "requests_per_day", asked.requests_per_day, "requests", "the workload", VOLUME_SPREAD)
    _given(
        ledger,
        asked,
        "peak_rps",
        asked.peak_rps,
        "requests/s",
        "three times the mean of the day, where none is given",
        PEAK_SPREAD,
    )
    _given(
        ledger,
        asked,
        "latency_limit_s",
        asked.latency_p99.total_seconds(),
        "s",
        "a usual limit for interactive use",
        key="latency_p99",
    )
    _given(ledger, asked, "percentile", asked.percentile, "", "tails are what users notice")
    hourly = np.asarray(asked.hourly_rps)
    if len(hourly):
        minutes = _from_hours(hourly, mean, asked.peak_rps)
        floor = float(minutes.min())
        ledger.note(Assumption("day_curve", "24 hourly rates", "", "given", "the workload"))
    else:
        floor = ledger.number(
            "floor_rps", asked.floor_rps, min(_FLOOR_SHARE * mean, mean), "requests/s", "a sixth of the mean at night"
        )
        curve = day_curve(mean, asked.peak_rps, floor)
        minutes = np.array([curve.rate(minute / 60) for minute in range(MINUTES)])
        ledger.note(
            Assumption(
                "day_curve", "a cosine to a power through floor, mean and peak", "", "assumed", "no histogram given"
            )
        )
    burst = ledger.number("burst_factor", asked.burst_factor, 1.3, "", "a busy second within its minute")
    return Demand(
        mean_rps=mean,
        peak_rps=float(max(asked.peak_rps, minutes.max())),
        floor_rps=floor,
        minutes_rps=minutes,
        burst_factor=burst,
        step_rps=ledger.number(
            "step_rps", asked.step_rps, (burst - 1) * asked.peak_rps, "requests/s", "the burst factor at the peak"
        ),
        limit_s=asked.latency_p99.total_seconds(),
        percentile=asked.percentile,
        network_s=ledger.number("network_s", asked.network_s, 0.01, "s", "network and gateway, there and back"),
        requests_per_month=asked.requests_per_day * DAYS_PER_MONTH,
        payload_bytes=ledger.number(
            "payload_bytes",
            asked.payload_bytes,
            2_000.0,
            "bytes",
            "a row of features as JSON",
            spread=PAYLOAD_SPREAD if asked.payload_spread is None else asked.payload_spread,
        ),
        response_bytes=ledger.number("response_bytes", asked.response_bytes, 1_000.0, "bytes", "a prediction as JSON"),
        **_nodes(asked, ledger),  # type: ignore[arg-type]
        growth_per_year=ledger.number("growth_per_year", asked.growth_per_year, 0.0, "", "none was named"),
    )


def _nodes(asked: Workload, ledger: Ledger) -> dict[str, float]:
    availability = ledger.number("availability", asked.availability, 0.999, "", "43 minutes a month")
    always = availability >= _ALWAYS
    why = "one machine fails longer than the availability allows" if always else "the availability allows one machine"
    return {
        "availability": availability,
        "min_nodes": int(ledger.number("min_nodes", asked.min_nodes, 2 if always else 1, "machines", why)),
        "spare_nodes": int(ledger.number("spare_nodes", asked.spare_nodes, 1 if always else 0, "machines", why)),
    }


def _silent(asked: Workload, ledger: Ledger) -> Demand:
    nodes = _nodes(asked, ledger)
    return Demand(
        mean_rps=0.0,
        peak_rps=0.0,
        floor_rps=0.0,
        minutes_rps=np.zeros(MINUTES),
        burst_factor=ledger.number("burst_factor", asked.burst_factor, 1.3, "", "a busy second within its minute"),
        step_rps=0.0,
        limit_s=asked.latency_p99.total_seconds(),
        percentile=asked.percentile,
        network_s=0.0,
        requests_per_month=0.0,
        payload_bytes=float(asked.payload_bytes or 0),
        response_bytes=0.0,
        **nodes,  # type: ignore[arg-type]
        growth_per_year=asked.growth_per_year or 0.0,
    )


def _from_hours(hourly: NDArray[np.float64], mean: float, peak: float) -> NDArray[np.float64]:
    """Return the minutes between the middles of hours, with the day's mean, and the peak where it is reached."""
    middles = np.arange(-0.5, 25.0)
    values = np.concatenate([hourly[-1:], hourly, hourly[:1]])
    minutes = np.interp(np.arange(MINUTES) / 60, middles, values)
    if minutes.mean() > 0:
        minutes = minutes * mean / minutes.mean()
    busiest = int(minutes.argmax())
    minutes[busiest] = max(minutes[busiest], peak)
    return np.asarray(minutes)


def _given(
    ledger: Ledger,
    asked: Workload,
    name: str,
    value: float,
    unit: str,
    why: str,
    spread: float = 0.0,
    *,
    key: str = "",
) -> None:
    tag: Tag = "given" if (key or name) in asked.given else "assumed"
    ledger.note(Assumption(name, value, unit, tag, "the workload" if tag == "given" else why, spread))
