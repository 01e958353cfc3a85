"""Machines as a bill names them: which hours are bought on demand, committed or spot."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from loopwright.planning.cost import HOURS_PER_MONTH, CostLine

if TYPE_CHECKING:
    from loopwright.planning.cost import Price, Stage
    from loopwright.planning.day_cost import Level
    from loopwright.planning.option import Purchase
    from loopwright.planning.prices.instance import Instance

PURCHASES: tuple[Purchase, ...] = ("on_demand", "spot", "commit_1y", "commit_3y")
SAID = {"on_demand": "on demand", "spot": "spot", "commit_1y": "1 year committed", "commit_3y": "3 years committed"}
ZONES = 3
NODE_DISK_GB = 30.0


def full_time_price(instance: Instance) -> Price:
    """Return what an hour of a whole month costs on demand: less where months have a discount."""
    full, hour = instance.full_month, instance.on_demand
    if full is None or not 0 < full.usd < hour.usd * HOURS_PER_MONTH:
        return hour
    return dataclasses.replace(full, usd=full.usd / HOURS_PER_MONTH, unit="hour")


def spot_fleet(working: int, fixed: int) -> int:
    """Return how many machines are run when all beyond ``fixed`` are spot and one of three zones may go at once.

    What remains after the loss must be ``working`` at least.

    >>> spot_fleet(8, 2), spot_fleet(2, 2)
    (11, 2)
    """
    spot = 0
    while fixed + spot - math.ceil(spot / ZONES) < working:
        spot += 1
    return fixed + spot


def machine_lines(
    stage: Stage, instance: Instance, fleet: Level, purchase: Purchase, *, fixed: int
) -> tuple[CostLine, ...] | None:
    """Return the lines of a fleet; None where this way of buying has no price or changes nothing.

    Args:
        stage: Whose machines they are.
        instance: The machine.
        fleet: How long each of them runs.
        purchase: On demand; spot for all but the ``fixed`` ones; or committed for each machine that runs for a larger
            share of the time than the committed price is of the price on demand.
        fixed: How many always run.
    """
    price = instance.price(purchase)
    if price is None:
        return None
    always, extra = fleet.shares[:fixed], fleet.shares[fixed:]
    if purchase == "spot" and not extra:
        return None
    full = full_time_price(instance)
    if purchase in ("commit_1y", "commit_3y"):
        committed = [share for share in fleet.shares if price.usd < _on_demand(share, instance, full)]
        if not committed:
            return None
        rest = sum(fleet.shares) - sum(committed)
        lines = [_line(stage, instance, purchase, len(committed) * HOURS_PER_MONTH, price, "whether used or not")]
        if rest > 1e-9:
            lines.append(_varying(stage, instance, "on_demand", rest, instance.on_demand, fleet))
        return tuple(lines)
    lines = []
    if always:
        lines.append(_line(stage, instance, "on_demand", sum(always) * HOURS_PER_MONTH, full, "all the time"))
    if sum(extra) > 1e-9:
        lines.append(_varying(stage, instance, purchase, sum(extra), price, fleet))
    return tuple(lines)


def disk_line(stage: Stage, nodes: float, price: Price) -> CostLine:
    """Return the line for the machines' own disks."""
    return CostLine(stage, "disks of the machines", nodes * NODE_DISK_GB, price, f"{NODE_DISK_GB:g} GB each")


def _on_demand(share: float, instance: Instance, full: Price) -> float:
    return full.usd if share > 1 - 1e-9 else share * instance.on_demand.usd


def _line(
    stage: Stage,
    instance: Instance,
    purchase: Purchase,
    hours: float,
    price: Price,
    note: str,
    drivers: tuple[tuple[str, float], ...] = (),
) -> CostLine:
    machines = hours / HOURS_PER_MONTH
    count = f"{machines:.2f}".rstrip("0").rstrip(".")
    return CostLine(stage, f"{count} x {instance.type}, {SAID[purchase]}", hours, price, note, drivers)


def _varying(
    stage: Stage, instance: Instance, purchase: Purchase, nodes: float, price: Price, fleet: Level
) -> CostLine:
    factor = fleet.mean / nodes  # the ones that always run do not move, so these move the more
    return _line(
        stage,
        instance,
        purchase,
        nodes * HOURS_PER_MONTH,
        price,
        "on average over the day, by autoscaling",
        fleet.drivers(factor),
    )
