"""Prices that fall with the quantity: the first so many units at one price, the next at another."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from loopwright.planning.cost import CostLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.planning.cost import Stage
    from loopwright.planning.prices.table import Tier


def tiered_lines(
    stage: Stage,
    item: str,
    quantity: float,
    tiers: Sequence[Tier],
    *,
    note: str = "",
    drivers: tuple[tuple[str, float], ...] = (),
) -> tuple[CostLine, ...]:
    """Return one line for each step that the quantity reaches; their quantities add up to it.

    The borders are the provider's own: "the first 10 TB" are 10,240 GB. Quantities here are in 10^9 bytes; a provider
    that counts 2^30 bills 6.9 % less.
    """
    lines = []
    ends = [later.from_quantity for _, later in itertools.pairwise(tiers)] + [float("inf")]
    for tier, end in zip(tiers, ends, strict=True):
        within = min(quantity, end) - tier.from_quantity
        if within > 0:
            name = item if len(tiers) == 1 else f"{item}, from {tier.from_quantity:,.0f} {tier.price.unit}"
            lines.append(CostLine(stage, name, within, tier.price, note or tier.note, drivers))
    return tuple(lines)
