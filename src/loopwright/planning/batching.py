"""A server that takes what waits as one batch: its capacity and its mean latency.

The time of a batch of b rows is s(b) = τ0 + αb, fitted to measurements. With take-all batching (the server takes
whatever waits, up to a limit) the mean latency is bounded by Y. Inoue, "Queueing analysis of GPU-based inference
servers with dynamic batching: a closed-form characterization", Performance Evaluation 147 (2021), arXiv:1912.06322.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class BatchTime:
    """The time of a batch, s(b) = fixed_s + per_row_s · b.

    Attributes:
        fixed_s: τ0, in seconds.
        per_row_s: α, in seconds per row.
        r2: How much of the measured variation the line explains; None where it was given and not fitted.
    """

    fixed_s: float
    per_row_s: float
    r2: float | None = None

    def seconds(self, rows: int) -> float:
        """Return the time of a batch.

        >>> round(1000 * BatchTime(0.006, 0.0009).seconds(8), 1)
        13.2
        """
        return self.fixed_s + self.per_row_s * rows

    def capacity(self, largest: int) -> float:
        """Return the rows per second of a server that always finds a full batch.

        >>> round(BatchTime(0.006, 0.0009).capacity(8))
        606
        """
        if largest < 1:
            raise DeclarationError(f"A batch has at least one row, got {largest}.")
        return largest / self.seconds(largest)

    def mean_latency_bound(self, arrivals: float) -> float:
        """Return an upper bound of the mean latency under take-all batching without a limit, in seconds.

        >>> round(1000 * BatchTime(0.006, 0.0009).mean_latency_bound(400), 2)
        15.28

        Raises:
            DeclarationError: If λα ≥ 1: no batch size keeps up.
        """
        rate, fixed, per_row = arrivals, self.fixed_s, self.per_row_s
        busy = rate * per_row
        if busy >= 1:
            raise DeclarationError(
                f"{arrivals:g} rows/s at {per_row:g} s per row keep no server, whatever the batch.",
                hint="Add servers, or make the row cheaper.",
            )
        small = (per_row + fixed) / (2 * (1 - busy)) * (1 + 2 * rate * fixed + (1 - rate * fixed) / (1 + busy))
        large = 1.5 * fixed / (1 - busy) + per_row / 2 * (busy + 2) / (1 - busy**2)
        return min(small, large)


def fit(seconds_by_rows: Mapping[int, Sequence[float]]) -> BatchTime:
    """Fit the line to measured batch times, by least squares over the means, τ0 and α not negative.

    Raises:
        DeclarationError: If fewer than two batch sizes were measured.

    >>> fit({1: [0.0069], 2: [0.0078], 8: [0.0132]}).fixed_s
    0.006
    """
    points = [(rows, sum(values) / len(values)) for rows, values in sorted(seconds_by_rows.items()) if values]
    if len(points) < 2:
        raise DeclarationError("A line needs measurements at two batch sizes.", hint="Measure at 1, 2, 4, 8 and 16.")
    mean_rows = sum(rows for rows, _ in points) / len(points)
    mean_time = sum(seconds for _, seconds in points) / len(points)
    spread = sum((rows - mean_rows) ** 2 for rows, _ in points)
    slope = max(0.0, sum((rows - mean_rows) * (seconds - mean_time) for rows, seconds in points) / spread)
    fixed = mean_time - slope * mean_rows
    if fixed < 0:
        fixed, slope = 0.0, sum(r * s for r, s in points) / sum(r * r for r, _ in points)
    residual = sum((seconds - fixed - slope * rows) ** 2 for rows, seconds in points)
    total = sum((seconds - mean_time) ** 2 for _, seconds in points)
    r2 = 1.0 if math.isclose(total, 0.0, abs_tol=1e-18) else 1 - residual / total
    return BatchTime(round(fixed, 12), round(slope, 12), r2)
