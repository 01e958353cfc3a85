"""Confidence intervals by resampling rows, for any metric.

Rows are drawn with replacement, or whole clusters of rows (all orders of a courier, all rows of a day) where rows
within a cluster depend on each other. A resample is a vector of weights (how often each row was drawn), so a metric
that is a mean of per-row losses is one matrix product for a thousand resamples. Pairing needs nothing of its own: the
statistic is a function of rows, and the same rows serve both models.

Source: B. Efron (1987), Better bootstrap confidence intervals, JASA 82, 171-185.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from loopwright.core.statistics import special
from loopwright.core.statistics.anytime import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

Method: TypeAlias = Literal["percentile", "bca"]

DEFAULT_RESAMPLES = 2000
_BLOCK_WEIGHTS = 4_000_000  # weights held at once, 32 MB
_JACKKNIFE_GROUPS = 200  # groups of rows left out in turn for the acceleration, where no closed form is given


def resample_weights(
    rows: int, *, resamples: int, seed: int, clusters: ArrayLike | None = None
) -> Iterator[NDArray[np.float64]]:
    """Draw resamples as weights, in blocks of shape (some, rows) that together hold `resamples` of them.

    Args:
        rows: Number of rows, at least 1.
        resamples: How many resamples to draw.
        seed: Same seed, same resamples.
        clusters: Shape (rows,): rows with equal values are drawn together.

    >>> [block.sum(axis=1).tolist() for block in resample_weights(3, resamples=2, seed=0)]
    [[3.0, 3.0]]
    """
    if rows < 1:
        raise ValueError("a resample needs at least one row")
    rng = np.random.default_rng(seed)
    if clusters is None:
        units, of_row = rows, None
    else:
        _, of_row = np.unique(np.asarray(clusters), return_inverse=True)
        if len(of_row) != rows:
            raise ValueError(f"{len(of_row)} cluster labels for {rows} rows; give one per row")
        units = int(of_row.max()) + 1
    block = max(1, _BLOCK_WEIGHTS // rows)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, units, size=(size, units), dtype=np.int32 if units < 2**31 else np.int64)
        drawn += (np.arange(size, dtype=drawn.dtype) * units)[:, None] if size * units < 2**31 else 0
        if size * units < 2**31:
            counts = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
        else:
            counts = np.stack([np.bincount(row, minlength=units) for row in drawn])
        weights = counts.astype(np.float64)
        yield weights if of_row is None else weights[:, of_row]


def resampled_mean(
    values: ArrayLike, *, resamples: int, seed: int, clusters: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Compute the mean of each resample, shape (resamples,), for values of shape (n,)."""
    array = np.asarray(values, dtype=np.float64)
    parts = [
        (weights @ array) / weights.sum(axis=1)
        for weights in resample_weights(len(array), resamples=resamples, seed=seed, clusters=clusters)
    ]
    return np.concatenate(parts)


def interval_from(
    resampled: ArrayLike,
    *,
    estimate: float,
    confidence: float = 0.95,
    method: Method = "percentile",
    acceleration: float = 0.0,
) -> Interval:
    """Turn resampled statistics into an interval.

    BCa shifts the quantiles by the median bias and the acceleration; with neither it is the percentile interval.

    Args:
        resampled: Shape (resamples,); resamples on which the statistic is undefined (NaN) are left out.
        estimate: The statistic on the rows themselves.
        confidence: Nominal coverage.
        method: "percentile" or "bca".
        acceleration: Of BCa, see `acceleration_of`.

    >>> interval = interval_from(list(range(101)), estimate=50.0, confidence=0.9)
    >>> round(interval.low, 9), round(interval.high, 9)
    (5.0, 95.0)
    """
    draws = np.asarray(resampled, dtype=np.float64)
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0:
        return Interval(float("nan"), float("nan"))
    tail = (1.0 - confidence) / 2.0
    levels = np.array([tail, 1.0 - tail])
    if method == "bca":
        below = (np.count_nonzero(draws < estimate) + 0.5 * np.count_nonzero(draws == estimate)) / len(draws)
        # All draws on one side leave the bias unbounded; half a draw keeps it finite.
        bias = special.ndtri(np.clip(below, 0.5 / len(draws), 1.0 - 0.5 / len(draws)))
        z = special.ndtri(levels)
        levels = special.ndtr(bias + (bias + z) / (1.0 - acceleration * (bias + z)))
    low, high = np.quantile(draws, levels)
    return Interval(float(low), float(high))


