"""Which service model runs on which machine, how many of its workers fit, and how sure that is.

Workers share nothing: each takes physical cores of its own (two vCPUs to a core on x86, one on Arm) and its memory.
A machine that was not measured takes a stated ratio with its uncertainty; without one, another architecture or another
accelerator is not guessed at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.planning.burstable import baseline_of
from loopwright.planning.option import Reason
from loopwright.planning.service import SMALLEST_RATIO_SPREAD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.service import ServiceModel

GIB = 2**30
MEMORY_SHARE = 0.8  # the rest is the operating system's, the kubelet's and the page cache's
GPU_MEMORY_SHARE = 0.9
UNMEASURED_RATIO = (1.0, 0.2)
SHARED_SPREAD = 0.3


@dataclass(frozen=True)
class Fit:
    """A service on a machine.

    Attributes:
        instance: The machine.
        base: The service as it was measured or assumed.
        service: The service on this machine.
        scale: How much longer it takes here than the base.
        workers: How many servers one machine runs.
        baseline: The share of its processors that a burstable machine may use all the time; 1 for others.
        reason: Why it does not fit; None where it does.
    """

    instance: Instance
    base: ServiceModel
    service: ServiceModel
    scale: float
    workers: int
    baseline: float = 1.0
    reason: Reason | None = None

    @property
    def is_cut(self) -> bool:
        """Whether a worker has fewer cores here than it was measured or assumed with."""
        return not self.instance.is_gpu and self.instance.cores < cores_of(self.base)

    @property
    def full_speed_rps(self) -> float:
        """What one machine answers at most, never idle."""
        return self.workers * self.service.capacity_rps


def cores_of(service: ServiceModel) -> float:
    """Return how many physical cores one worker takes; its vCPUs are those of x86."""
    return service.vcpus / 2


def fit(service: ServiceModel, instance: Instance, ratios: Mapping[str, tuple[float, float]]) -> Fit | None:
    """Return the service on a machine; None where nobody would look for it there.

    None is: a GPU model without its GPU, a CPU model on a machine with a GPU, and hardware that no ratio speaks of.
    """
    if (service.kind == "gpu") != instance.is_gpu:
        return None
    return _on_gpu(service, instance, ratios) if instance.is_gpu else _on_cpu(service, instance, ratios)


def _on_cpu(service: ServiceModel, instance: Instance, ratios: Mapping[str, tuple[float, float]]) -> Fit | None:
    ratio, spread = 1.0, 0.0
    named = ratios.get(instance.type) or ratios.get(instance.architecture)
    if named is not None:
        ratio, spread = named
    elif instance.architecture != "x86":
        return None
    elif service.tag == "measured" and service.hardware != instance.type:
        ratio, spread = UNMEASURED_RATIO
    wanted = cores_of(service)
    if instance.cores < wanted:
        ratio, spread = ratio * wanted / instance.cores, math.hypot(spread, SMALLEST_RATIO_SPREAD)
    by_cores = max(1, math.floor(instance.cores / wanted + 1e-9))
    by_memory = math.floor(instance.memory_gib * GIB * MEMORY_SHARE / max(service.memory_bytes, 1))
    here = service if (ratio, spread) == (1.0, 0.0) else service.on(instance.type, ratio=ratio, spread=spread)
    reason = None
    if by_memory < 1:
        reason = Reason(
            "memory",
            f"one worker takes {service.memory_bytes / GIB:.1f} GiB, and {instance.type} leaves "
            f"{instance.memory_gib * MEMORY_SHARE:.1f}",
        )
    return Fit(instance, service, here, ratio, max(1, min(by_cores, by_memory)), baseline_of(instance), reason)


def _on_gpu(service: ServiceModel, instance: Instance, ratios: Mapping[str, tuple[float, float]]) -> Fit | None:
    ratio, spread = 1.0, 0.0
    named = ratios.get(instance.type) or ratios.get(instance.accelerator)
    if named is not None:
        ratio, spread = named
    elif instance.accelerator != service.accelerator:
        return None
    elif instance.accelerators < 1:  # a share of a card takes as many times longer as it is smaller
        ratio, spread = 1 / instance.accelerators, SHARED_SPREAD
    here = service if (ratio, spread) == (1.0, 0.0) else service.on(instance.type, ratio=ratio, spread=spread)
    reason = None
    room = instance.accelerator_memory_gib * GIB * GPU_MEMORY_SHARE
    if room and service.memory_bytes > room:
        reason = Reason(
            "memory",
            f"the model takes {service.memory_bytes / GIB:.1f} GiB, and {instance.accelerator} leaves {room / GIB:.1f}",
        )
    elif instance.vcpus < service.vcpus:
        reason = Reason(
            "vcpus", f"preparing the rows takes {service.vcpus:g} vCPUs, and {instance.type} has {instance.vcpus:g}"
        )
    return Fit(instance, service, here, ratio, max(1, math.floor(instance.accelerators)), 1.0, reason)
