"""The measures behind the leakage check: arrays in, numbers out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

BINS = 64  # cells into which a numeric feature is cut
MOST_COLUMNS = 40  # numeric columns among which triples are looked for
IDENTITY_SHARE = 1.0 - 1e-6
SHIFTS = (1, 2, 3)
_COPY_SHARE = 0.999
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
_FEWEST_ROWS = 50


def floats_of(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return numbers, truth values and times as floats, NaN where missing; None for any other type."""
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return None
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        return None
    values: NDArray[np.float64] = np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return one code per value, from 0; -1 where missing."""
    kind = column.type
    if pa.types.is_nested(kind):
        return np.full(len(column), -1, dtype=np.int64)
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    indices = pc.dictionary_encode(column.combine_chunks()).indices
    codes: NDArray[np.int64] = pc.fill_null(indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return codes


def explained_number(
    feature: NDArray[np.float64] | NDArray[np.int64], goal: NDArray[np.float64], *, by_value: bool
) -> float:
    """Return the R² of the mean target per bin, learned on one half of the rows and judged on the other.

    A cell that no row taught predicts the overall mean. ``by_value`` takes each code as a cell of its own; numbers are
    cut at quantiles, and a straight line through the whole is tried as well, since it follows a smooth feature exactly.
    """
    cells, count = _cells(feature, by_value=by_value)
    learn = _half(len(goal))
    judge = ~learn
    mean = float(goal[learn].mean())
    spread = float(((goal[judge] - mean) ** 2).sum())
    if spread <= 0:
        return 0.0
    rows = np.bincount(cells[learn], minlength=count)
    sums = np.bincount(cells[learn], weights=goal[learn] - mean, minlength=count)
    found = np.where(rows > 0, sums / np.maximum(rows, 1), 0.0) + mean
    best = 1.0 - float(((goal[judge] - found[cells[judge]]) ** 2).sum()) / spread
    if not by_value:
        best = max(best, _line(np.asarray(feature, dtype=np.float64), goal))
    return max(0.0, best)


def explained_classes(
    feature: NDArray[np.float64] | NDArray[np.int64], goal: NDArray[np.int64], *, by_value: bool
) -> float:
    """Return Theil's U: one less the cross-entropy of the classes per bin over that without the feature.

    Learned on one half of the rows, with one row of the overall shares added to each cell, and judged on the other.
    """
    cells, count = _cells(feature, by_value=by_value)
    classes = int(goal.max()) + 1
    learn = _half(len(goal))
    judge = ~learn
    overall = np.bincount(goal[learn], minlength=classes) + 0.5
    overall = overall / overall.sum()
    table = np.bincount(cells[learn] * classes + goal[learn], minlength=count * classes).reshape(count, classes)
    shares = (table + overall) / (table.sum(axis=1, keepdims=True) + 1.0)
    without = -float(np.log(overall[goal[judge]]).mean())
    if without <= 1e-12:
        return 0.0
    within = -float(np.log(shares[cells[judge], goal[judge]]).mean())
    return max(0.0, 1.0 - within / without)


def linear_identities(
    columns: Mapping[str, NDArray[np.float64]], goal: NDArray[np.float64]
) -> Iterator[tuple[tuple[str, ...], str, float]]:
    """Yield the pairs, and the triples without such a pair, whose linear combination is the target.

    Gives their names, the sum as text, and R². R² of all pairs and triples comes from the correlations alone, as
    ``r' C⁻¹ r``; what comes near 1 is fitted on the rows.
    """
    names = [name for name, values in columns.items() if _varies(values) and np.isfinite(values).mean() > 0.9]
    whole = np.isfinite(goal)
    for name in names:
        whole &= np.isfinite(columns[name])
    if whole.sum() < _FEWEST_ROWS or len(names) < 2:
        return
    data = np.stack([columns[name][whole] for name in names])
    target = goal[whole]
    spread = data.std(axis=1)
    if target.std() == 0:
        return
    keep = spread > 0
    names = [name for name, kept in zip(names, keep, strict=True) if kept]
    data = data[keep]
    scaled = (data - data.mean(axis=1, keepdims=True)) / data.std(axis=1, keepdims=True)
    aim = (target - target.mean()) / target.std()
    rows = len(aim)
    with_goal = scaled @ aim / rows
    if len(names) > MOST_COLUMNS:
        strongest = np.sort(np.argsort(-np.abs(with_goal))[:MOST_COLUMNS])
        names = [names[i] for i in strongest]
        data, scaled, with_goal = data[strongest], scaled[strongest], with_goal[strongest]
    among = scaled @ scaled.T / rows
    told: list[set[int]] = []
    for size in (2, 3):
        groups = np.array(list(itertools.combinations(range(len(names)), size)), dtype=np.intp).reshape(-1, size)
        if not len(groups):
            continue
        matrices = among[groups[:, :, None], groups[:, None, :]] + 1e-12 * np.eye(size)
        sides = with_goal[groups]
        solved = np.linalg.solve(matrices, sides[:, :, None])[:, :, 0]
        shares = (solved * sides).sum(axis=1)
        for place in np.flatnonzero(shares >= IDENTITY_SHARE - 1e-7):
            group = groups[place]
            members = {int(i) for i in group}
            if any(part <= members for part in told):
                continue
            fitted = _fitted(data[group], target)
            if fitted is None:
                continue
            told.append(members)
            chosen = tuple(names[i] for i in group)
            factors, rest, share = fitted
            yield chosen, _sum(chosen, factors, rest), share


def shifted_copy(
    values: NDArray[np.float64], goal: NDArray[np.float64], entity: NDArray[np.int64]
) -> tuple[int, float] | None:
    """Return by how many rows the feature runs ahead of the target, and how exactly; None where it does not.

    A feature that follows the row's own target, or an earlier one, as closely is no copy of a later one.
    """
    own = _copies(values, goal, entity, 0)
    ahead = [(_copies(values, goal, entity, shift), shift) for shift in SHIFTS]
    behind = max(_copies(goal, values, entity, shift) for shift in SHIFTS)
    best, shift = max(ahead)
    if best < _COPY_SHARE or best <= max(own, behind):
        return None
    return shift, best


def _copies(values: NDArray[np.float64], goal: NDArray[np.float64], entity: NDArray[np.int64], shift: int) -> float:
    end = len(values) - shift
    same = entity[:end] == entity[shift:]
    a, b = values[:end][same], goal[shift:][same]
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if len(a) < _FEWEST_ROWS or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1] ** 2)


def _half(rows: int) -> NDArray[np.bool_]:
    """Draw one half of the rows, always the same one; every other row would fall in with data that alternate."""
    return np.random.default_rng(0).permutation(rows) < rows // 2


def _cells(feature: NDArray[np.float64] | NDArray[np.int64], *, by_value: bool) -> tuple[NDArray[np.int64], int]:
    """Return a cell per row, the last one for missing values: a value may be missing because of the target."""
    if by_value:
        codes = np.asarray(feature, dtype=np.int64)
        count = int(codes.max(initial=-1)) + 2
        return np.where(codes < 0, count - 1, codes), count
    numbers = np.asarray(feature, dtype=np.float64)
    there = np.isfinite(numbers)
    if not there.any():
        return np.zeros(len(numbers), dtype=np.int64), 1
    distinct = np.unique(numbers[there])
    cuts = distinct if len(distinct) <= BINS else np.unique(np.quantile(numbers[there], np.linspace(0, 1, BINS + 1)))
    cells = np.searchsorted(cuts, np.where(there, numbers, cuts[0]), side="right").astype(np.int64)
    count = len(cuts) + 2
    return np.where(there, cells, count - 1), count


def _line(feature: NDArray[np.float64], goal: NDArray[np.float64]) -> float:
    both = np.isfinite(feature)
    if both.sum() < 0.9 * len(feature):
        return 0.0
    x, y = feature[both], goal[both]
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def _varies(values: NDArray[np.float64]) -> bool:
    there = values[np.isfinite(values)]
    return len(there) > 0 and bool(there.min() < there.max())


def _fitted(data: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float] | None:
    """Fit the target on the columns; None unless each has a part in it and almost nothing is left over."""
    centre = data.mean(axis=1, keepdims=True)
    moved, aim = (data - centre).T, target - target.mean()
    factors = np.linalg.lstsq(moved, aim, rcond=None)[0]
    left = aim - moved @ factors
    share = 1.0 - float((left @ left) / (aim @ aim))
    parts = np.abs(factors) * data.std(axis=1) / target.std()
    if share < IDENTITY_SHARE or bool((parts < 0.01).any()):
        return None
    near = np.round(factors)
    factors = np.where(np.abs(factors - near) < 1e-3, near, factors)
    return factors, float(target.mean() - (factors @ centre)[0]), min(share, 1.0)


def _sum(names: tuple[str, ...], factors: NDArray[np.float64], rest: float) -> str:
    text = ""
    for name, factor in sorted(zip(names, factors.tolist(), strict=True), key=lambda part: part[1] < 0):
        sign = ("-" if factor < 0 else "") if not text else (" - " if factor < 0 else " + ")
        size = abs(factor)
        text += sign + (name if size == 1 else f"{size:.6g} * {name}")
    if abs(rest) > 1e-6 * max(1.0, float(np.abs(factors).max())):
        text += f" {'-' if rest < 0 else '+'} {abs(rest):.6g}"
    return text
