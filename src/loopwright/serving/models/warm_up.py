"""What a version's batches cost, measured before it meets traffic: how many rows belong into one batch, and where.

Batches of rising size are timed on golden rows. A larger batch is worth while as long as its rows become cheaper, and
as long as it does not hold up those who wait for the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.serving.calls.service_time import ServiceTime

if TYPE_CHECKING:
    from collections.abc import Callable

INLINE_BUDGET_S = 0.0007
"""Longest computation that runs on the event loop itself; a hop to a thread costs 50 to 100 µs."""
BATCH_BUDGET_S = 0.05
"""Longest batch: whoever just missed it waits so long."""
LARGEST_BATCH_ROWS = 1024
_TIMED_CALLS = 5
_ENOUGH_S = 0.01  # a batch that takes so long is timed once
_WORTH = 0.97  # rows of the next size must cost so much of what they cost before


@dataclass(frozen=True)
class BatchCosts:
    """What batches of a version cost.

    Attributes:
        fixed_s: Seconds of a batch beside its rows.
        per_row_s: Seconds per row.
        max_batch_rows: The largest batch that is worth while.
        inline_rows: Rows that may be computed on the event loop; 0 where already one takes too long.
    """

    fixed_s: float
    per_row_s: float
    max_batch_rows: int
    inline_rows: int

    def service_time(self) -> ServiceTime:
        """Return what to expect of a batch, to be corrected by what is measured in service."""
        return ServiceTime(fixed_s=self.fixed_s, per_row_s=self.per_row_s)


def measure_batches(run: Callable[[int], float]) -> BatchCosts:
    """Find what batches cost.

    Args:
        run: Computes a batch of so many rows and returns the seconds that it took.

    >>> costs = measure_batches(lambda rows: 0.001 + 0.0001 * rows)
    >>> costs.max_batch_rows, costs.inline_rows, round(costs.per_row_s, 6)
    (256, 0, 0.0001)
    """
    one = seconds = _shortest(run, 1)
    rows = worth = 1
    while rows < LARGEST_BATCH_ROWS and seconds < BATCH_BUDGET_S:
        before = seconds / rows
        rows *= 2
        seconds = _shortest(run, rows)
        if seconds <= BATCH_BUDGET_S and seconds / rows <= _WORTH * before:
            worth = rows
        elif rows > 4 * worth:
            break  # it has not become cheaper for two sizes: one alone may be the machine's doing
    per_row = max((seconds - one) / (rows - 1), 1e-7) if rows > 1 else one
    inline = 0 if one >= INLINE_BUDGET_S else max(1, int((INLINE_BUDGET_S - one) / per_row))
    return BatchCosts(max(0.0, one - per_row), per_row, worth, inline)


def _shortest(run: Callable[[int], float], rows: int) -> float:
    """Return the shortest time of a few calls: what the others have on top is the machine's."""
    shortest = run(rows)
    for _ in range(_TIMED_CALLS - 1):
        if shortest > _ENOUGH_S:
            break
        shortest = min(shortest, run(rows))
    return shortest
