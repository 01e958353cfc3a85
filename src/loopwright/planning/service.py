"""How long the model takes: what a profile measured, or what is assumed until one did.

A service model belongs to one kind of hardware. It is carried over to other hardware only by an explicit ratio with its
uncertainty, and is marked as extrapolated from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.planning.simulation import lognormal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.planning.assumption import Tag
    from loopwright.planning.batching import BatchTime

Kind = Literal["cpu", "gpu"]
SMALLEST_RATIO_SPREAD = 0.15
_DRAWN = 4096


@dataclass(frozen=True)
class ServiceModel:
    """How one form of a model answers on one kind of machine.

    Attributes:
        name: The form, such as ``fp32`` or ``int8``.
        hardware: The machine it was measured on, or that the assumption is about, in words.
        kind: ``cpu`` or ``gpu``.
        vcpus: How many vCPUs one server (a worker with its threads) takes; on a GPU those of the whole node.
        mean_s: The mean service time of one request, decoding included, in seconds.
        cv2: Its squared coefficient of variation.
        tag: How it is known.
        samples_s: The measured times; empty where only the moments are known.
        batch: The time of a batch, for a model that takes several rows at once; None for one row at a time.
        largest_batch: The most rows of a batch.
        memory_bytes: Of one server.
        load_s: From the start of a process to ready.
        artifact_bytes: Of the model file.
        accelerator: The GPU's name, as in the price table; empty for a CPU.
        ratio_spread: The standard deviation of the logarithm of the ratio that carried it over; 0 where it was not.
    """

    name: str
    hardware: str
    kind: Kind
    vcpus: float
    mean_s: float
    cv2: float
    tag: Tag
    samples_s: tuple[float, ...] = ()
    batch: BatchTime | None = None
    largest_batch: int = 1
    memory_bytes: int = 0
    load_s: float = 5.0
    artifact_bytes: int = 0
    accelerator: str = ""
    ratio_spread: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.mean_s < 3600 and self.cv2 >= 0 and self.vcpus > 0 and self.largest_batch >= 1):
            raise DeclarationError(
                f"The service model '{self.name}' cannot be: mean {self.mean_s:g} s, cv² {self.cv2:g}, "
                f"{self.vcpus:g} vCPUs, batches of {self.largest_batch}.",
                hint="A service time is more than 0; measure it on the real model.",
            )
        if self.largest_batch > 1 and self.batch is None:
            raise DeclarationError(f"The service model '{self.name}' batches, and the time of a batch is not known.")

    @property
    def is_extrapolated(self) -> bool:
        """Whether it was carried over from other hardware."""
        return self.ratio_spread > 0

    @property
    def capacity_rps(self) -> float:
        """The requests per second of one server that is never idle."""
        return 1 / self.mean_s if self.batch is None else self.batch.capacity(self.largest_batch)

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return service times: the measured ones drawn again, or lognormal ones with these moments."""
        if self.samples_s:
            return rng.choice(np.asarray(self.samples_s), count)
        return lognormal(self.mean_s, self.cv2, count, rng)

    def on(self, hardware: str, *, ratio: float, spread: float, vcpus: float | None = None) -> ServiceModel:
        """Return the model on other hardware.

        Args:
            hardware: What it is carried over to.
            ratio: How much longer it takes there; 0.8 is faster.
            spread: The standard deviation of the ratio's logarithm, at least 0.15.
            vcpus: How many vCPUs one server takes there.

        Raises:
            DeclarationError: If the ratio is not positive, or claims to be surer than it can be.
        """
        if ratio <= 0 or spread < SMALLEST_RATIO_SPREAD:
            raise DeclarationError(
                f"A service time cannot be carried over by a ratio of {ratio:g} with a spread of {spread:g}.",
                hint=f"Give a ratio above 0 and a spread of at least {SMALLEST_RATIO_SPREAD}, or measure it there.",
            )
        batch = self.batch
        if batch is not None:
            batch = replace(batch, fixed_s=batch.fixed_s * ratio, per_row_s=batch.per_row_s * ratio)
        return replace(
            self,
            hardware=hardware,
            vcpus=self.vcpus if vcpus is None else vcpus,
            mean_s=self.mean_s * ratio,
            samples_s=tuple(value * ratio for value in self.samples_s),
            batch=batch,
            ratio_spread=float(np.hypot(self.ratio_spread, spread)),
        )


def measured(name: str, hardware: str, samples_s: tuple[float, ...], *, vcpus: float, **more: object) -> ServiceModel:
    """Return the model of measured times.

    Raises:
        DeclarationError: If there are fewer than 30: too few for a tail.

    >>> measured("native", "this machine", (0.01, 0.02) * 20, vcpus=1).mean_s
    0.015
    """
    if len(samples_s) < 30 or min(samples_s) <= 0:
        raise DeclarationError(
            f"{len(samples_s)} measured times say nothing of a 99th percentile.",
            hint="Measure at least 30, all above 0.",
        )
    values = np.asarray(samples_s)
    mean = float(values.mean())
    return ServiceModel(
        name,
        hardware,
        "cpu",
        vcpus,
        round(mean, 12),
        float(values.var() / mean**2),
        "measured",
        samples_s,
        **more,  # type: ignore[arg-type]
    )


def spread_of_mean(service: ServiceModel, *, rng: np.random.Generator, draws: int = 400) -> float:
    """Return how sure the mean is: the standard deviation of its logarithm, by the bootstrap; at least 0.05.

    Source: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979). What was
    carried over from other hardware has the ratio's spread on top; what is assumed has 0.15 at least.
    """
    if service.samples_s:
        values = np.asarray(service.samples_s[:_DRAWN])
        means = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
        own = max(0.05, float(np.log(means).std()))
    else:
        own = 0.15
    return float(np.hypot(own, service.ratio_spread))
