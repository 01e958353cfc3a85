"""Where the model is trained: machine, GPUs, way of buying, checkpoints; and evaluation on the same machine."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.cost import HOURS_PER_MONTH, CostLine, Price, Stage
from loopwright.planning.option import Option, Reason
from loopwright.planning.purchase import PURCHASES, SAID
from loopwright.planning.spot import break_even_price, daly_interval
from loopwright.planning.training_needs import hours_on, wall_hours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopwright.planning.option import Purchase
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.training_needs import Work

_NOTICE_S = {"aws": 120.0, "azure": 30.0, "gcp": 30.0}


def training_options(work: Work, instances: Sequence[Instance], provider: str, region: str) -> tuple[Option, ...]:
    """Return every way to train, those that work first, then by cost.

    Raises:
        DeclarationError: If no machine of the place has an accelerator whose hours are known, and none is one's own.
    """
    found = list(_local(work, provider, region))
    for instance in instances:
        hours, is_extrapolated = hours_on(work.needs, instance)
        if hours is None:
            continue
        found.extend(
            _option(work, instance, hours, purchase, is_extrapolated=is_extrapolated)
            for purchase in PURCHASES
            if instance.price(purchase) is not None
        )
    if not found:
        raise DeclarationError(
            f"No machine with a price in {provider} {region} has one of {', '.join(work.needs.hours)}.",
            hint="Give the hours on an accelerator that it has, or name another region.",
        )
    return tuple(sorted(found, key=lambda one: (not one.is_feasible, one.usd_per_month, one.name)))


def evaluation_of(training: Option, work: Work) -> Option | None:
    """Return the evaluation after each training, on its machine and bought as that is; None where there is none."""
    line = training.lines[0] if training.lines else None
    if line is None or work.evaluation_share <= 0:
        return None
    hours = float(training.settings["hours_per_run"]) * work.evaluation_share * work.runs
    own = replace(
        line,
        stage="evaluation",
        quantity=hours * float(training.settings["machines"]),
        note=f"{work.evaluation_share:.0%} of the training's time",
    )
    name = f"on {training.instance_type or 'the same machine'}"
    return replace(training, stage="evaluation", name=name, lines=(own,), notes=())


def _option(work: Work, instance: Instance, hours: float, purchase: Purchase, *, is_extrapolated: bool) -> Option:
    needs, price = work.needs, instance.price(purchase)
    assert price is not None  # noqa: S101 - looked at before
    wall = wall_hours(work, hours, purchase)
    machines = 1
    if needs.window_h is not None and wall > needs.window_h and instance.is_gpu:
        machines = _machines(work, hours, instance, purchase)
        alone = hours * (1 + (instance.accelerators - 1) * needs.efficiency)
        hours = alone / (1 + (machines * instance.accelerators - 1) * needs.efficiency)
        wall = wall_hours(work, hours, purchase)
    reasons = _reasons(work, instance, hours, wall, purchase)
    paid = HOURS_PER_MONTH if purchase in ("commit_1y", "commit_3y") else min(wall, 1e6) * work.runs
    note = f"{work.runs:g} trainings of {wall:.2f} h"
    if purchase == "spot":
        note += f" expected for {hours:.2f} h of work"
    line = CostLine(
        "training", f"{machines} x {instance.type}, {SAID[purchase]}", paid * machines, price, note,
        () if paid == HOURS_PER_MONTH else (("training_hours", 1.0),),
    )  # fmt: skip
    return Option(
        stage="training",
        name=f"{machines} x {instance.type}, {SAID[purchase]}"
        + (" without checkpoints" if _is_bare(work, purchase) else ""),
        provider=instance.provider,
        region=instance.region,
        instance_type=instance.type,
        purchase=purchase,
        packaging="vm" if machines == 1 else "vm_group",
        count=machines,
        settings=_settings(work, instance, hours, wall, machines, purchase),
        lines=(line,),
        utilisation=min(1.0, wall * work.runs / HOURS_PER_MONTH),
        reasons=reasons,
        notes=_notes(work, instance, hours, wall, purchase),
        is_extrapolated=is_extrapolated,
    )


def _machines(work: Work, hours: float, instance: Instance, purchase: Purchase) -> int:
    """Return how many machines end within the window; 1 where no number up to 16 does."""
    alone = hours * (1 + (instance.accelerators - 1) * work.needs.efficiency)
    for count in range(2, 17):
        shared = alone / (1 + (count * instance.accelerators - 1) * work.needs.efficiency)
        if wall_hours(work, shared, purchase) <= (work.needs.window_h or math.inf):
            return count
    return 1


def _reasons(work: Work, instance: Instance, hours: float, wall: float, purchase: Purchase) -> tuple[Reason, ...]:
    found = []
    window = work.needs.window_h
    if window is not None and wall > window:
        found.append(Reason("training_window", f"a training takes {wall:.1f} h, and {window:g} h are given"))
    if wall * work.runs > HOURS_PER_MONTH:
        text = f"{work.runs:g} trainings of {wall:,.1f} h do not fit into the {HOURS_PER_MONTH:g} h of a month"
        found.append(Reason("training_cadence", text))
    spot = instance.spot
    if _is_bare(work, purchase) and spot is not None and spot.usd / instance.on_demand.usd > hours / wall:
        text = (
            f"spot without checkpoints: {hours:.1f} h of work take {wall:,.1f} h, and the discount of "
            f"{1 - spot.usd / instance.on_demand.usd:.0%} pays up to {instance.on_demand.usd / spot.usd * hours:.1f} h"
        )
        found.append(Reason("spot_without_checkpoints", text))
    return tuple(found)


def _notes(work: Work, instance: Instance, hours: float, wall: float, purchase: Purchase) -> tuple[str, ...]:
    if purchase != "spot":
        return ()
    highest = break_even_price(hours, wall)
    found = [f"spot pays up to {highest:.1%} of the price on demand"]
    notice = _NOTICE_S.get(instance.provider, 30.0)
    if work.needs.has_checkpoints and work.checkpoint_h * 3600 > notice:
        found.append(
            f"a checkpoint takes {work.checkpoint_h * 3600:g} s and the notice is {notice:g} s: it cannot be saved "
            "when the machine is taken, only at intervals"
        )
    return tuple(found)


def _settings(
    work: Work, instance: Instance, hours: float, wall: float, machines: int, purchase: Purchase
) -> dict[str, float | str | bool]:
    found: dict[str, float | str | bool] = {
        "accelerator": instance.accelerator,
        "accelerators": instance.accelerators * machines,
        "machines": float(machines),
        "hours_per_run": hours,
        "wall_hours_per_run": wall if math.isfinite(wall) else 1e6,
        "runs_per_month": work.runs,
        "has_checkpoints": work.needs.has_checkpoints,
    }
    if purchase == "spot" and work.needs.has_checkpoints:
        found["checkpoint_every_s"] = daly_interval(work.checkpoint_h, work.between_failures_h) * 3600
    return found


def _is_bare(work: Work, purchase: Purchase) -> bool:
    return purchase == "spot" and not work.needs.has_checkpoints


def _local(work: Work, provider: str, region: str) -> Iterator[Option]:
    hours = work.needs.local_hours
    if hours is None:
        return
    price = Price(work.needs.local_usd_per_hour or 0.0, "hour", "the workload: a machine of one's own", "")
    line = CostLine(
        "training", "a machine of one's own", hours * work.runs, price, f"{work.runs:g} trainings of {hours:g} h",
        (("training_hours", 1.0),),
    )  # fmt: skip
    settings: dict[str, float | str | bool] = {
        "hours_per_run": hours,
        "machines": 1.0,
        "wall_hours_per_run": hours,
        "runs_per_month": work.runs,
    }
    reasons = []
    if work.needs.window_h is not None and hours > work.needs.window_h:
        text = f"a training takes {hours:.1f} h, and {work.needs.window_h:g} h are given"
        reasons.append(Reason("training_window", text))
    stage: Stage = "training"
    yield Option(
        stage, "a machine of one's own", provider, region, "", "on_demand", "local", 1, settings, (line,),
        reasons=tuple(reasons),
    )  # fmt: skip
