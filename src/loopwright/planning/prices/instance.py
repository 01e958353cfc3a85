"""A machine that can be rented by the hour, with what it costs by way of buying it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from loopwright.planning.cost import Price
    from loopwright.planning.option import Purchase

Architecture = Literal["x86", "arm"]


@dataclass(frozen=True)
class Instance:
    """One type of machine in one region.

    Attributes:
        provider: ``aws``, ``gcp`` or ``azure``.
        region: Where the prices hold.
        type: As the provider calls it.
        vcpus: As the provider counts them: two to a core on x86, one to a core on Arm.
        memory_gib: Of the machine, in 2^30 bytes.
        architecture: Of its processor.
        accelerator: Its model; empty where there is none.
        accelerators: How many; below 1 for a share of one.
        accelerator_memory_gib: Of each, or of the share.
        on_demand: An hour.
        spot: An hour, the median of the zones; None where there is no market or no figure.
        spot_low: The cheapest zone.
        spot_high: The dearest zone.
        commit_1y: An hour, committed for a year, whether used or not; None where there is no figure.
        commit_3y: The same for three years.
        full_month: 730 hours at once, where the provider takes less for that; None elsewhere.
        is_burstable: Whether it may use its processors in full for short stretches only.
        note: What else its row says.
    """

    provider: str
    region: str
    type: str
    vcpus: float
    memory_gib: float
    architecture: Architecture
    accelerator: str
    accelerators: float
    accelerator_memory_gib: float
    on_demand: Price
    spot: Price | None = None
    spot_low: float | None = None
    spot_high: float | None = None
    commit_1y: Price | None = None
    commit_3y: Price | None = None
    full_month: Price | None = None
    is_burstable: bool = False
    note: str = ""

    @property
    def is_gpu(self) -> bool:
        """Whether it has an accelerator."""
        return self.accelerators > 0

    @property
    def cores(self) -> float:
        """Physical cores: half of the vCPUs on x86, all of them on Arm."""
        return self.vcpus / 2 if self.architecture == "x86" else self.vcpus

    def price(self, purchase: Purchase) -> Price | None:
        """Return what an hour costs, bought in one way; None where there is no figure."""
        return {
            "on_demand": self.on_demand,
            "spot": self.spot,
            "commit_1y": self.commit_1y,
            "commit_3y": self.commit_3y,
        }[purchase]
