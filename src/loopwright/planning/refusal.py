"""Why a way to serve is refused: the limit that it breaks, with the figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.planning.option import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.planning.demand import Demand
    from loopwright.planning.fitting import Fit
    from loopwright.planning.sizing import Sizing

_IDLE_S = 300.0


def scale_to_zero(demand: Demand, reaction_s: float) -> Reason | None:
    """Return why the servers must not scale to zero; None where they may.

    A request that finds none waits the whole reaction. With an idle timeout of 300 s and Poisson arrivals at the rate
    of the quietest minute, a gap is that long with probability exp(-rate · 300).
    """
    gap = math.exp(-demand.floor_rps * _IDLE_S)
    if reaction_s <= demand.limit_s or gap <= 1 - demand.percentile:
        return None
    return Reason(
        "latency_p99",
        f"no scaling to zero: at {demand.floor_rps:g} requests/s {gap:.0%} of the gaps outlast the idle time of "
        f"{_IDLE_S:g} s, and a request that finds nothing waits {reaction_s:.0f} s",
    )


def overloaded(found: Fit, demand: Demand, servers: int) -> Iterator[Reason]:
    """Say why one machine is too few, by what people compare it with: the mean, then the peak, then the limit."""
    full = found.full_speed_rps
    if full <= demand.mean_rps:
        yield Reason(
            "capacity",
            f"{found.instance.type} answers {full:.3g} requests/s if it never rests, and the mean is "
            f"{demand.mean_rps:.4g}: the queue only grows",
        )
    elif full <= demand.peak_rps:
        yield Reason(
            "capacity",
            f"{found.instance.type} answers {full:.3g} requests/s if it never rests, and the peak is "
            f"{demand.peak_rps:.4g}",
        )
    elif servers > found.workers:
        yield Reason(
            "latency_p99",
            f"{servers} servers are needed to keep {demand.limit_s * 1000:g} ms at {demand.sized_rps:g} requests/s, "
            f"and one {found.instance.type} runs {found.workers}",
        )


def worn_out(found: Fit, demand: Demand, *, fewest: int, most: int) -> tuple[Reason, ...]:
    """Refuse burstable machines whose credits run out: their mean use lies above what they earn.

    A machine that autoscaling starts for the peak has earned none, so that a fleet of them must always run.
    """
    if found.baseline == 1:
        return ()
    use = demand.mean_rps / (most * found.full_speed_rps)
    said = f"{found.instance.type} may use {found.baseline:.0%} of its processors all the time"
    if use > found.baseline:
        return (Reason("cpu_credits", f"{said}, and the mean use would be {min(use, 1):.0%}"),)
    if fewest < most:
        text = f"{said} and the rest from credits that it earned before; what is started for the peak has none"
        return (Reason("cpu_credits", text),)
    return ()


def too_slow(found: Fit, sizing: Sizing) -> Reason:
    """Refuse a machine on which one answer alone takes too long."""
    alone = sizing.latency(found, 0.01 * found.service.capacity_rps, 1)
    return Reason(
        "latency_p99",
        f"'{found.service.name}' takes {alone.p99_s * 1000:.0f} ms on {found.instance.type} at the 99th percentile "
        f"with nobody waiting, and the limit is {sizing.limit_s * 1000:g} ms: no number of machines helps",
    )


def one_machine(demand: Demand) -> tuple[Reason, ...]:
    """Refuse a single machine where the availability asks for more."""
    if demand.min_nodes + demand.spare_nodes <= 1:
        return ()
    return (
        Reason(
            "availability",
            f"one machine fails longer than an availability of {demand.availability:.2%} allows: at least "
            f"{demand.min_nodes} must answer, {demand.spare_nodes} of them to spare",
        ),
    )
