"""What things cost in a month: one line per thing that a bill would name.

A month is 730 hours, or 30.4167 days; a gigabyte is 10^9 bytes; prices are list prices in US dollars without tax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

HOURS_PER_MONTH = 730.0
DAYS_PER_MONTH = 730.0 / 24
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
GB = 10**9

Stage = Literal[
    "storage",
    "processing",
    "training",
    "evaluation",
    "serving",
    "batch",
    "streaming",
    "monitoring",
    "network",
    "metadata",
]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class Price:
    """What one unit costs, and where that is from.

    Attributes:
        usd: Per unit.
        unit: Such as ``hour``, ``GB-month``, ``1k requests``.
        source: Where the figure was read.
        as_of: The day it was true, ``YYYY-MM-DD``; empty where the source has none.
        spread: The standard deviation of its logarithm, by its age.
    """

    usd: float
    unit: str
    source: str
    as_of: str
    spread: float = 0.0


@dataclass(frozen=True)
class CostLine:
    """One thing that a bill names.

    Attributes:
        stage: The stage of the loop that needs it.
        item: What it is, for people.
        quantity: How many units in a month.
        price: Of one unit.
        note: How the quantity was found.
        drivers: The inputs that the quantity is proportional to, by name and exponent, for bands: ``{"requests": 1}``.
    """

    stage: Stage
    item: str
    quantity: float
    price: Price
    note: str = ""
    drivers: tuple[tuple[str, float], ...] = ()

    @property
    def usd_per_month(self) -> float:
        """What it costs in a month."""
        return self.quantity * self.price.usd

    def to_json(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {
            "stage": self.stage,
            "item": self.item,
            "quantity": self.quantity,
            "unit": self.price.unit,
            "usd_per_unit": self.price.usd,
            "usd_per_month": self.usd_per_month,
            "source": self.price.source,
            "as_of": self.price.as_of,
            "note": self.note,
        }


def total(lines: Iterable[CostLine]) -> float:
    """Return what the lines cost in a month."""
    return sum(line.usd_per_month for line in lines)


def by_stage(lines: Iterable[CostLine]) -> dict[Stage, float]:
    """Return what each stage costs in a month, in the order of the lifecycle; stages without lines are left out."""
    found: dict[Stage, float] = {}
    listed = list(lines)
    for stage in STAGES:
        own = [line for line in listed if line.stage == stage]
        if own:
            found[stage] = total(own)
    return found
