"""Batch scoring: many rows within a window, on machines that are started for it and let go.

Rows are scored in pieces whose results are written once, so that a spot machine that is taken costs one piece.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopwright.planning.cadence import PER_MONTH
from loopwright.planning.cost import CostLine
from loopwright.planning.fitting import fit
from loopwright.planning.option import Option, Reason
from loopwright.planning.purchase import SAID
from loopwright.planning.spot import expected_wall

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loopwright.planning.fitting import Fit
    from loopwright.planning.jobs import BatchJob
    from loopwright.planning.option import Purchase
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.service import ServiceModel

START_S = 120.0
_MOST = 1000
_PIECE_H, _WRITE_H, _RESTART_H = 1 / 6, 10 / 3600, 300 / 3600


def batch_options(
    job: BatchJob,
    services: Sequence[ServiceModel],
    instances: Sequence[Instance],
    ratios: Mapping[str, tuple[float, float]],
    *,
    between_failures_h: float = 20.0,
) -> tuple[Option, ...]:
    """Return every way to score the rows, those that work first, then by cost."""
    chosen = [one for one in services if not job.service or one.name == job.service]
    found = [
        option
        for instance in instances
        for service in chosen
        if (placed := fit(service, instance, ratios)) is not None
        for option in _options(job, placed, between_failures_h)
    ]
    return tuple(sorted(found, key=lambda one: (not one.is_feasible, one.usd_per_month, one.name)))


def _options(job: BatchJob, found: Fit, between_failures_h: float) -> Iterator[Option]:
    instance = found.instance
    scale = found.scale
    rate = found.full_speed_rps
    if job.seconds_per_row is not None and not instance.is_gpu:
        rate = instance.cores / (job.seconds_per_row * scale)
    work_h = job.rows / (rate * found.baseline) / 3600  # started for the run, it has earned no credits to burst with
    left_h = (job.window_s - START_S) / 3600
    runs = PER_MONTH[job.cadence]
    purchases: tuple[Purchase, ...] = ("on_demand", "spot")
    for purchase in purchases:
        price = instance.price(purchase)
        if price is None:
            continue
        stretch = 1.0
        if purchase == "spot":
            stretch = expected_wall(
                1.0, checkpoint=_WRITE_H, restart=_RESTART_H, between_failures=between_failures_h, interval=_PIECE_H
            )
        count = max(1, math.ceil(work_h * stretch / left_h - 1e-9)) if left_h > 0 else 1
        hours = START_S / 3600 + work_h * stretch / count
        reasons = [found.reason] if found.reason else []
        if hours > job.window_s / 3600 + 1e-9 or count > _MOST:
            reasons.append(
                Reason("batch_window", f"{count} machines take {hours:.2f} h, and {job.window_s / 3600:g} h are given")
            )
        note = f"{runs:.4g} runs of {hours:.2f} h on {count} machines"
        line = CostLine(
            "batch", f"{job.name}: {count} x {instance.type}, {SAID[purchase]}", count * hours * runs, price, note,
            (("batch_rows", 1.0), ("service_time", 1.0)),
        )  # fmt: skip
        yield Option(
            "batch", f"{job.name}: {count} x {instance.type} ({found.service.name}), {SAID[purchase]}",
            instance.provider, instance.region, instance.type, purchase, "vm" if count == 1 else "vm_group", count,
            {
                "job": job.name,
                "service": found.service.name,
                "rows": job.rows,
                "runs_per_month": runs,
                "hours_per_run": hours,
                "workers_per_node": float(found.workers),
                "cadence": job.cadence,
                "window_s": job.window_s,
            },
            (line,),
            utilisation=min(1.0, work_h / (count * hours)),
            reasons=tuple(reasons),
            is_extrapolated=found.service.is_extrapolated,
        )  # fmt: skip
