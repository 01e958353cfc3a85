"""Latency histograms on one fixed grid: 0.25 ms to 10 s, four buckets per doubling.

Because the grid never changes, histograms of workers, minutes and releases add exactly, and a quantile is known to
within one bucket, a factor of 1.19.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LOWEST_MS = 0.25
HIGHEST_MS = 10_000.0
PER_OCTAVE = 4
# Upper bucket edges; the last bucket, beyond 10 s, has no upper edge.
EDGES_MS: tuple[float, ...] = (
    *(LOWEST_MS * 2.0 ** (i / PER_OCTAVE) for i in range(int(PER_OCTAVE * np.log2(HIGHEST_MS / LOWEST_MS)) + 1)),
    HIGHEST_MS,
)
BUCKETS = len(EDGES_MS) + 1


@dataclass(frozen=True)
class LatencyHistogram:
    """Count latencies by bucket.

    Attributes:
        counts: Shape (BUCKETS,): at most EDGES_MS[0], then up to each next edge, then beyond the last.

    >>> histogram = LatencyHistogram.of([1.0, 1.0, 2.0, 30.0])
    >>> histogram.rows, histogram.quantile_ms(0.5)
    (4, 1.0)
    """

    counts: tuple[int, ...] = (0,) * BUCKETS

    def __post_init__(self) -> None:
        if len(self.counts) != BUCKETS:
            raise ValueError(f"a latency histogram has {BUCKETS} buckets, got {len(self.counts)}")

    @classmethod
    def of(cls, latencies_ms: ArrayLike) -> LatencyHistogram:
        """Count latencies in milliseconds, shape (n,)."""
        values = np.asarray(latencies_ms, dtype=np.float64).ravel()
        counts = np.bincount(np.searchsorted(EDGES_MS, values, side="left"), minlength=BUCKETS)
        return cls(tuple(int(count) for count in counts))

    def __add__(self, other: LatencyHistogram) -> LatencyHistogram:
        return LatencyHistogram(tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)))

    @property
    def rows(self) -> int:
        """Give the number of latencies counted."""
        return sum(self.counts)

    @property
    def shares_at_edges(self) -> NDArray[np.float64]:
        """Give the share of latencies at or below each edge, shape (BUCKETS - 1,)."""
        return np.cumsum(self.counts)[:-1] / max(self.rows, 1)

    def quantile_ms(self, q: float) -> float:
        """Give the upper edge of the bucket that holds the q-quantile; infinite beyond 10 s, NaN without rows."""
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q must lie in [0, 1], got {q}")
        if self.rows == 0:
            return float("nan")
        rank = max(int(np.ceil(q * self.rows)), 1)
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank, side="left"))
        return float("inf") if bucket >= len(EDGES_MS) else EDGES_MS[bucket]

    def share_above(self, latency_ms: float) -> float:
        """Give the share of latencies above, counting buckets that lie wholly or partly above.

        >>> LatencyHistogram.of([1.0, 300.0]).share_above(200.0)
        0.5
        """
        if self.rows == 0:
            return 0.0
        # Buckets whose upper edge is at or below the limit are surely not above it.
        below = int(np.searchsorted(EDGES_MS, latency_ms, side="right"))
        return 1.0 - sum(self.counts[:below]) / self.rows
