"""The source ``sql``: a table or a query of any database that SQLAlchemy reaches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError
from loopwright.data.sources.secret import masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.sources.window import Overlap

_NAME_CHARACTERS = 8


@dataclass(frozen=True)
class SqlSource:
    """A table or a query. Make it with :func:`sql`, which checks it."""

    url: str = field(repr=False)
    table: str | None = None
    query: str | None = None
    watermark: str | None = None
    overlap: Overlap = None
    schema: str | None = None
    columns: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``sql``."""
        return "sql"

    @property
    def name(self) -> str:
        """What rows carry as ``_source``: ``sql:orders``, or ``sql:query-`` and the query's digest."""
        if self.table is not None:
            return f"sql:{self.schema}.{self.table}" if self.schema else f"sql:{self.table}"
        digest = hashlib.sha256(" ".join((self.query or "").split()).encode()).hexdigest()
        return f"sql:query-{digest[:_NAME_CHARACTERS]}"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value; passwords are masked."""
        overlap = self.overlap.total_seconds() if isinstance(self.overlap, timedelta) else self.overlap
        described = {
            "url": masked(self.url),
            "table": self.table,
            "query": self.query,
            "watermark": self.watermark,
            "overlap": overlap,
            "schema": self.schema,
            "columns": list(self.columns) or None,
        }
        return {"kind": self.kind} | {key: value for key, value in described.items() if value is not None}


def sql(
    url: str,
    *,
    table: str | None = None,
    query: str | None = None,
    watermark: str | None = None,
    overlap: Overlap = None,
    schema: str | None = None,
    columns: Sequence[str] = (),
) -> SqlSource:
    """Declare a table, or what a query gives, as a source.

    With a watermark each ingest reads the rows that are new or changed since the last one; rows that were read before
    add nothing, and with the dataset's ``on_duplicate="upsert"`` a changed row replaces the stored one. Without, each
    ingest reads everything, and adds it where its content has changed. A row that is deleted in the database stays.

    Args:
        url: A SQLAlchemy URL, or the name of a connection in the settings: with ``[sources] orders_db =
            "postgresql://…"`` in ``loopwright.toml``, or ``LOOPWRIGHT_SOURCES_ORDERS_DB`` in the environment, write
            ``"orders_db"``. Passwords are never shown. A relative SQLite path begins at the project.
        table: The table or view.
        query: A SELECT, in place of a table.
        watermark: A column that grows with each insert and update. An index on it makes ingests cheap.
        overlap: How far before the largest value each read begins, so that rows committed late with a smaller one are
            found: longer than the longest transaction that writes the table. A duration for times (10 minutes by
            default), a number for numbers (1,000 by default).
        schema: The table's schema.
        columns: The columns of the table to read; all by default.

    Raises:
        DeclarationError: If table and query, or neither, are given, or the overlap is no overlap.

    >>> sql("postgresql://ann:pa55@db/shop", table="orders", watermark="updated_at").describe()["url"]
    'postgresql://ann:***@db/shop'
    """
    if not isinstance(url, str) or not url:
        raise DeclarationError(f"sql() takes a URL or the name of a connection, got {url!r}.")
    if (table is None) == (query is None):
        given = "both" if table else "neither"
        raise DeclarationError(f"sql() takes table= or query=, got {given}.", hint="Give one of them.")
    if query is not None and (columns or schema):
        raise DeclarationError("sql() with query= takes neither columns= nor schema=.", hint="Write them in the query.")
    if query is not None and query.split(maxsplit=1)[0].upper() not in {"SELECT", "WITH", "VALUES", "("}:
        raise DeclarationError(
            f"query= begins with {query.split(maxsplit=1)[0]!r} and is no SELECT.", hint="A source is only read."
        )
    if overlap is not None and watermark is None:
        raise DeclarationError("sql() has overlap= and no watermark= that it could be taken from.")
    check_overlap(overlap)
    if table is not None and schema is None and table.count(".") == 1:
        schema, _, table = table.partition(".")
    if columns and watermark is not None and watermark not in columns:
        columns = (*columns, watermark)
    return SqlSource(url, table, query, watermark, overlap, schema, tuple(columns))


def check_overlap(overlap: Overlap) -> None:
    """Refuse an overlap that is neither a duration nor a number of at least 0.

    Raises:
        DeclarationError: As above.
    """
    if isinstance(overlap, (str, timedelta)):
        parse_duration(overlap)
    elif overlap is not None and not (isinstance(overlap, (int, float)) and overlap >= 0):
        raise DeclarationError(f"overlap= is a duration or a number of at least 0, got {overlap!r}.")
