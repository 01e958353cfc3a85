"""What a plan's pictures show: the day with its machines, and how long answers take at the peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.planning.day_cost import needed_rps
from loopwright.planning.draft import reaction_of
from loopwright.planning.plan import DayPoint

if TYPE_CHECKING:
    from loopwright.planning.demand import Demand
    from loopwright.planning.draft import Draft
    from loopwright.planning.sizing import Sizing

_EVERY_MINUTES = 15
_SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)


def day_points(draft: Draft, demand: Demand, sizing: Sizing) -> tuple[DayPoint, ...]:
    """Return each quarter of an hour: the traffic, the machines, and what they carry with the spare ones down."""
    workers = 1 if draft.packaging == "serverless" else draft.found.workers
    spare = max(0, draft.most - draft.working)
    carried = sizing.capacities(draft.found, workers, draft.most)
    needed = needed_rps(demand, reaction_of(draft.packaging, draft.found).seconds)
    working = np.searchsorted(carried, needed * (1 - 1e-9)) + 1
    nodes = np.clip(working + spare, draft.fewest, draft.most)
    return tuple(
        DayPoint(
            minute / 60,
            float(demand.minutes_rps[minute]),
            float(carried[max(0, int(nodes[minute]) - spare - 1)]),
            float(nodes[minute]),
        )
        for minute in range(0, len(needed), _EVERY_MINUTES)
    )


def latency_points(draft: Draft, demand: Demand, sizing: Sizing) -> tuple[tuple[float, float], ...]:
    """Return (share of answers, seconds) at the peak with its bursts, the spare machines down."""
    values = sizing.quantiles(draft.found, demand.sized_rps, draft.servers, _SHARES)
    return tuple(zip(_SHARES, values, strict=True))
