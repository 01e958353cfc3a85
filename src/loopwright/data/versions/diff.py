"""What changed between two snapshots: columns, rows by key, and each column's distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name, to_arrow
from loopwright.data.column import SYSTEM_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from loopwright.data.versions.snapshot import Snapshot

_TOP = 5


@dataclass(frozen=True)
class ColumnSummary:
    """One column in one snapshot. ``mean`` is for numbers and truth values, ``top`` (value, rows) for the others."""

    null_share: float
    mean: float | None
    top: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ColumnChange:
    """One column before and after; None where it is not there."""

    name: str
    type_before: str | None
    type_after: str | None
    before: ColumnSummary | None
    after: ColumnSummary | None


@dataclass(frozen=True)
class SnapshotDiff:
    """``rows_changed`` is None where the dataset has no key: a changed row then counts as removed and added."""

    older: Snapshot
    newer: Snapshot
    rows_before: int
    rows_after: int
    rows_added: int
    rows_removed: int
    rows_changed: int | None
    columns: tuple[ColumnChange, ...]

    @property
    def columns_added(self) -> tuple[str, ...]:
        """Columns that only the newer snapshot has."""
        return tuple(one.name for one in self.columns if one.type_before is None)

    @property
    def columns_removed(self) -> tuple[str, ...]:
        """Columns that only the older snapshot has."""
        return tuple(one.name for one in self.columns if one.type_after is None)


def diff_snapshots(
    con: duckdb.DuckDBPyConnection, older: Snapshot, newer: Snapshot, key: Sequence[str]
) -> SnapshotDiff:
    """Compare the views ``older`` and ``newer`` of a connection."""
    before, after = _types(con, "older"), _types(con, "newer")
    shared = [name for name in after if name in before]
    added, removed, changed = (
        _by_key(con, key, [name for name in after if name not in key], before, after)
        if key
        else _by_content(con, shared)
    )
    columns = tuple(
        ColumnChange(
            name,
            before.get(name),
            after.get(name),
            _summary(con, "older", name, before[name]) if name in before else None,
            _summary(con, "newer", name, after[name]) if name in after else None,
        )
        for name in dict.fromkeys([*before, *after])
    )
    counts = [int(con.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0]) for view in ("older", "newer")]
    return SnapshotDiff(older, newer, counts[0], counts[1], added, removed, changed, columns)


def _types(con: duckdb.DuckDBPyConnection, view: str) -> dict[str, str]:
    rows = con.execute(f"SELECT column_name, column_type FROM (DESCRIBE {view})").fetchall()
    return {str(name): str(kind) for name, kind in rows if name not in SYSTEM_COLUMNS}


def _by_key(
    con: duckdb.DuckDBPyConnection,
    key: Sequence[str],
    others: Sequence[str],
    before: dict[str, str],
    after: dict[str, str],
) -> tuple[int, int, int]:
    def content(there: dict[str, str]) -> str:
        values = [f"{quote_name(name)}::VARCHAR" if name in there else "NULL::VARCHAR" for name in others]
        return f"hash({', '.join(values) or '0'})"

    names = ", ".join(quote_name(name) for name in key)
    row = con.execute(
        f"SELECT count(*) FILTER (a IS NULL), count(*) FILTER (b IS NULL), count(*) FILTER (a <> b) "
        f"FROM (SELECT {names}, {content(before)} AS a FROM older) FULL JOIN "
        f"(SELECT {names}, {content(after)} AS b FROM newer) USING ({names})"
    ).fetchall()[0]
    return int(row[0]), int(row[1]), int(row[2])


def _by_content(con: duckdb.DuckDBPyConnection, shared: Sequence[str]) -> tuple[int, int, None]:
    listed = ", ".join(quote_name(name) for name in shared) or "1"
    counts = [
        int(
            con.execute(
                f"SELECT count(*) FROM (SELECT {listed} FROM {one} EXCEPT ALL SELECT {listed} FROM {other})"
            ).fetchall()[0][0]
        )
        for one, other in (("newer", "older"), ("older", "newer"))
    ]
    return counts[0], counts[1], None


def _summary(con: duckdb.DuckDBPyConnection, view: str, name: str, kind: str) -> ColumnSummary:
    column = quote_name(name)
    is_number = kind.split("(", maxsplit=1)[0] in {
        "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "DOUBLE", "FLOAT", "DECIMAL", "BOOLEAN",
    }  # fmt: skip
    mean = f"avg({column}::DOUBLE)" if is_number else "NULL"
    nulls, average = con.execute(
        f"SELECT coalesce(count(*) FILTER ({column} IS NULL) / nullif(count(*), 0), 0), {mean} FROM {view}"
    ).fetchall()[0]
    top: tuple[tuple[str, int], ...] = ()
    if not is_number:
        rows = to_arrow(
            con.sql(
                f"SELECT {column}::VARCHAR AS value, count(*) AS n FROM {view} WHERE {column} IS NOT NULL "
                f"GROUP BY value ORDER BY n DESC, value LIMIT {_TOP}"
            )
        ).to_pylist()
        top = tuple((row["value"], row["n"]) for row in rows)
    return ColumnSummary(float(nulls), None if average is None else float(average), top)
