"""The parity gate: a compiled form is kept only if it answers as the native form does.

Compared are the golden rows and recombinations of them (each column shuffled for itself), which reach many more
paths of a tree than the rows alone. Passing means: every class label is equal, every probability within 1e-5, every
number within 1e-5 of its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.columns import ModelInput
    from loopwright.registry.rows import Rows

TOLERANCE = 1e-5
RECOMBINED = 1024
"""Rows made by shuffling each column of the golden rows for itself."""


@dataclass(frozen=True)
class Parity:
    """Hold the outcome of one comparison.

    Attributes:
        rows: How many rows were compared.
        labels_changed: How many rows have another class label.
        largest_difference: Of a probability (absolute), or of a number (relative to its size, or to the mean size of
            all numbers where it is smaller than that).
    """

    rows: int
    labels_changed: int
    largest_difference: float

    @property
    def holds(self) -> bool:
        """Say whether the compiled form may stand in for the native one."""
        return self.rows > 0 and self.labels_changed == 0 and self.largest_difference <= TOLERANCE

    def __str__(self) -> str:
        if self.rows == 0:
            return "no golden row has all of its text columns filled, so nothing could be compared"
        if self.labels_changed:
            return f"{self.labels_changed} of {self.rows} rows got another class"
        return f"the answers to {self.rows} rows differ by up to {self.largest_difference:.2g} (allowed: {TOLERANCE:g})"


class Answers(Protocol):
    """A form of a model."""

    def predict(self, rows: Rows) -> Outputs:
        """Answer n rows."""


class Carrier(Answers, Protocol):
    """A form that may not take every row."""

    def carries(self, rows: Rows) -> NDArray[np.bool_]:
        """Say row by row whether it can answer it, shape (n,)."""


def hold_against(native: Answers, other: Carrier, rows: ModelInput) -> Parity:
    """Compare two forms on rows and recombinations of them, where the other one takes them."""
    found = []
    for part in (rows, recombined(rows)):
        carried = part[other.carries(part)]
        if len(carried):
            found.append(compare(native.predict(carried), other.predict(carried)))
    return pooled(found)


def compare(native: Outputs, compiled: Outputs) -> Parity:
    """Compare two answers to the same rows, row by row."""
    if native.kind == "regression":
        expected = native.values.astype(np.float64)
        found = compiled.values.astype(np.float64)
        size = np.maximum(np.abs(expected), np.abs(expected).mean())
        size = np.where(size > 0, size, 1.0)
        return Parity(len(native), 0, _largest(np.abs(found - expected) / size))
    changed = int(np.sum(native.values != compiled.values))
    if native.probabilities is None or compiled.probabilities is None:
        return Parity(len(native), changed, 0.0)
    return Parity(len(native), changed, _largest(np.abs(native.probabilities - compiled.probabilities)))


def pooled(parts: list[Parity]) -> Parity:
    """Put several comparisons together."""
    return Parity(
        rows=sum(part.rows for part in parts),
        labels_changed=sum(part.labels_changed for part in parts),
        largest_difference=max((part.largest_difference for part in parts), default=0.0),
    )


def recombined(rows: ModelInput, *, count: int = RECOMBINED, seed: int = 0) -> ModelInput:
    """Make `count` rows whose columns are drawn from the given rows, each for itself."""
    random = np.random.default_rng(seed)
    if isinstance(rows, np.ndarray):
        picks = random.integers(0, len(rows), size=(count, *rows.shape[1:]))
        return np.take_along_axis(rows, picks, axis=0)
    import pandas as pd  # noqa: PLC0415 - a server that loads a compiled model never needs it

    columns = [
        rows.iloc[:, [position]].take(random.integers(0, len(rows), size=count)) for position in range(rows.shape[1])
    ]
    return pd.concat([column.reset_index(drop=True) for column in columns], axis=1)


def _largest(differences: NDArray[np.float64]) -> float:
    # A NaN on one side only is a difference without bound; NaN on neither side is the normal case.
    return float("inf") if np.isnan(differences).any() else float(differences.max(initial=0.0))
