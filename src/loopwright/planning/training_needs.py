"""What training takes: hours by accelerator, cadence, checkpoints; and how long that is on a machine that may be lost.

Work is known in hours for each accelerator that was measured or assumed; another accelerator is not guessed at, except
for the few of the same class, which are marked as extrapolated. On spot the expected wall time comes from Daly's
formula (``spot.py``), and without checkpoints from starting anew after each loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.assumption import Assumption, Tag
from loopwright.planning.spot import expected_wall, expected_wall_without_checkpoints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.planning.assumption import Ledger
    from loopwright.planning.option import Purchase
    from loopwright.planning.prices.instance import Instance

HOURS_SPREAD = 0.4
_SAME_CLASS: Mapping[str, tuple[str, ...]] = {"A10G": ("A10", "L4"), "A10": ("A10G", "L4"), "A100": ("A100-80GB",)}
_CPU = "cpu"


@dataclass(frozen=True)
class TrainingNeeds:
    """What one training takes, and how often it is done.

    Attributes:
        hours: Of one training by accelerator, such as ``{"A10G": 10}``; ``cpu`` for a CPU machine of ``cpu_cores``.
        runs_per_month: How many; None for the workload's cadence.
        checkpoint_s: To write one; None for 60 s.
        restart_s: From losing a machine to training on, a new machine included; None for 300 s.
        between_failures_h: The mean time until a spot machine is taken; None for 20 h.
        has_checkpoints: Whether the training can go on from one.
        window_h: Within which a training must end; None for no limit.
        efficiency: What each GPU beyond the first adds, as a share.
        cpu_cores: Physical cores that the hours on a CPU are about.
        evaluation_share: What evaluation takes, as a share of the training.
        local_hours: Of one training on a machine of one's own; None where there is none.
        local_usd_per_hour: What that machine costs in an hour.
        memory_gib: Of GPU memory that the training needs.
        tag: How the hours are known.
    """

    hours: Mapping[str, float] = field(default_factory=dict)
    runs_per_month: float | None = None
    checkpoint_s: float | None = None
    restart_s: float | None = None
    between_failures_h: float | None = None
    has_checkpoints: bool = True
    window_h: float | None = None
    efficiency: float = 0.85
    cpu_cores: float = 4.0
    evaluation_share: float | None = None
    local_hours: float | None = None
    local_usd_per_hour: float | None = None
    memory_gib: float = 0.0
    tag: Tag = "given"

    def __post_init__(self) -> None:
        times = [*self.hours.values(), self.runs_per_month, self.checkpoint_s, self.restart_s, self.between_failures_h]
        wrong = [value for value in (*times, self.window_h, self.local_hours) if value is not None and value < 0]
        if wrong or any(hours <= 0 for hours in self.hours.values()) or not 0 < self.efficiency <= 1:
            raise DeclarationError(
                f"A training takes time: hours {dict(self.hours)}, checkpoint {self.checkpoint_s} s, restart "
                f"{self.restart_s} s, efficiency {self.efficiency:g}.",
                hint="Give durations from 0, hours above 0, and an efficiency up to 1.",
            )


@dataclass(frozen=True)
class Work:
    """The training with nothing left open."""

    needs: TrainingNeeds
    runs: float
    checkpoint_h: float
    restart_h: float
    between_failures_h: float
    evaluation_share: float


def work_of(needs: TrainingNeeds, cadence_runs: float, ledger: Ledger) -> Work:
    """Return the training, every figure of it noted in the ledger."""
    for name, hours in needs.hours.items():
        ledger.note(Assumption(f"training_hours.{name}", hours, "h", needs.tag, "one training", HOURS_SPREAD))
    number = ledger.number
    runs = number("trainings_per_month", needs.runs_per_month, cadence_runs, "", "the cadence of the workload")
    has_spot = bool(needs.hours) and runs > 0
    return Work(
        needs,
        runs,
        (number("checkpoint_s", needs.checkpoint_s, 60.0, "s", "a minute") if has_spot else 60.0) / 3600,
        (number("restart_s", needs.restart_s, 300.0, "s", "boot, image, data") if has_spot else 300.0) / 3600,
        number("between_failures_h", needs.between_failures_h, 20.0, "h", "5 % an hour") if has_spot else 20.0,
        number("evaluation_share", needs.evaluation_share, 0.05, "", "of the training's time") if has_spot else 0.0,
    )


def hours_on(needs: TrainingNeeds, instance: Instance) -> tuple[float | None, bool]:
    """Return how long one training takes on a machine, and whether that is carried over from another of its class."""
    if not instance.is_gpu:
        alone = needs.hours.get(_CPU)
        usable = alone is not None and instance.architecture == "x86" and not instance.is_burstable
        if alone is None or not usable or instance.cores < needs.cpu_cores:
            return None, False
        return alone, False  # more cores than the hours are about are not counted on
    if instance.accelerators < 1 or instance.accelerator_memory_gib < needs.memory_gib:
        return None, False
    alone, extrapolated = needs.hours.get(instance.accelerator), False
    if alone is None:
        same = next((name for name in needs.hours if instance.accelerator in _SAME_CLASS.get(name, ())), None)
        if same is None:
            return None, False
        alone, extrapolated = needs.hours[same], True
    count = instance.accelerators
    return alone / (1 + (count - 1) * needs.efficiency), extrapolated


def wall_hours(work: Work, hours: float, purchase: Purchase) -> float:
    """Return how long one training takes from start to end, losses included."""
    if purchase != "spot":
        return hours
    if not work.needs.has_checkpoints:
        return expected_wall_without_checkpoints(
            hours, restart=work.restart_h, between_failures=work.between_failures_h
        )
    return expected_wall(
        hours, checkpoint=work.checkpoint_h, restart=work.restart_h, between_failures=work.between_failures_h
    )
