"""What turning raw data into features costs: cores times hours, from the bytes and what one core gets through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.burstable import baseline_of
from loopwright.planning.cost import HOURS_PER_MONTH
from loopwright.planning.machine_hours import can_buy, machine_line
from loopwright.planning.option import Option, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.planning.cost import Stage
    from loopwright.planning.option import Purchase
    from loopwright.planning.prices.instance import Instance

LARGEST_FLEET = 1_000
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Batches:
    """Work that comes in runs.

    Attributes:
        run_bytes: That one run reads.
        runs: In a month.
        mb_per_s_per_core: What one core gets through, measured or assumed.
        deadline_h: Within which a run must be done.
        start_s: From asking for a machine to its first row.
        memory_gib_per_core: That the work needs.
    """

    run_bytes: float
    runs: float
    mb_per_s_per_core: float
    deadline_h: float = 1.0
    start_s: float = 120.0
    memory_gib_per_core: float = 2.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise DeclarationError(f"{name} of the batches must be 0 or more, and finite; got {value}.")
        if self.mb_per_s_per_core <= 0 or self.deadline_h <= 0:
            raise DeclarationError(
                f"A core gets through something and a run may take time: got {self.mb_per_s_per_core:g} MB/s and "
                f"{self.deadline_h:g} h."
            )

    @property
    def core_hours(self) -> float:
        """Of one run, without starting machines.

        >>> Batches(run_bytes=36e9, runs=30, mb_per_s_per_core=10).core_hours
        1.0
        """
        return self.run_bytes / _MEGABYTE / self.mb_per_s_per_core / 3600


def processing_stage(
    batches: Batches,
    instances: Sequence[Instance],
    *,
    purchases: Sequence[Purchase] = ("on_demand", "spot"),
    stage: Stage = "processing",
) -> tuple[Option, ...]:
    """Return a way to do the work on each machine type and purchase, those that work first, then by cost.

    A machine is started for each run, so many of them that the run is done by its deadline, and let go after it.
    """
    found = [
        _option(batches, one, purchase, stage)
        for one in instances
        if not one.is_gpu
        for purchase in purchases
        if can_buy(one, purchase)
    ]
    return tuple(sorted(found, key=lambda one: (not one.is_feasible, one.usd_per_month, one.name)))


def machines_needed(batches: Batches, instance: Instance) -> tuple[int, float]:
    """Return how many machines a run needs to meet its deadline, and for how many hours each, the start included.

    0 machines where the deadline is over before they have started.
    """
    start_h = batches.start_s / 3600
    left = batches.deadline_h - start_h
    if left <= 0:
        return 0, math.inf
    cores = instance.cores * baseline_of(instance)  # started for the run, it has earned no credits to burst with
    count = max(1, math.ceil(batches.core_hours / (cores * left) - 1e-9))
    return count, start_h + batches.core_hours / (cores * count)


def _option(batches: Batches, instance: Instance, purchase: Purchase, stage: Stage) -> Option:
    count, hours = machines_needed(batches, instance)
    reasons = []
    if count == 0:
        reasons.append(
            Reason("deadline", f"machines need {batches.start_s:g} s to start, and {batches.deadline_h:g} h are given")
        )
        count, hours = 1, batches.start_s / 3600 + batches.core_hours / (instance.cores * baseline_of(instance))
    month = count * hours * batches.runs
    if count > LARGEST_FLEET:
        reasons.append(Reason("fleet", f"{count:,} machines at once are more than {LARGEST_FLEET:,}"))
    if hours * batches.runs > HOURS_PER_MONTH:
        text = f"{batches.runs:g} runs of {hours:.2f} h do not fit into the {HOURS_PER_MONTH:g} h of a month"
        reasons.append(Reason("deadline", text))
    if instance.memory_gib < batches.memory_gib_per_core * instance.cores:
        text = f"{instance.memory_gib:g} GiB for {instance.cores:g} cores; {batches.memory_gib_per_core:g} each"
        reasons.append(Reason("memory", text))
    machines = month / HOURS_PER_MONTH
    each = min(HOURS_PER_MONTH, month) if month else 0.0
    amount = month / each if each else 0.0
    note = f"{batches.runs:g} runs on {count} machines for {hours:.2f} h, {machines:.2f} machines on average"
    line = machine_line(stage, instance, purchase, count=amount, hours=each, note=note, drivers=(("volume", 1.0),))
    return Option(
        stage=stage,
        name=f"{count} x {instance.type}, {purchase.replace('_', ' ')}",
        provider=instance.provider,
        region=instance.region,
        instance_type=instance.type,
        purchase=purchase,
        packaging="vm" if count == 1 else "vm_group",
        count=count,
        settings={"runs": batches.runs, "hours_per_run": hours, "mb_per_s_per_core": batches.mb_per_s_per_core},
        lines=(line,),
        utilisation=min(1.0, batches.core_hours / (hours * count * instance.cores)) if hours > 0 else 0.0,
        reasons=tuple(reasons),
    )
