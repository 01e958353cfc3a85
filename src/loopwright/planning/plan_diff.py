"""What changed between two plans: what was asked, what is assumed, what things cost, what was chosen, and the bill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.planning.cost import STAGES
from loopwright.planning.wording import number, unit_price, usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopwright.planning.cost import Price, Stage
    from loopwright.planning.plan import Plan

_CENT = 0.005
_MOST_VALUES = 6  # of a list, beyond which only its length is said


@dataclass(frozen=True)
class Changed:
    """One value that is another one now; None where there was none, or is none any more."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class StageChange:
    """What became of one stage.

    Attributes:
        stage: Which.
        before: The choice in the older plan; None where it had no such stage.
        after: The choice in the newer plan; None as above.
        before_usd: What it cost in a month.
        after_usd: What it costs.
        by_price_usd: The part of the difference that is due to prices alone: the lines that both bills have, with the
            older quantities at the newer prices.
    """

    stage: Stage
    before: str | None
    after: str | None
    before_usd: float
    after_usd: float
    by_price_usd: float

    @property
    def difference_usd(self) -> float:
        """How much more it costs."""
        return self.after_usd - self.before_usd

    @property
    def is_same_choice(self) -> bool:
        """Whether the same was chosen."""
        return self.before == self.after


@dataclass(frozen=True)
class PlanDiff:
    """The difference between two plans.

    Attributes:
        before: The older one's day.
        after: The newer one's day.
        places: The two places.
        before_usd: The older total, at the median.
        after_usd: The newer one.
        inputs: What was asked otherwise.
        assumptions: What is assumed, given or measured otherwise.
        prices: What things cost otherwise, of those that both bills have.
        stages: What became of each stage, in the order of the lifecycle.
        versions: Of the package and the price table.
    """

    before: str
    after: str
    places: tuple[str, str]
    before_usd: float
    after_usd: float
    inputs: tuple[Changed, ...]
    assumptions: tuple[Changed, ...]
    prices: tuple[Changed, ...]
    stages: tuple[StageChange, ...]
    versions: tuple[Changed, ...]

    @property
    def difference_usd(self) -> float:
        """How much more the newer plan costs in a month."""
        return self.after_usd - self.before_usd

    @property
    def is_empty(self) -> bool:
        """Whether the two plans ask, choose and cost the same."""
        is_moved = any(abs(one.difference_usd) > _CENT or not one.is_same_choice for one in self.stages)
        return not (self.inputs or self.assumptions or self.prices or self.versions or is_moved)


def diff_plans(before: Plan, after: Plan) -> PlanDiff:
    """Return what changed from one plan to another.

    Args:
        before: The older one.
        after: The newer one.
    """
    tags = [
        {one.name: f"{number(one.value)} {one.unit}".strip() + f" ({one.tag})" for one in plan.assumptions}
        for plan in (before, after)
    ]
    bills = [_priced(plan) for plan in (before, after)]
    priced = [
        Changed(name, _price(bills[0][name]), _price(bills[1][name]))
        for name in bills[0]
        if name in bills[1] and not _same(bills[0][name].usd, bills[1][name].usd)
    ]
    stages = [_stage(before, after, stage) for stage in STAGES if stage in before.stages or stage in after.stages]
    return PlanDiff(
        before.created_at,
        after.created_at,
        (" ".join(before.place), " ".join(after.place)),
        before.total.p50_usd,
        after.total.p50_usd,
        tuple(_changes(_asked(before), _asked(after))),
        tuple(_changes(*tags)),
        tuple(priced),
        tuple(stages),
        tuple(_changes(before.versions, after.versions)),
    )


def diff_text(diff: PlanDiff) -> str:
    """Return the difference in words, a few lines to a kind."""
    was = f"{usd(diff.before_usd)} a month ({diff.before}, {diff.places[0]})"
    became = f"{usd(diff.after_usd)} ({diff.after}, {diff.places[1]})"
    lines = [f"{was} became {became}: {signed_usd(diff.difference_usd)}."]
    if diff.is_empty:
        return "\n".join([*lines, "Nothing changed."])
    for title, changes in (
        ("Asked", diff.inputs),
        ("Known or assumed", diff.assumptions),
        ("Prices", diff.prices),
        ("Versions", diff.versions),
    ):
        lines += [f"{title}:"] if changes else []
        lines += [f"  {text}" for text in _told(changes)]
    moved = [one for one in diff.stages if abs(one.difference_usd) > _CENT or not one.is_same_choice]
    lines += ["Stages:"] if moved else []
    for one in moved:
        if one.is_same_choice:
            choice = str(one.after)
        else:
            choice = f"{one.before or 'not planned'} → {one.after or 'not planned any more'}"
        due = f", {signed_usd(one.by_price_usd)} of it by prices" if abs(one.by_price_usd) > _CENT else ""
        cost = f"{usd(one.before_usd)} → {usd(one.after_usd)} ({signed_usd(one.difference_usd)}{due})"
        lines.append(f"  {one.stage}: {cost}; {choice}")
    return "\n".join(lines)


