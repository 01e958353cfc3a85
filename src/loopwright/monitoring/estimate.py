"""How good a classifier probably is while its labels are not there: an estimate, blind to concept drift.

An estimate, and shown as one: it assumes that a confidence of 0.8 still means being right in 80 % of the cases. When
the world changes so that the same input has another label, it sees nothing. So it never opens an incident, pages or
promotes.

Source: confidence-based performance estimation (CBPE), NannyML's documentation; the expected accuracy is the mean
calibrated probability of the answer given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

CAVEAT = "estimated, blind to concept drift"
_FOLDS = 5
_MIN_ROWS = 100


@dataclass(frozen=True)
class Calibration:
    """A monotone map from a model's confidence to its chance of being right; two equal-ended lists of points.

    >>> Calibration((0.0, 1.0), (0.0, 1.0)).chance([0.25]).tolist()
    [0.25]
    """

    confidence: tuple[float, ...]
    chance_right: tuple[float, ...]

    def chance(self, confidence: ArrayLike) -> NDArray[np.float64]:
        """Give the chance of being right for each confidence, shape (n,)."""
        found: NDArray[np.float64] = np.interp(
            np.asarray(confidence, dtype=np.float64), self.confidence, self.chance_right
        )
        return found

    def to_json(self) -> dict[str, list[float]]:
        """Write it as plain JSON values."""
        return {"confidence": list(self.confidence), "chance_right": list(self.chance_right)}

    @classmethod
    def from_json(cls, data: Mapping[str, list[float]]) -> Calibration:
        """Read what `to_json` wrote."""
        return cls(tuple(data["confidence"]), tuple(data["chance_right"]))


IDENTITY = Calibration((0.0, 1.0), (0.0, 1.0))


@dataclass(frozen=True)
class AccuracyEstimate:
    """An estimated accuracy with its sampling error, and what it cannot see."""

    accuracy: float
    low: float
    high: float
    rows: int
    caveat: str = CAVEAT


def calibrate(confidence: ArrayLike, right: ArrayLike) -> Calibration:
    """Learn the map on the holdout: isotonic where that lowers the cross-validated error, else the identity.

    Args:
        confidence: Shape (n,), the probability of the answer given.
        right: Shape (n,), whether the answer was right.

    Source of the isotonic fit: M. Ayer et al. (1955), pool adjacent violators.
    """
    scores, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    kept = np.isfinite(scores) & np.isfinite(hits)
    scores, hits = scores[kept], hits[kept]
    if len(scores) < _MIN_ROWS:
        return IDENTITY
    fold = np.arange(len(scores)) % _FOLDS
    raw = isotonic = 0.0
    for left_out in range(_FOLDS):
        test = fold == left_out
        fitted = _isotonic(scores[~test], hits[~test])
        isotonic += float(((fitted.chance(scores[test]) - hits[test]) ** 2).sum())
        raw += float(((scores[test] - hits[test]) ** 2).sum())
    return _isotonic(scores, hits) if isotonic < raw else IDENTITY


def estimate_accuracy(confidence: ArrayLike, calibration: Calibration) -> AccuracyEstimate | None:
    """Estimate the accuracy on rows without labels; None without rows.

    The band is twice the sampling error of a mean of so many right-or-wrong answers with these chances.

    >>> round(estimate_accuracy([0.9, 0.8, 0.7, 0.6], IDENTITY).accuracy, 2)
    0.75
    """
    scores = np.asarray(confidence, dtype=np.float64)
    scores = scores[np.isfinite(scores)]
    if len(scores) == 0:
        return None
    chance = calibration.chance(scores)
    error = 2.0 * math.sqrt(float((chance * (1.0 - chance)).sum())) / len(scores)
    mean = float(chance.mean())
    return AccuracyEstimate(mean, max(0.0, mean - error), min(1.0, mean + error), len(scores))


def _isotonic(scores: NDArray[np.float64], hits: NDArray[np.float64]) -> Calibration:
    """Pool adjacent violators; ties in the score are one point."""
    points, inverse, weights = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=hits) / weights
    blocks: list[list[float]] = []  # mean, weight, first and last score
    for point, mean, weight in zip(points.tolist(), means.tolist(), weights.tolist(), strict=True):
        blocks.append([mean, float(weight), point, point])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            last = blocks.pop()
            total = blocks[-1][1] + last[1]
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + last[0] * last[1]) / total, total, blocks[-1][2], last[3]]
    xs: list[float] = []
    ys: list[float] = []
    for mean, _, first, last_score in blocks:
        xs += [first] if first == last_score else [first, last_score]
        ys += [mean] if first == last_score else [mean, mean]
    return Calibration(tuple(xs), tuple(ys))
