"""The rows that a contract kept out, with the reason per row and per cell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.storage.duck import connect, quote_text, to_arrow
from loopwright.data.quality.judge import REASONS_TYPE

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.storage.stores import Stores


@dataclass(frozen=True)
class Reason:
    """One failed check: of a cell, or of the row where ``column`` is empty."""

    check: str
    column: str
    value: str | None

    @property
    def label(self) -> str:
        """How reports name the check."""
        return f"{self.check}({self.column})"


@dataclass(frozen=True)
class QuarantinedRow:
    """A row that was kept out. ``source_row`` is -1 for a file that could not be read as a whole."""

    source: str
    source_row: int
    arrived_at: datetime
    ingest_id: str
    reasons: tuple[Reason, ...]
    raw: object


class QuarantineView:
    """The quarantine of one dataset, as it is now."""

    def __init__(self, stores: Stores, dataset: str) -> None:
        self._stores = stores
        self.dataset = dataset
        self._table = f"quarantine/{dataset}"

    @property
    def rows(self) -> int:
        """How many rows are kept out."""
        return self._stores.tables.count(self._table) if self._exists() else 0

    def reasons(self) -> dict[str, int]:
        """Return how often each check failed, most often first."""
        if not self._exists():
            return {}
        with connect() as con:
            self._stores.tables.attach(con, "kept_out", self._table)
            found = to_arrow(
                con.sql(
                    "SELECT r.\"check\" || '(' || r.\"column\" || ')' AS label, count(*) AS n FROM "
                    "(SELECT unnest(reasons) AS r FROM kept_out) GROUP BY label ORDER BY n DESC, label"
                )
            )
        return dict(zip(found["label"].to_pylist(), found["n"].to_pylist(), strict=True))

    def entries(
        self, *, limit: int = 100, check: str | None = None, column: str | None = None, source: str | None = None
    ) -> list[QuarantinedRow]:
        """Return the newest rows, with their cells; those of one check, column or source where these are given."""
        if not self._exists():
            return []
        wanted = [f"reason.{part} = {quote_text(value)}" for part, value in _named(check, column)]
        where = [f"len(list_filter(reasons, lambda reason: {' AND '.join(wanted)})) > 0"] if wanted else []
        if source is not None:
            where.append(f"_source = {quote_text(source)}")
        filtered = f" WHERE {' AND '.join(where)}" if where else ""
        with connect() as con:
            self._stores.tables.attach(con, "kept_out", self._table)
            found = to_arrow(
                con.sql(
                    f"SELECT * FROM kept_out{filtered} ORDER BY _arrived_at DESC, _ingest_id DESC, "
                    f"_source, _source_row LIMIT {int(limit)}"
                )
            )
        return [
            QuarantinedRow(
                source=row["_source"],
                source_row=row["_source_row"],
                arrived_at=row["_arrived_at"],
                ingest_id=row["_ingest_id"],
                reasons=tuple(Reason(one["check"], one["column"], one["value"]) for one in row["reasons"]),
                raw=json.loads(row["raw"]),
            )
            for row in found.to_pylist()
        ]

    def table(self) -> pa.Table:
        """Return the whole quarantine: reasons and raw rows as JSON, with their origin."""
        if not self._exists():
            return pa.schema([("reasons", REASONS_TYPE), ("raw", pa.string())]).empty_table()
        return self._stores.tables.read(self._table)

    def _exists(self) -> bool:
        return self._stores.tables.exists(self._table)


def _named(check: str | None, column: str | None) -> list[tuple[str, str]]:
    return [(f'"{part}"', value) for part, value in (("check", check), ("column", column)) if value is not None]
