"""Slices: the same metric on parts of the rows, and how much worse each is than the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from loopwright.core.statistics.binning import freeze_category, freeze_numeric
from loopwright.evaluation.estimate import Estimate
from loopwright.evaluation.resampling import paired_draws

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from loopwright.evaluation.metrics import Metric
    from loopwright.evaluation.outputs import Outputs

QUANTILE_BINS = 5  # slices of a numeric column with many values
FEW_VALUES = 10  # a numeric column with at most so many values is sliced by value
MOST_SLICES = 50  # of a category column; the rest share the slice "other"


@dataclass(frozen=True)
class SliceResult:
    """Say how one metric does on one slice.

    Attributes:
        column: The column sliced by.
        label: The slice: a category, a range of numbers, "other" or "missing".
        metric: Name of the metric.
        rows: Rows of the slice.
        estimate: The metric on the slice; None under the fewest rows asked.
        excess: How much worse than on all rows, as a share of that value; positive is worse. None as above, or where
            the value on all rows is zero.
    """

    column: str
    label: str
    metric: str
    rows: int
    estimate: Estimate | None
    excess: Estimate | None

    def to_json(self) -> dict[str, object]:
        """Write the slice as plain JSON values."""
        return {
            "column": self.column,
            "label": self.label,
            "metric": self.metric,
            "rows": self.rows,
            "estimate": None if self.estimate is None else self.estimate.to_json(),
            "excess": None if self.excess is None else self.excess.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> SliceResult:
        """Read what `to_json` wrote."""
        estimate, excess = (cast("dict[str, object] | None", data[key]) for key in ("estimate", "excess"))
        return cls(
            column=str(data["column"]),
            label=str(data["label"]),
            metric=str(data["metric"]),
            rows=cast("int", data["rows"]),
            estimate=None if estimate is None else Estimate.from_json(estimate),
            excess=None if excess is None else Estimate.from_json(excess),
        )


def slice_masks(values: Sequence[object] | NDArray[np.generic]) -> dict[str, NDArray[np.bool_]]:
    """Cut rows into named slices: one per category, or per quantile bin of numbers; empty slices are left out.

    >>> {name: int(mask.sum()) for name, mask in slice_masks(["a", "b", "a", None]).items()}
    {'a': 2, 'b': 1, 'missing': 1}
    >>> list(slice_masks([0, 1, None, 2.5]))
    ['0', '1', '2.5', 'missing']
    """
    array = np.asarray(values)
    if array.dtype.kind == "O":
        present = [value for value in array.tolist() if value is not None]
        numeric = bool(present) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
        if numeric:
            array = np.array([np.nan if v is None else v for v in array.tolist()], dtype=np.float64)
    if array.dtype.kind in "iuf" and len(np.unique(array[np.isfinite(array)])) > FEW_VALUES:
        bins = freeze_numeric(array, bins=QUANTILE_BINS)
        index = bins.index(array)
        return {name: index == i for i, name in enumerate(bins.cells) if np.any(index == i)}
    missing = np.array([value is None or value != value for value in array.tolist()], dtype=bool)
    names = np.array([_name(value) for value in array.tolist()], dtype=np.str_)
    kept = freeze_category([None if gone else name for name, gone in zip(names, missing, strict=True)], top=MOST_SLICES)
    masks = {name: (names == name) & ~missing for name in kept.categories}
    other = ~missing & ~np.isin(names, kept.categories)
    for name, mask in (("other", other), ("missing", missing)):
        if mask.any():
            masks[name] = mask | masks[name] if name in masks else mask
    return masks


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def evaluate_slices(
    metric: Metric,
    y: NDArray[np.generic],
    outputs: Outputs,
    column: str,
    values: Sequence[object] | NDArray[np.generic],
    *,
    seed: int,
    resamples: int,
    min_rows: int,
    clusters: NDArray[np.generic] | None = None,
) -> tuple[SliceResult, ...]:
    """Compute a metric on every slice of a column, with its excess over all rows, by one paired bootstrap.

    Args:
        metric: What to compute.
        y: Shape (n,), true values.
        outputs: The model's answers to the same rows.
        column: Name of the column, for the results.
        values: Shape (n,), its values.
        seed: Same seed, same results.
        resamples: Number of bootstrap resamples.
        min_rows: Rows a slice needs to be computed.
        clusters: Shape (n,): rows with equal values are drawn together.
    """
    whole = metric.form(y, outputs)
    masks = slice_masks(values)
    judged = {name: mask for name, mask in masks.items() if int(mask.sum()) >= min_rows}
    draws = paired_draws(
        [(whole, None), *((whole.take(mask), mask) for mask in judged.values())],
        seed=seed,
        resamples=resamples,
        clusters=clusters,
    )
    worse = -1.0 if metric.greater_is_better else 1.0
    results = []
    for name, mask in masks.items():
        rows = int(mask.sum())
        if name not in judged:
            results.append(SliceResult(column, name, metric.name, rows, None, None))
            continue
        part = draws[1 + list(judged).index(name)]
        estimate = part.estimate(rows=rows)
        excess = None
        if draws[0].value != 0.0:
            share = draws[0].compare(part, lambda base, here: worse * (here - base) / np.abs(base))
            excess = share.estimate(rows=rows)
        results.append(SliceResult(column, name, metric.name, rows, estimate, excess))
    return tuple(results)
