"""What changed between two tables of prices: what rose, what fell, what came and what went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.planning.cost import Price
    from loopwright.planning.prices.table import PriceTable


@dataclass(frozen=True)
class PriceChange:
    """One price that is another one now.

    Attributes:
        name: Of what, such as ``aws us-east-1 c6i.xlarge on demand``.
        unit: Of both.
        before_usd: What it was.
        after_usd: What it is.
        before_as_of: Its day then.
        after_as_of: Its day now.
    """

    name: str
    unit: str
    before_usd: float
    after_usd: float
    before_as_of: str
    after_as_of: str

    @property
    def share(self) -> float:
        """By how much of the old price it rose; infinite from nothing."""
        if self.before_usd == 0:
            return float("inf") if self.after_usd > 0 else 0.0
        return self.after_usd / self.before_usd - 1


@dataclass(frozen=True)
class PriceDiff:
    """The difference between two tables.

    Attributes:
        rose: Dearer now, the largest rise first.
        fell: Cheaper now, the largest fall first.
        came: Names that had no price before.
        went: Names that have none any more.
        same: How many are as they were.
    """

    rose: tuple[PriceChange, ...]
    fell: tuple[PriceChange, ...]
    came: tuple[str, ...]
    went: tuple[str, ...]
    same: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.rose or self.fell or self.came or self.went)


def diff_prices(before: PriceTable, after: PriceTable, *, least_share: float = 1e-9) -> PriceDiff:
    """Return what changed.

    Args:
        before: The older table.
        after: The newer one.
        least_share: Changes up to this share of the old price count as none.
    """
    old, new = named_prices(before), named_prices(after)
    changes = [
        PriceChange(name, old[name].unit, old[name].usd, new[name].usd, old[name].as_of, new[name].as_of)
        for name in old
        if name in new
    ]
    rose = sorted((one for one in changes if one.share > least_share), key=lambda one: (-one.share, one.name))
    fell = sorted((one for one in changes if one.share < -least_share), key=lambda one: (one.share, one.name))
    return PriceDiff(
        tuple(rose),
        tuple(fell),
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        len(changes) - len(rose) - len(fell),
    )


def named_prices(table: PriceTable) -> dict[str, Price]:
    """Return every price of a table by a name that people can read."""
    found: dict[str, Price] = {}
    for one in table.machines:
        kinds = (
            ("on demand", one.on_demand),
            ("spot", one.spot),
            ("committed for a year", one.commit_1y),
            ("committed for three years", one.commit_3y),
        )
        for kind, price in kinds:
            if price is not None:
                found[f"{one.provider} {one.region} {one.type} {kind}"] = price
    for key, steps in table.units.items():
        for step in steps:
            start = f" from {step.from_quantity:g}" if step.from_quantity else ""
            found[f"{' '.join(key)}{start}"] = step.price
    return found
