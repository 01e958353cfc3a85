"""The rows that a contract kept out, with the reason per row and per cell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.errors import UsageError
from loopwright.core.storage.duck import borrowed, connect, quote_text, to_arrow
from loopwright.data.quality.judge import REASONS_TYPE
from loopwright.data.quarantine.kept_out import attach_kept_out

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

    from loopwright.core.storage.stores import Stores

_EXAMPLES = 5


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
    """A row that was kept out. ``source_row`` is -1 for a file that could not be read as a whole.

    ``arrived_at`` is when it first came; ``id`` names it for a repair.
    """

    source: str
    source_row: int
    arrived_at: datetime
    ingest_id: str
    reasons: tuple[Reason, ...]
    raw: object
    id: str = ""


@dataclass(frozen=True)
class ReasonGroup:
    """The rows that failed one check.

    Attributes:
        examples: Values that failed, the most frequent first, at most five.
        sources: Rows per source, the most first, at most five.
    """

    check: str
    column: str
    rows: int
    first_seen: datetime
    last_seen: datetime
    examples: tuple[str | None, ...]
    sources: dict[str, int]

    @property
    def label(self) -> str:
        """How reports name the check."""
        return f"{self.check}({self.column})"


class QuarantineView:
    """The quarantine of one dataset, as it is now."""

    def __init__(self, stores: Stores, dataset: str) -> None:
        self._stores = stores
        self.dataset = dataset

    @property
    def rows(self) -> int:
        """How many rows are kept out."""
        with borrowed() as con:
            if not attach_kept_out(con, self._stores, self.dataset):
                return 0
            return int(con.execute("SELECT count(*) FROM kept_out").fetchall()[0][0])

    def reasons(self) -> dict[str, int]:
        """Return how often each check failed, most often first."""
        return {group.label: group.rows for group in self.groups()}

    def groups(self) -> list[ReasonGroup]:
        """Return the rows by reason: how many, since when, which values, from where; the most frequent first."""
        with connect() as con:
            if not attach_kept_out(con, self._stores, self.dataset):
                return []
            con.execute(
                'CREATE TEMP VIEW cells AS SELECT reason."check" AS broken, reason."column" AS field, '
                "reason.value AS found, _source, _arrived_at FROM (SELECT unnest(reasons) AS reason, * FROM kept_out)"
            )
            counted = con.execute(
                "SELECT broken, field, count(*), min(_arrived_at), max(_arrived_at) FROM cells GROUP BY ALL "
                "ORDER BY count(*) DESC, broken, field"
            ).fetchall()
            values, sources = self._most(con, "found"), self._most(con, "_source")
        return [
            ReasonGroup(
                check=broken,
                column=field,
                rows=rows,
                first_seen=first,
                last_seen=last,
                examples=tuple(value for value, _ in values[broken, field]),
                sources={str(source): n for source, n in sources[broken, field]},
            )
            for broken, field, rows, first, last in counted
        ]

    @staticmethod
    def _most(con: duckdb.DuckDBPyConnection, what: str) -> dict[tuple[str, str], list[tuple[str | None, int]]]:
        found = con.execute(
            f"SELECT * FROM (SELECT broken, field, {what}, count(*) AS n FROM cells GROUP BY broken, field, {what}) "
            f"QUALIFY row_number() OVER (PARTITION BY broken, field ORDER BY n DESC, {what}) <= {_EXAMPLES} "
            f"ORDER BY n DESC, {what}"
        ).fetchall()
        listed: dict[tuple[str, str], list[tuple[str | None, int]]] = {}
        for broken, field, value, n in found:
            listed.setdefault((broken, field), []).append((value, n))
        return listed

    def entries(
        self,
        *,
        limit: int | None = 100,
        check: str | None = None,
        column: str | None = None,
        source: str | None = None,
    ) -> list[QuarantinedRow]:
        """Return the newest rows, with their cells; those of one check, column or source where these are given."""
        with connect() as con:
            if not attach_kept_out(con, self._stores, self.dataset):
                return []
            bound = "" if limit is None else f" LIMIT {int(limit)}"
            found = to_arrow(
                con.sql(
                    f"SELECT * FROM kept_out{filter_sql(check, column, source)} ORDER BY _arrived_at DESC, "
                    f"_ingest_id DESC, _source, _source_row{bound}"
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
                id=row["id"],
            )
            for row in found.to_pylist()
        ]

    def table(self) -> pa.Table:
        """Return the whole quarantine: reasons and raw rows as JSON, with their origin."""
        with connect() as con:
            if not attach_kept_out(con, self._stores, self.dataset):
                return pa.schema([("reasons", REASONS_TYPE), ("raw", pa.string())]).empty_table()
            return to_arrow(con.sql("SELECT * EXCLUDE (id) FROM kept_out"))


def filter_sql(check: str | None = None, column: str | None = None, source: str | None = None) -> str:
    """Return the WHERE of rows that failed a check, have a broken cell in a column, and came from a source.

    A check may be given as reports name it: ``at_most(distance_km)``.

    Raises:
        UsageError: If such a name and another column are given.
    """
    if check is not None and check.endswith(")") and "(" in check:
        named, _, inside = check[:-1].partition("(")
        if column not in (None, inside):
            raise UsageError(f"The check {check} is on '{inside}', and the column {column!r} is asked for.")
        check, column = named, inside
    wanted = [
        f'reason."{part}" = {quote_text(value)}'
        for part, value in (("check", check), ("column", column))
        if value is not None
    ]
    where = [f"len(list_filter(reasons, lambda reason: {' AND '.join(wanted)})) > 0"] if wanted else []
    if source is not None:
        where.append(f"_source = {quote_text(source)}")
    return f" WHERE {' AND '.join(where)}" if where else ""
