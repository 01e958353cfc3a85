"""The same bootstrap resamples for several numbers at once, so that their differences and ratios have errors too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.statistics.bootstrap import acceleration_of, resample_weights
from loopwright.evaluation.estimate import Estimate, drawn_estimate
from loopwright.evaluation.forms import plain_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from loopwright.evaluation.forms import Form

DEFAULT_RESAMPLES = 1000
_JACKKNIFE_GROUPS = 200  # groups of rows left out in turn for BCa's acceleration


@dataclass(frozen=True, eq=False)
class Draws:
    """Hold one number, on the rows themselves, on each resample, and with groups left out.

    Attributes:
        value: On the rows themselves.
        resampled: Shape (resamples,).
        left_out: Shape (groups,), or None where that was not computed.
    """

    value: float
    resampled: NDArray[np.float64]
    left_out: NDArray[np.float64] | None

    def compare(
        self, other: Draws, function: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
    ) -> Draws:
        """Combine two numbers of the same resamples, such as their difference."""
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(function(np.array(self.value), np.array(other.value)))
            resampled = function(self.resampled, other.resampled)
            left_out = (
                None if self.left_out is None or other.left_out is None else function(self.left_out, other.left_out)
            )
        return Draws(value, resampled, left_out)

    def estimate(self, *, rows: int) -> Estimate:
        """Give the number with its error, by BCa."""
        acceleration = 0.0 if self.left_out is None else acceleration_of(self.left_out)
        return drawn_estimate(self.value, self.resampled, rows=rows, acceleration=acceleration)


def paired_draws(
    bound: Sequence[tuple[Form, NDArray[np.bool_] | None]],
    *,
    seed: int,
    resamples: int = DEFAULT_RESAMPLES,
    clusters: NDArray[np.generic] | None = None,
) -> tuple[Draws, ...]:
    """Compute several numbers on the same resamples of the same rows.

    Args:
        bound: Forms, each with the mask of the rows it is bound to, or None for all; the first is bound to all.
        seed: Same seed, same resamples.
        resamples: Number of resamples.
        clusters: Shape (rows,): rows with equal values are drawn together.
    """
    rows = bound[0][0].rows
    resampled: list[list[NDArray[np.float64]]] = [[] for _ in bound]
    for weights in resample_weights(rows, resamples=resamples, seed=seed, clusters=clusters):
        for parts, (form, mask) in zip(resampled, bound, strict=True):
            parts.append(form.resampled(weights if mask is None else weights[:, mask]))
    groups = _groups(rows, clusters)
    return tuple(
        Draws(plain_value(form), np.concatenate(parts), form.left_out(groups) if mask is None else None)
        for parts, (form, mask) in zip(resampled, bound, strict=True)
    )


def _groups(rows: int, clusters: NDArray[np.generic] | None) -> NDArray[np.intp]:
    if clusters is None:
        return np.arange(rows) % min(rows, _JACKKNIFE_GROUPS)
    _, of_row = np.unique(clusters, return_inverse=True)
    return np.asarray(of_row % _JACKKNIFE_GROUPS)