def acceleration_of(left_out: ArrayLike) -> float:
    """Compute BCa's acceleration from the statistic with each row (or group) left out in turn.

    `sum d^3 / (6 (sum d^2)^1.5)` with d the mean less the value (Efron 1987, eq. 6.6).

    >>> acceleration_of([1.0, 2.0, 3.0])
    0.0
    """
    values = np.asarray(left_out, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return 0.0
    d = values.mean() - values
    spread = float((d**2).sum())
    return float((d**3).sum() / (6.0 * spread**1.5)) if spread > 0 else 0.0


def bootstrap_interval(
    statistic: Callable[[NDArray[np.intp]], float],
    rows: int,
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    method: Method = "bca",
    clusters: ArrayLike | None = None,
) -> Interval:
    """Bound any statistic of rows.

    Args:
        statistic: From row indices (with repeats) to a number; NaN where it is undefined, a resample of one class.
        rows: Number of rows.
        seed: Same seed, same interval.
        confidence: Nominal coverage.
        resamples: Number of resamples.
        method: "bca" (second-order correct) or "percentile".
        clusters: Shape (rows,): rows with equal values are drawn together.

    >>> values = np.arange(100.0)
    >>> interval = bootstrap_interval(lambda index: float(values[index].mean()), 100, seed=0)
    >>> 43 < interval.low < 45 < 54 < interval.high < 56
    True
    """
    index = np.arange(rows)
    draws = [
        statistic(np.repeat(index, weight.astype(np.intp)))
        for block in resample_weights(rows, resamples=resamples, seed=seed, clusters=clusters)
        for weight in block
    ]
    acceleration = 0.0
    if method == "bca":
        groups = _groups(rows, clusters)
        acceleration = acceleration_of([statistic(index[groups != group]) for group in range(int(groups.max()) + 1)])
    return interval_from(
        draws, estimate=statistic(index), confidence=confidence, method=method, acceleration=acceleration
    )


def mean_interval(
    values: ArrayLike,
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    method: Method = "bca",
    clusters: ArrayLike | None = None,
) -> Interval:
    """Bound a mean of per-row values: the quick form of `bootstrap_interval`.

    >>> interval = mean_interval(np.arange(100.0), seed=0)
    >>> 43 < interval.low < 45 < 54 < interval.high < 56
    True
    """
    array = np.asarray(values, dtype=np.float64)
    draws = resampled_mean(array, resamples=resamples, seed=seed, clusters=clusters)
    acceleration = 0.0
    if method == "bca":
        groups = _groups(len(array), clusters)
        sums, sizes = np.bincount(groups, weights=array), np.bincount(groups)
        if len(sums) > 1:
            acceleration = acceleration_of((array.sum() - sums) / (len(array) - sizes))
    return interval_from(
        draws, estimate=float(array.mean()), confidence=confidence, method=method, acceleration=acceleration
    )


def _groups(rows: int, clusters: ArrayLike | None) -> NDArray[np.intp]:
    """Number the groups that are left out in turn: clusters, or interleaved groups of rows."""
    if clusters is not None:
        _, of_row = np.unique(np.asarray(clusters), return_inverse=True)
        return of_row % _JACKKNIFE_GROUPS
    return np.arange(rows) % min(rows, _JACKKNIFE_GROUPS)
