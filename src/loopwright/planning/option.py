"""One way to run a stage: what it would cost, how it would answer, and why it cannot be where it cannot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from loopwright.planning.cost import CostLine, Stage, total

Purchase = Literal["on_demand", "spot", "commit_1y", "commit_3y"]
Packaging = Literal["vm", "vm_group", "kubernetes", "serverless", "local"]


@dataclass(frozen=True)
class Reason:
    """Why an option is infeasible, or what speaks against it.

    Attributes:
        limit: The limit or budget line that it breaks, such as ``latency_p99`` or ``budget.serving``.
        text: In words, with the figures.
    """

    limit: str
    text: str


@dataclass(frozen=True)
class Latency:
    """How long answers take at the peak, in seconds, the way to the server included."""

    p50_s: float
    p95_s: float
    p99_s: float
    share_above_limit: float
    is_simulated: bool


@dataclass(frozen=True)
class Option:
    """One way to run a stage.

    Attributes:
        stage: Which stage.
        name: For people, such as ``3 x c6i.xlarge, on demand, Kubernetes``.
        provider: ``aws``, ``gcp``, ``azure`` or ``local``.
        region: Of the prices.
        instance_type: The machine; empty where there is none.
        purchase: How the machines are bought.
        packaging: What runs the processes.
        count: Machines at the peak, spare ones included.
        settings: Everything an export needs: workers, batch, autoscaling bounds and metric, limits.
        lines: What it costs.
        latency: How it answers; None for stages that answer nobody.
        utilisation: Of the machines at the peak, spare ones included, 0 to 1; None where it means nothing.
        reasons: Why it is infeasible; empty where it is feasible.
        notes: What else a reader should know.
        is_extrapolated: Whether its service time was measured on other hardware.
    """

    stage: Stage
    name: str
    provider: str
    region: str
    instance_type: str
    purchase: Purchase
    packaging: Packaging
    count: int
    settings: dict[str, float | str | bool]
    lines: tuple[CostLine, ...]
    latency: Latency | None = None
    utilisation: float | None = None
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = field(default=())
    is_extrapolated: bool = False

    @property
    def is_feasible(self) -> bool:
        """Whether it breaks no limit."""
        return not self.reasons

    @property
    def usd_per_month(self) -> float:
        """What it costs in a month."""
        return total(self.lines)
