"""The plan: what to run, where, what it costs, how sure that is, and what it rests on. It is kept as one JSON file.

The file carries the inputs, the price rows and the versions that it was made with, so that a later plan can be compared
with it, and so that nobody has to look up what a price was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from loopwright.core.errors import DeclarationError, StoreTooNewError
from loopwright.planning.assumption import Assumption  # noqa: TC001 - read while it runs: the JSON codec follows the types
from loopwright.planning.cost import STAGES, CostLine, Price, Stage, total
from loopwright.planning.option import Option  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
Verdict = Literal["saves", "loses", "no difference", "not known"]


@dataclass(frozen=True)
class StagePlan:
    """One stage: what was chosen, and what else was looked at, the infeasible with their reasons."""

    chosen: Option
    alternatives: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Band:
    """A monthly cost in dollars: the 5th, the 50th and the 95th percentile over the draws."""

    p5_usd: float
    p50_usd: float
    p95_usd: float


@dataclass(frozen=True)
class Rank:
    """One alternative among those of its stage, or one place among those for the whole plan.

    Attributes:
        stage: ``serving``, or ``total`` for a place.
        name: Of the option.
        provider: Where.
        region: Where.
        usd: What it costs in a month, over the draws.
        feasible: The share of the draws in which it keeps the limit.
        cheapest: The share of the draws in which it keeps the limit and nothing that does is cheaper.
    """

    stage: str
    name: str
    provider: str
    region: str
    usd: Band
    feasible: float
    cheapest: float


@dataclass(frozen=True)
class Swing:
    """What one uncertain input alone does to the total: at one standard deviation below and above its middle."""

    name: str
    low_usd: float
    high_usd: float

    @property
    def width_usd(self) -> float:
        """How far apart the two are."""
        return abs(self.high_usd - self.low_usd)


@dataclass(frozen=True)
class Crossover:
    """Where one way becomes cheaper than another.

    Attributes:
        name: Such as ``GPU beats CPU``.
        at: The rate, or what else is varied; None where it does not happen in the range that was looked at.
        unit: Of ``at``.
        first: The way that is cheaper below.
        second: The way that is cheaper above.
        points: (rate, dollars a month of the first, of the second), for a picture.
        text: In words.
    """

    name: str
    at: float | None
    unit: str
    first: str
    second: str
    points: tuple[tuple[float, float, float], ...]
    text: str


@dataclass(frozen=True)
class Saving:
    """What a strategy that people recommend does here.

    Attributes:
        strategy: Such as ``spot``.
        verdict: Whether it saves here.
        usd_per_month: What it saves; negative where it would cost more; 0 where it is not known.
        text: Why, with the figures.
        is_in_plan: Whether the plan does it.
    """

    strategy: str
    verdict: Verdict
    usd_per_month: float
    text: str
    is_in_plan: bool = False


@dataclass(frozen=True)
class Warned:
    """A trap that this workload runs into, or would."""

    name: str
    text: str
    usd_per_month: float = 0.0


@dataclass(frozen=True)
class BudgetLine:
    """What the person wants to spend on a stage, and what becomes of that."""

    line: str
    budget_usd: float
    planned_usd: float
    text: str

    @property
    def is_kept(self) -> bool:
        """Whether the plan stays within it."""
        return self.planned_usd <= self.budget_usd * 1.0001


@dataclass(frozen=True)
class DayPoint:
    """One moment of the day: what comes, what the machines carry then, and how many they are."""

    hour: float
    rps: float
    capacity_rps: float
    nodes: float


@dataclass(frozen=True)
class Checked:
    """What was predicted and what was measured on a real server, at one load."""

    load: float
    rps: float
    percentile: float
    predicted_s: float
    measured_s: float


@dataclass(frozen=True)
class Plan:
    """The sized and priced answer to a workload.

    Attributes:
        name: Of the project.
        created_at: When it was made, ISO 8601.
        seed: Of the simulation and the draws.
        draws: How many.
        inputs: The workload, the service models and the training as they were given, as plain JSON.
        assumptions: Every figure it rests on, with where it is from.
        stages: Stage by stage, as the lifecycle runs.
        total: What all of it costs in a month, over the draws.
        ranking: The alternatives by how likely each is the cheapest that keeps the limit.
        tornado: The inputs by what they do to the total, the largest first.
        crossovers: Where another way becomes cheaper.
        savings: What the usual strategies do here.
        traps: What this workload runs into.
        budget: The person's budget, line by line.
        day: The day's traffic and capacity.
        latency_s: (share of answers, seconds) of the chosen serving at the peak, for a picture.
        prices: Every price row that the chosen options use.
        versions: Of the package and of the price table.
        verification: Predictions against measurements.
    """

    name: str
    created_at: str
    seed: int
    draws: int
    inputs: dict[str, object]
    assumptions: tuple[Assumption, ...]
    stages: dict[Stage, StagePlan]
    total: Band
    ranking: tuple[Rank, ...] = ()
    tornado: tuple[Swing, ...] = ()
    crossovers: tuple[Crossover, ...] = ()
    savings: tuple[Saving, ...] = ()
    traps: tuple[Warned, ...] = ()
    budget: tuple[BudgetLine, ...] = ()
    day: tuple[DayPoint, ...] = ()
    latency_s: tuple[tuple[float, float], ...] = ()
    prices: tuple[Price, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    verification: tuple[Checked, ...] = ()

    @property
    def lines(self) -> tuple[CostLine, ...]:
        """Every line of the monthly bill, in the order of the lifecycle."""
        return tuple(line for stage in STAGES if stage in self.stages for line in self.stages[stage].chosen.lines)

    @property
    def usd_per_month(self) -> float:
        """What the lines come to with every input at its middle."""
        return total(self.lines)

    @property
    def place(self) -> tuple[str, str]:
        """The provider and the region that it chose."""
        for stage in ("serving", "streaming", "batch", "training", "storage"):
            if stage in self.stages:
                chosen = self.stages[cast("Stage", stage)].chosen
                return chosen.provider, chosen.region
        return "", ""

    def to_json(self) -> dict[str, object]:
        """Return it as plain JSON values, with the version of the schema."""
        return {"schema": SCHEMA, **cast("dict[str, object]", msgspec.to_builtins(self))}


def from_json(values: Mapping[str, object]) -> Plan:
    """Read a plan back.

    Raises:
        StoreTooNewError: If a newer version wrote it.
        DeclarationError: If it is no plan.
    """
    schema = values.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise StoreTooNewError(
            f"This plan has schema {schema}, and this version reads up to {SCHEMA}.", hint="Upgrade the package."
        )
    if schema != SCHEMA:
        raise DeclarationError(f"This is no plan: its schema is {schema!r}.", hint="Make one with `loopwright plan`.")
    try:
        return msgspec.convert({k: v for k, v in values.items() if k != "schema"}, Plan)
    except msgspec.ValidationError as error:
        raise DeclarationError(f"This plan cannot be read: {error}.", hint="Make it again.") from error