def signed_usd(value: float) -> str:
    """Return a difference in dollars with its sign.

    >>> signed_usd(3.0), signed_usd(-3.0), signed_usd(0.001)
    ('+$3.00', '-$3.00', 'the same')
    """
    if abs(value) < _CENT:
        return "the same"
    return f"{'+' if value > 0 else ''}{usd(value)}"


def signed_share(value: float) -> str:
    """Return a change as a share with its sign.

    >>> signed_share(0.1), signed_share(-0.5), signed_share(float("inf"))
    ('+10.0 %', '-50.0 %', 'from nothing')
    """
    return "from nothing" if value == math.inf else f"{100 * value:+.1f} %"


def _stage(before: Plan, after: Plan, stage: Stage) -> StageChange:
    old, new = (plan.stages[stage].chosen if stage in plan.stages else None for plan in (before, after))
    prices = {} if new is None else {line.item: line.price for line in new.lines}
    moved = [
        line.quantity * (prices[line.item].usd - line.price.usd)
        for line in (() if old is None else old.lines)
        if line.item in prices and prices[line.item].unit == line.price.unit
    ]
    return StageChange(
        stage,
        None if old is None else old.name,
        None if new is None else new.name,
        0.0 if old is None else old.usd_per_month,
        0.0 if new is None else new.usd_per_month,
        sum(moved),
    )


def _told(changes: Sequence[Changed]) -> Iterator[str]:
    """Return a line for each change; what came or went as a whole, such as a service model, is one line."""
    groups: dict[str, list[Changed]] = {}
    for one in changes:
        parent = one.name.rpartition(".")[0]
        groups.setdefault(parent if parent.count(".") else one.name, []).append(one)
    for parent, members in groups.items():
        came, went = (all(getattr(one, side) is None for one in members) for side in ("before", "after"))
        if len(members) > 1 and (came or went):
            values = [f"{one.name.rpartition('.')[2]} {one.after or one.before}" for one in members]
            yield f"{parent}: {'new' if came else 'gone'} ({', '.join(values)})"
            continue
        for one in members:
            yield f"{one.name}: {one.before or 'nothing'} → {one.after or 'nothing'}"


def _asked(plan: Plan) -> dict[str, str]:
    return {name: text for name, text in _flat(plan.inputs) if name != "workload.given"}


def _priced(plan: Plan) -> dict[str, Price]:
    where = " ".join(plan.place)
    return {f"{line.item}, {where}, per {line.price.unit}": line.price for line in plan.lines}


def _price(price: Price) -> str:
    return f"{unit_price(price.usd)} ({price.as_of or 'no day'})"


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Changed]:
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield Changed(name, before.get(name), after.get(name))


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Return each plain value of nested tables under its path; the entries of lists by their name or place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{inner.get('name') or inner.get('kind') or place}")
    elif isinstance(value, (list, tuple)):
        if value:
            listed = ", ".join(_plain(one) for one in value)
            yield path, listed if len(value) <= _MOST_VALUES else f"{len(value)} values, {_fingerprint(value)}"
    elif value is not None and value != "":
        yield path, _plain(value)


def _plain(value: object) -> str:
    return number(value) if isinstance(value, (bool, int, float, str)) else str(value)


def _fingerprint(value: list[object] | tuple[object, ...]) -> str:
    """Return what tells two long lists apart: their mean where they are of numbers."""
    numbers = [float(one) for one in value if isinstance(one, (int, float))]
    return f"mean {math.fsum(numbers) / len(numbers):.6g}" if numbers else ", ".join(str(one) for one in value)


def _same(before: float, after: float) -> bool:
    return math.isclose(before, after, rel_tol=1e-9)
