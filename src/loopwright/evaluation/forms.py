"""How a metric is computed for many weightings of the rows at once.

A bootstrap resample is a weighting. Most metrics are a function of weighted means of per-row numbers, so a thousand
resamples cost one matrix product; medians sort their rows once for all weightings, and ROC areas are resampled through
the influence of each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from loopwright.core.statistics.delong import midranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Form(Protocol):
    """A metric bound to rows."""

    @property
    def rows(self) -> int:
        """Give the number of rows."""
        ...

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the metric for each weighting, shape (some, rows) to (some,); NaN where it is undefined."""
        ...

    def resampled(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the metric for bootstrap weightings: exactly where that is cheap, else to first order."""
        ...

    def take(self, rows: NDArray[np.bool_]) -> Form:
        """Bind the metric to the masked rows only."""
        ...

    def left_out(self, groups: NDArray[np.intp]) -> NDArray[np.float64] | None:
        """Compute the metric with each group of rows left out in turn, or None where that costs too much."""
        ...


def plain_value(form: Form) -> float:
    """Compute the metric with every row counted once; NaN without rows."""
    if form.rows == 0:
        return float("nan")
    return float(form.values(np.ones((1, form.rows)))[0])


@dataclass(frozen=True, eq=False)
class MeanForm:
    """A function of weighted means.

    Attributes:
        parts: Shape (rows, k).
        combine: From means of shape (..., k) to values of shape (...).
    """

    parts: NDArray[np.float64]
    combine: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    @property
    def rows(self) -> int:
        """Give the number of rows."""
        return len(self.parts)

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the metric for each weighting."""
        total = weights.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.combine((weights @ self.parts) / total)

    def resampled(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the metric for bootstrap weightings, exactly."""
        return self.values(weights)

    def take(self, rows: NDArray[np.bool_]) -> MeanForm:
        """Bind the metric to the masked rows only."""
        return MeanForm(self.parts[rows], self.combine)

    def left_out(self, groups: NDArray[np.intp]) -> NDArray[np.float64] | None:
        """Compute the metric with each group of rows left out in turn."""
        count = int(groups.max()) + 1
        if count < 2:
            return None
        sums = np.stack([np.bincount(groups, weights=part, minlength=count) for part in self.parts.T], axis=1)
        sizes = np.bincount(groups, minlength=count)[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.combine((self.parts.sum(axis=0) - sums) / (self.rows - sizes))


@dataclass(frozen=True, eq=False)
class MedianForm:
    """The median of per-row numbers, shape (rows,); even counts take the mean of the middle two, as NumPy does."""

    losses: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Give the number of rows."""
        return len(self.losses)

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the median for each weighting by whole numbers."""
        order = np.argsort(self.losses, kind="stable")
        ordered = self.losses[order]
        reached = weights[:, order].cumsum(axis=1)
        total = reached[:, -1]
        lower = (reached > np.floor((total - 1) / 2)[:, None]).argmax(axis=1)
        upper = (reached > np.floor(total / 2)[:, None]).argmax(axis=1)
        middle = (ordered[lower] + ordered[upper]) / 2
        return np.where(total > 0, middle, np.nan)

    def resampled(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the metric for bootstrap weightings, exactly."""
        return self.values(weights)

    def take(self, rows: NDArray[np.bool_]) -> MedianForm:
        """Bind the metric to the masked rows only."""
        return MedianForm(self.losses[rows])

    def left_out(self, groups: NDArray[np.intp]) -> NDArray[np.float64] | None:  # noqa: ARG002 - the port's signature
        """Give none: the jackknife fails for medians (Efron 1982, section 3.4)."""
        return None


@dataclass(frozen=True, eq=False)
class AreaForm:
    """The area under the ROC curve, averaged over classes against the rest.

    Attributes:
        positive: Shape (classes, rows).
        scores: Shape (classes, rows).
    """

    positive: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Give the number of rows."""
        return int(self.positive.shape[1])

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the mean area for each weighting; classes that lack one side are left out of the mean."""
        areas = np.stack(
            [_area(positive, scores, weights) for positive, scores in zip(self.positive, self.scores, strict=True)]
        )
        defined = np.isfinite(areas)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(defined, areas, 0.0).sum(axis=0) / defined.sum(axis=0))

    def resampled(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the area for bootstrap weightings to first order: value plus the weighted influence of each row.

        A thousand exact areas of ten classes and ten thousand rows take twenty seconds, these one product. Source:
        B. Efron (1982), The jackknife, the bootstrap and other resampling plans, section 6.3 (infinitesimal
        jackknife); the influence of a row is its placement value (DeLong et al. 1988).
        """
        return np.asarray(plain_value(self) + weights @ self.influence)

    def take(self, rows: NDArray[np.bool_]) -> AreaForm:
        """Bind the metric to the masked rows only."""
        return AreaForm(self.positive[:, rows], self.scores[:, rows])

    def left_out(self, groups: NDArray[np.intp]) -> NDArray[np.float64] | None:
        """Compute the area with each group of rows left out in turn, to first order."""
        return np.asarray(plain_value(self) - np.bincount(groups, weights=self.influence))

    @cached_property
    def influence(self) -> NDArray[np.float64]:
        """Give the derivative of the mean area by the weight of each row, shape (rows,); it sums to zero."""
        total = np.zeros(self.rows)
        defined = 0
        for positive, scores in zip(self.positive, self.scores, strict=True):
            up, down = int(positive.sum()), int((~positive).sum())
            if up == 0 or down == 0:
                continue
            defined += 1
            ranks = midranks(scores)
            above = (ranks[positive] - midranks(scores[positive])) / down
            below = 1.0 - (ranks[~positive] - midranks(scores[~positive])) / up
            total[positive] += (above - above.mean()) / up
            total[~positive] += (below - below.mean()) / down
        return total / max(defined, 1)


def _area(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted chance that a positive row outranks a negative one, ties half."""
    order = np.argsort(scores, kind="stable")
    ordered, mask = scores[order], positive[order]
    sorted_weights = weights[:, order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    up = np.add.reduceat(sorted_weights * mask, starts, axis=1)
    down = np.add.reduceat(sorted_weights * ~mask, starts, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = (up * (down.cumsum(axis=1) - down / 2)).sum(axis=1)
        area: NDArray[np.float64] = wins / (up.sum(axis=1) * down.sum(axis=1))
    return area
