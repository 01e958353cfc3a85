"""Areas under ROC curves: variance of one and difference of two on the same rows.

Source: E. DeLong, D. DeLong, D. Clarke-Pearson (1988), Biometrics 44, 837-845, computed by midranks in O(n log n):
X. Sun, W. Xu (2014), IEEE Signal Processing Letters 21, 1389-1393.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.statistics import special
from loopwright.core.statistics.anytime import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class AucComparison:
    """Hold the comparison of two areas on the same rows.

    Attributes:
        auc_first: Area of the first scores.
        auc_second: Area of the second scores.
        difference: `auc_second - auc_first`.
        standard_error: Of the difference.
        z: `difference / standard_error`; zero for identical curves.
        p_value: Two-sided.
        interval: Confidence interval of the difference.
    """

    auc_first: float
    auc_second: float
    difference: float
    standard_error: float
    z: float
    p_value: float
    interval: Interval


def midranks(values: ArrayLike) -> NDArray[np.float64]:
    """Rank values from 1, ties sharing the mean of their ranks; over the last axis.

    >>> midranks([3.0, 1.0, 3.0]).tolist()
    [2.5, 1.0, 2.5]
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 1:
        return np.apply_along_axis(midranks, -1, array)
    ordered = np.sort(array)
    first = np.searchsorted(ordered, array, side="left")
    last = np.searchsorted(ordered, array, side="right")
    ranks: NDArray[np.float64] = (first + last + 1) / 2.0
    return ranks


def auc_covariance(positive: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute areas under the ROC curve and their covariance.

    Args:
        positive: Shape (n,), true for rows of the positive class; both classes must occur.
        scores: Shape (models, n), higher for rows believed positive.

    Returns:
        Areas, shape (models,), and covariance, shape (models, models).
    """
    mask = np.asarray(positive, dtype=bool).ravel()
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    m, n = int(mask.sum()), int((~mask).sum())
    if m == 0 or n == 0:
        raise ValueError(f"an area under the ROC curve needs both classes; got {m} positive and {n} negative rows")
    if table.shape[1] != len(mask):
        raise ValueError(f"{len(mask)} labels and {table.shape[1]} scores do not pair up")
    all_ranks = midranks(table)
    placed_positive = (all_ranks[:, mask] - midranks(table[:, mask])) / n
    placed_negative = 1.0 - (all_ranks[:, ~mask] - midranks(table[:, ~mask])) / m
    areas = placed_positive.mean(axis=1)
    covariance = np.zeros((len(table), len(table)))
    if m > 1:
        covariance += np.atleast_2d(np.cov(placed_positive)) / m
    if n > 1:
        covariance += np.atleast_2d(np.cov(placed_negative)) / n
    return areas, covariance


def auc(positive: ArrayLike, scores: ArrayLike) -> float:
    """Compute the area under the ROC curve: the chance that a positive row outranks a negative one, ties half.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    areas, _ = auc_covariance(positive, scores)
    return float(areas[0])


def auc_interval(positive: ArrayLike, scores: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Bound the area under the ROC curve, clipped to [0, 1]."""
    areas, covariance = auc_covariance(positive, scores)
    half = float(special.ndtri(0.5 + confidence / 2.0)) * math.sqrt(max(float(covariance[0, 0]), 0.0))
    return Interval(max(0.0, float(areas[0]) - half), min(1.0, float(areas[0]) + half))


def compare_auc(positive: ArrayLike, first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> AucComparison:
    """Compare the areas of two models that scored the same rows.

    Args:
        positive: Shape (n,).
        first: Shape (n,), scores of the first model.
        second: Shape (n,), scores of the second.
        confidence: Of the interval of the difference.
    """
    areas, covariance = auc_covariance(positive, np.vstack([np.asarray(first), np.asarray(second)]))
    difference = float(areas[1] - areas[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    error = math.sqrt(max(variance, 0.0))
    # Below rounding of the covariances the curves are the same curve.
    if error < 1e-12:
        same = abs(difference) < 1e-12
        z = 0.0 if same else math.copysign(math.inf, difference)
        p = 1.0 if same else 0.0
        return AucComparison(float(areas[0]), float(areas[1]), difference, 0.0, z, p, Interval(difference, difference))
    z = difference / error
    half = float(special.ndtri(0.5 + confidence / 2.0)) * error
    return AucComparison(
        auc_first=float(areas[0]),
        auc_second=float(areas[1]),
        difference=difference,
        standard_error=error,
        z=z,
        p_value=float(2.0 * special.ndtr(-abs(z))),
        interval=Interval(difference - half, difference + half),
    )
