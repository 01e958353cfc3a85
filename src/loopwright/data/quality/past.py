"""What checks need to know of what came before: other datasets, earlier ingests, earlier snapshots."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Protocol

from loopwright.core.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from loopwright.data.contract.expected import Distribution, Volume

ROBUST = 1.4826  # a normal distribution's standard deviation, in median absolute deviations


class Past(Protocol):
    """The port through which checks look at the lake."""

    def attach(self, con: duckdb.DuckDBPyConnection, view: str, dataset: str) -> bool:
        """Give the newest rows of a dataset a name in a connection; False where it has none."""

    def rows(self, dataset: str) -> int:
        """Return how many rows the newest snapshot of a dataset has; 0 where there is none."""

    def accepted(self, last: int) -> Sequence[int]:
        """Return the rows that the last ingests of this dataset brought, those without rows left out."""

    def distances(
        self,
        con: duckdb.DuckDBPyConnection,
        relation: str,
        checks: Sequence[Distribution],
        types: Mapping[str, str],
    ) -> Mapping[Distribution, float]:
        """Return how far the columns of a relation are from their references.

        Raises:
            ContractError: If a column is unknown, or has no distribution to compare.
            UnknownNameError: If there is no such snapshot.
        """


class Nothing:
    """No past: what a check of a file sees that no lake stands behind."""

    def attach(self, con: duckdb.DuckDBPyConnection, view: str, dataset: str) -> bool:
        """Say that there are no other datasets."""
        del con, view
        raise ContractError(
            f"The dataset '{dataset}' cannot be seen from here.", hint="Check within a project: loopwright data check."
        )

    def rows(self, dataset: str) -> int:
        """Say that there are no other datasets."""
        raise ContractError(
            f"The dataset '{dataset}' cannot be seen from here.", hint="Check within a project: loopwright data check."
        )

    def accepted(self, last: int) -> Sequence[int]:
        """Return no history."""
        del last
        return ()

    def distances(
        self,
        con: duckdb.DuckDBPyConnection,
        relation: str,
        checks: Sequence[Distribution],
        types: Mapping[str, str],
    ) -> Mapping[Distribution, float]:
        """Say that there are no snapshots."""
        del con, relation, types
        raise ContractError(
            f"The reference {checks[0].like!r} cannot be seen from here.",
            hint="Check within a project: loopwright data check.",
        )


def unusual_volume(check: Volume, rows: int, history: Sequence[int]) -> str | None:
    """Say how a number of rows differs from those before it, or None where it does not, or too few are known.

    >>> from loopwright.data.contract.expected import volume
    >>> unusual_volume(volume(factor=2), 950, [300, 310, 290, 305, 300])
    '950 rows, where 150 to 600 were expected (median of 5: 300)'
    """
    if len(history) < check.least_history:
        return None
    middle = float(statistics.median(history))
    if check.factor is not None:
        low, high = middle / check.factor, middle * check.factor
    else:
        deviation = ROBUST * float(statistics.median(abs(one - middle) for one in history))
        width = (check.deviations or 0.0) * max(deviation, middle**0.5)
        low, high = max(middle - width, 0.0), middle + width
    if low <= rows <= high:
        return None
    return f"{rows} rows, where {low:.0f} to {high:.0f} were expected (median of {len(history)}: {middle:.0f})"
