"""Frozen bins: the cut points a feature got at reference time, and exact counts on them.

Counts on the same bins add up cell by cell, so counts of hours make the counts of a day without looking at a value
again. Decisions about drift read counts, never sketches.

Cells of numeric bins: underflow, one per bin, overflow, missing. Cells of category bins: one per kept category,
other, missing. The layout is part of the contract: `cells` names them in order.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

DEFAULT_BINS = 20  # equal-count bins of a numeric feature at reference time
DEFAULT_TOP = 50  # categories kept by name; the others share one cell


@dataclass(frozen=True)
class NumericBins:
    """Count numbers between frozen cut points.

    Attributes:
        edges: Strictly increasing: reference minimum, inner cut points, reference maximum. A value falls in the bin
            `edges[i] <= value < edges[i + 1]`; the last bin includes the reference maximum.

    >>> bins = NumericBins((0.0, 1.0, 2.0))
    >>> bins.cells
    ('< 0', '[0, 1)', '[1, 2]', '> 2', 'missing')
    >>> bins.count([-1.0, 0.0, 0.5, 1.0, 2.0, 7.0, float("nan")]).tolist()
    [1, 2, 2, 1, 1]
    """

    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges, dtype=np.float64)
        if len(edges) < 1 or not np.all(np.isfinite(edges)) or np.any(edges[1:] <= edges[:-1]):
            raise ValueError(f"edges must be finite and strictly increasing, got {self.edges}")

    @property
    def cells(self) -> tuple[str, ...]:
        """Name the cells, in the order of the counts."""
        shown = [f"{edge:.6g}" for edge in self.edges]
        if len(shown) == 1:
            inner = [f"= {shown[0]}"]
        else:
            inner = [f"[{low}, {high})" for low, high in itertools.pairwise(shown)]
            inner[-1] = inner[-1][:-1] + "]"
        return (f"< {shown[0]}", *inner, f"> {shown[-1]}", "missing")

    @cached_property
    def _cuts(self) -> NDArray[np.float64]:
        # The last cut moves up by one float, so that the reference maximum itself lies inside the last bin.
        cuts = np.asarray(self.edges, dtype=np.float64)
        last = np.nextafter(cuts[-1], np.inf)
        return np.append(cuts, last) if len(cuts) == 1 else np.append(cuts[:-1], last)

    def index(self, values: ArrayLike) -> NDArray[np.intp]:
        """Give the cell of each value, shape (n,)."""
        numbers = np.asarray(values, dtype=np.float64).ravel()
        cell: NDArray[np.intp] = np.searchsorted(self._cuts, numbers, side="right")
        cell[np.isnan(numbers)] = len(self._cuts) + 1
        return cell

    def count(self, values: ArrayLike) -> NDArray[np.int64]:
        """Count the values of each cell, shape (cells,); counts of disjoint parts add up."""
        return np.bincount(self.index(values), minlength=len(self._cuts) + 2).astype(np.int64)

    def to_json(self) -> dict[str, object]:
        """Write the bins as plain JSON values; floats survive exactly."""
        return {"type": "numeric", "edges": list(self.edges)}


@dataclass(frozen=True)
class CategoryBins:
    """Count categories kept by name; everything else falls in `other`.

    >>> bins = CategoryBins(("Bergen", "Oslo"))
    >>> bins.cells
    ('Bergen', 'Oslo', 'other', 'missing')
    >>> bins.count(["Oslo", "Oslo", "Voss", None]).tolist()
    [0, 2, 1, 1]
    """

    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.categories)) != len(self.categories):
            raise ValueError(f"categories must differ from each other, got {self.categories}")

    @property
    def cells(self) -> tuple[str, ...]:
        """Name the cells, in the order of the counts."""
        return (*self.categories, "other", "missing")

    def count(self, values: Sequence[object] | NDArray[np.generic]) -> NDArray[np.int64]:
        """Count the values of each cell, shape (cells,); counts of disjoint parts add up."""
        position = {name: i for i, name in enumerate(self.categories)}
        other, missing = len(self.categories), len(self.categories) + 1
        counts = np.zeros(len(self.categories) + 2, dtype=np.int64)
        for name, rows in _tally(values).items():
            counts[missing if name is None else position.get(name, other)] += rows
        return counts

    def to_json(self) -> dict[str, object]:
        """Write the bins as plain JSON values."""
        return {"type": "category", "categories": list(self.categories)}


Bins: TypeAlias = NumericBins | CategoryBins


def freeze_numeric(values: ArrayLike, *, bins: int = DEFAULT_BINS) -> NumericBins:
    """Cut the reference values into bins of equal count.

    Repeated values make repeated quantiles; those cut points are merged, so a constant feature has one bin and a
    zero-inflated one has fewer than asked.

    Args:
        values: Shape (n,), the reference; NaN and infinities are left out of the cut points.
        bins: Number of bins wanted, at least 1.

    Raises:
        ValueError: When no finite value is left: such a feature has no reference.

    >>> freeze_numeric(range(101), bins=4).edges
    (0.0, 25.0, 50.0, 75.0, 100.0)
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    numbers = np.asarray(values, dtype=np.float64).ravel()
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) == 0:
        raise ValueError("no finite value to cut bins from; give reference rows that have the feature")
    # "higher" takes cut points from the values themselves, so float noise of interpolation cannot move a tie.
    edges = np.unique(np.quantile(numbers, np.linspace(0.0, 1.0, bins + 1), method="higher"))
    return NumericBins(tuple(float(edge) for edge in edges))


def freeze_category(values: Sequence[object] | NDArray[np.generic], *, top: int = DEFAULT_TOP) -> CategoryBins:
    """Keep the `top` most frequent categories of the reference by name, ties in the order of the names.

    >>> freeze_category(["b", "a", "b", None, "c"], top=2).categories
    ('b', 'a')
    """
    tally = [(name, rows) for name, rows in _tally(values).items() if name is not None]
    tally.sort(key=lambda pair: (-pair[1], pair[0]))
    return CategoryBins(tuple(name for name, _ in tally[:top]))


def bins_from_json(data: Mapping[str, object]) -> Bins:
    """Read bins written by `to_json`.

    >>> bins_from_json(NumericBins((0.1, 0.7)).to_json())
    NumericBins(edges=(0.1, 0.7))
    """
    edges, categories = data.get("edges"), data.get("categories")
    if data.get("type") == "numeric" and isinstance(edges, list):
        return NumericBins(tuple(float(edge) for edge in edges))
    if data.get("type") == "category" and isinstance(categories, list):
        return CategoryBins(tuple(str(name) for name in categories))
    raise ValueError(f"bins need type numeric with edges or category with categories, got {dict(data)!r}")


def _tally(values: Sequence[object] | NDArray[np.generic]) -> dict[str | None, int]:
    """Count by name; None and NaN are both missing, and every other value counts under its text."""
    array = np.asarray(values)
    if array.dtype.kind in "OV":
        counted: dict[str | None, int] = {}
        for value in array.ravel().tolist():
            name = None if value is None or value != value else str(value)
            counted[name] = counted.get(name, 0) + 1
        return counted
    unique, rows = np.unique(array.ravel(), return_counts=True)
    counted = {}
    for value, number in zip(unique.tolist(), rows.tolist(), strict=True):
        name = None if isinstance(value, float) and np.isnan(value) else str(value)
        counted[name] = counted.get(name, 0) + int(number)
    return counted
