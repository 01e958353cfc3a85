"""What the checks of an ingest see of the lake: other datasets, earlier ingests, snapshots and profiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import ContractError
from loopwright.core.storage.duck import quote_name
from loopwright.data.ingest.records import ingests
from loopwright.data.quality.likeness import distances
from loopwright.data.versions.history import History, latest_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.contract.expected import Distribution
    from loopwright.data.versions.snapshot import Snapshot


class LakePast:
    """What came before an ingest of one dataset."""

    def __init__(self, stores: Stores, dataset: str) -> None:
        self._stores = stores
        self._dataset = dataset
        self._history = History(stores)

    def attach(self, con: duckdb.DuckDBPyConnection, view: str, dataset: str) -> bool:
        """Give the newest rows of a dataset a name in a connection; False where it has none."""
        found = self._history.latest(dataset)
        if found is None:
            return False
        self._attach(con, view, found)
        return True

    def rows(self, dataset: str) -> int:
        """Return how many rows the newest snapshot of a dataset has; 0 where there is none."""
        found = self._history.latest(dataset)
        return found.rows if found else 0

    def accepted(self, last: int) -> list[int]:
        """Return the rows that the last ingests of this dataset brought, those without rows left out."""
        query = (
            sa.select(ingests.c.rows_accepted)
            .where(ingests.c.dataset == self._dataset, ingests.c.status == "done", ingests.c.rows_accepted > 0)
            .order_by(ingests.c.number.desc())
            .limit(last)
        )
        with self._stores.facts.read() as connection:
            return list(connection.execute(query).scalars())

    def distances(
        self,
        con: duckdb.DuckDBPyConnection,
        relation: str,
        checks: Sequence[Distribution],
        types: Mapping[str, str],
    ) -> dict[Distribution, float]:
        """Return how far the columns of a relation are from their references."""
        return distances(con, relation, checks, types, self.reference)

    def reference(self, con: duckdb.DuckDBPyConnection, view: str, like: str | int) -> str | None:
        """Attach a snapshot, or return the text of a profile; None for ``previous`` before the first ingest.

        Raises:
            ContractError: If there is no such file.
            UnknownNameError: If there is no such snapshot.
        """
        if like == "previous":
            return "" if self.attach(con, view, self._dataset) else None
        if isinstance(like, str) and like.endswith(".json"):
            path = Path(self._stores.settings.project, like)
            try:
                return path.read_text(encoding="utf-8")
            except OSError as error:
                raise ContractError(f"The profile {like} cannot be read: {error.strerror}.") from None
        if isinstance(like, int):
            self._attach(con, view, self._history.snapshot(self._dataset, version=like))
        else:
            name = like if "@" in like else f"{self._dataset}@{like}"
            self._attach(con, view, self._history.snapshot(name))
        return ""

    def _attach(self, con: duckdb.DuckDBPyConnection, view: str, snapshot: Snapshot) -> None:
        stored = f"{view} stored"
        self._stores.tables.attach(con, stored, f"datasets/{snapshot.dataset}", version=snapshot.version)
        rows = latest_rows(quote_name(stored), snapshot.latest_by)
        con.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(view)} AS {rows}")
