"""What changed between two snapshots: columns, rows by key with examples, and each column's distribution.

Files that both snapshots have are not compared: a file never changes, so what differs lies in the files that only one
of them has, and an append of a thousand rows to ten million costs what a thousand rows cost. Where newer rows of a key
supersede older ones, the keys in those files are looked up in the others too. Rows are compared by their key and a
64-bit hash of their other values, in one join that spills to disk where memory ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loopwright.core.storage.duck import quote_name, to_arrow
from loopwright.data.contract.column import SYSTEM_COLUMNS
from loopwright.data.versions.distribution import ColumnSummary, Distributions
from loopwright.data.versions.history import latest_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from loopwright.core.storage.table_changes import TableChange
    from loopwright.data.versions.snapshot import Snapshot

SAMPLE_ROWS = 100_000
_COUNTED_KEYS = 2_000_000  # changed rows of which every column is compared; of more, a share by the key's hash
_EXAMPLES = 5

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class ColumnChange:
    """One column before and after; None where it is not there.

    Attributes:
        name: The column.
        type_before: Its DuckDB type in the older snapshot.
        type_after: In the newer one.
        before: Its values in the older snapshot; None where distributions were not asked for.
        after: In the newer one.
        rows_changed: Rows with the same key and another value; None without a key.
        psi: Population stability index of the newer snapshot against the older one, and
        js_distance: the Jensen-Shannon distance, both on bins of the older snapshot; None where either has no rows.
    """

    name: str
    type_before: str | None
    type_after: str | None
    before: ColumnSummary | None
    after: ColumnSummary | None
    rows_changed: int | None = None
    psi: float | None = None
    js_distance: float | None = None


@dataclass(frozen=True)
class RowExample:
    """One row that differs: its key, and of each column that does, the value before and after."""

    kind: Kind
    key: Mapping[str, object]
    values: Mapping[str, tuple[object, object]]


@dataclass(frozen=True)
class SnapshotDiff:
    """``rows_changed`` is None where the dataset has no key: a changed row then counts as removed and added.

    ``rows_compared`` are those that had to be read to tell; ``sampled_rows`` those behind the distributions.
    """

    older: Snapshot
    newer: Snapshot
    rows_before: int
    rows_after: int
    rows_added: int
    rows_removed: int
    rows_changed: int | None
    columns: tuple[ColumnChange, ...]
    examples: tuple[RowExample, ...] = ()
    rows_compared: int = 0
    sampled_rows: int = 0

    @property
    def columns_added(self) -> tuple[str, ...]:
        """Columns that only the newer snapshot has."""
        return tuple(one.name for one in self.columns if one.type_before is None)

    @property
    def columns_removed(self) -> tuple[str, ...]:
        """Columns that only the older snapshot has."""
        return tuple(one.name for one in self.columns if one.type_after is None)


class Comparison:
    """Compares two snapshots of one table.

    Args:
        con: A connection of the caller's, with a folder to spill to.
        change: The files of the two versions.
        key: The columns that name a row; empty where nothing does.
        latest: Whether the newest row of each key counts.
    """

    def __init__(
        self, con: duckdb.DuckDBPyConnection, change: TableChange, key: Sequence[str], *, latest: bool
    ) -> None:
        self._con = con
        self._key = list(key)
        self._names = ", ".join(quote_name(name) for name in self._key)
        for view, files in (("came", change.came), ("gone", change.gone), ("same", change.same)):
            con.execute(f'CREATE TEMP VIEW "{view} files" AS {files.select()}')
        self._columns = [name for name in change.came.schema.names if name not in SYSTEM_COLUMNS]
        self._others = [name for name in self._columns if name not in self._key]
        if latest and self._key:
            con.execute(
                f'CREATE TEMP TABLE touched AS SELECT DISTINCT {self._names} FROM (SELECT {self._names} FROM "came '
                f'files" UNION ALL SELECT {self._names} FROM "gone files")'
            )
            con.execute(
                'CREATE TEMP TABLE "same touched" AS SELECT * FROM "same files" '
                f"SEMI JOIN touched USING ({self._names})"
            )
            for view in ("came", "gone"):
                every = f'(SELECT * FROM "{view} files" UNION ALL SELECT * FROM "same touched")'
                con.execute(f"CREATE TEMP TABLE {view} AS {latest_rows(every, self._key)}")
        else:
            for view in ("came", "gone"):
                con.execute(f'CREATE TEMP VIEW {view} AS SELECT * FROM "{view} files"')
        self._is_latest = latest and bool(self._key)

    def rows(self) -> tuple[int, int, int | None]:
        """Return how many rows were added, removed and changed."""
        if not self._key:
            listed = ", ".join(quote_name(name) for name in self._columns) or "1"
            added, removed = (
                self._count(f"(SELECT {listed} FROM {one} EXCEPT ALL SELECT {listed} FROM {other})")
                for one, other in (("came", "gone"), ("gone", "came"))
            )
            return added, removed, None
        content = f"hash({', '.join(quote_name(name) for name in self._others) or '0'})"
        self._con.execute(
            f"CREATE TEMP TABLE differing AS SELECT {self._names}, CASE WHEN a IS NULL THEN 'added' WHEN b IS NULL "
            f"THEN 'removed' ELSE 'changed' END AS kind FROM (SELECT {self._names}, {content} AS a FROM gone) "
            f"FULL JOIN (SELECT {self._names}, {content} AS b FROM came) USING ({self._names}) "
            "WHERE a IS DISTINCT FROM b"
        )
        counts = dict(self._con.execute("SELECT kind, count(*) FROM differing GROUP BY kind").fetchall())
        return counts.get("added", 0), counts.get("removed", 0), counts.get("changed", 0)

    def by_column(self, changed: int) -> dict[str, int]:
        """Return how many of the changed rows have another value in each column."""
        if not self._key:
            return {}
        share = -(-changed // _COUNTED_KEYS) or 1
        self._pick(share)
        if not changed or not self._others:
            return dict.fromkeys(self._others, 0)
        counts = ", ".join(
            f"count(*) FILTER (__o.{quote_name(name)} IS DISTINCT FROM __n.{quote_name(name)})" for name in self._others
        )
        row = self._con.execute(
            f"SELECT {counts} FROM before AS __o JOIN after AS __n USING ({self._names})"
        ).fetchall()[0]
        return {name: min(changed, int(count) * share) for name, count in zip(self._others, row, strict=True)}

    def examples(self) -> tuple[RowExample, ...]:
        """Return the first few rows of each kind, by key."""
        if not self._key:
            return ()
        found = []
        for kind in ("added", "removed", "changed"):
            rows = to_arrow(
                self._con.sql(
                    f"SELECT __o, __n, {self._names} FROM (SELECT {self._names} FROM picked WHERE kind = '{kind}' "
                    f"ORDER BY {self._names} LIMIT {_EXAMPLES}) AS __k LEFT JOIN before AS __o USING ({self._names}) "
                    f"LEFT JOIN after AS __n USING ({self._names}) ORDER BY {self._names}"
                )
            )
            sides = {"added": ("__n",), "removed": ("__o",), "changed": ("__o", "__n")}[kind]
            for row in rows.to_pylist():
                old, new = (row[side] if side in sides else {} for side in ("__o", "__n"))
                found.append(self._example(kind, old, new))
        return tuple(found)

    def _pick(self, share: int) -> None:
        """Take out the rows that are looked at in full: changed ones, or a share of them, and a few of the others."""
        some = f" AND hash({self._names}) % {share} = 0" if share > 1 else ""
        first = " UNION ALL ".join(
            f"(FROM differing WHERE kind = '{kind}' ORDER BY {self._names} LIMIT {_EXAMPLES})"
            for kind in ("added", "removed")
        )
        self._con.execute(f"CREATE TEMP TABLE picked AS FROM differing WHERE kind = 'changed'{some} UNION ALL {first}")
        for made, side in (("before", "gone"), ("after", "came")):
            listed = ", ".join(quote_name(name) for name in self._columns)
            self._con.execute(
                f"CREATE TEMP TABLE {made} AS SELECT {listed} FROM {side} SEMI JOIN picked USING ({self._names})"
            )

    def distributions(self, sample_rows: int, rows: int) -> Distributions:
        """Sample both snapshots, about so many rows of each: the same keys of both, each time."""
        share = max(1, rows // max(1, sample_rows))
        some = f" WHERE hash({self._names or '_source_row'}) % {share} = 0" if share > 1 else ""
        same = f'SELECT * FROM "same files"{some}'
        if self._is_latest:
            same = latest_rows(f"(SELECT * FROM ({same}) ANTI JOIN touched USING ({self._names}))", self._key)
        parts = {"same": same} | {part: f"SELECT * FROM {part}{some}" for part in ("gone", "came")}
        return Distributions(self._con, self._columns, parts)

    def compared(self) -> int:
        """Return how many rows of both snapshots were compared."""
        return self._count("came") + self._count("gone")

    def _example(self, kind: str, old: dict[str, object], new: dict[str, object]) -> RowExample:
        whole = new or old
        values = {
            name: (old.get(name), new.get(name)) for name in self._others if not _same(old.get(name), new.get(name))
        }
        return RowExample(kind, {name: whole[name] for name in self._key}, values)  # type: ignore[arg-type]

    def _count(self, relation: str) -> int:
        return int(self._con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])


def diff_snapshots(
    con: duckdb.DuckDBPyConnection,
    older: Snapshot,
    newer: Snapshot,
    change: TableChange,
    key: Sequence[str],
    *,
    types: tuple[Mapping[str, str], Mapping[str, str]],
    sample_rows: int = SAMPLE_ROWS,
) -> SnapshotDiff:
    """Compare two snapshots of one dataset; ``types`` are the columns of each, by DuckDB's names.

    ``sample_rows`` of each snapshot are behind the distributions; 0 leaves them out.
    """
    comparison = Comparison(con, change, key, latest=bool(older.latest_by or newer.latest_by))
    added, removed, changed = comparison.rows()
    by_column = comparison.by_column(changed) if changed is not None else {}
    before, after = ({n: k for n, k in one.items() if n not in SYSTEM_COLUMNS} for one in types)
    shapes = comparison.distributions(sample_rows, max(older.rows, newer.rows)) if sample_rows else None
    columns = []
    for name in dict.fromkeys([*before, *after]):
        old = shapes.before(name, before[name]) if shapes and name in before else None
        new = shapes.after(name, after[name]) if shapes and name in after else None
        psi, distance = shapes.distance(name, after[name]) if shapes and old and new else (None, None)
        columns.append(
            ColumnChange(name, before.get(name), after.get(name), old, new, by_column.get(name), psi, distance)
        )
    return SnapshotDiff(
        older=older,
        newer=newer,
        rows_before=older.rows,
        rows_after=newer.rows,
        rows_added=added,
        rows_removed=removed,
        rows_changed=changed,
        columns=tuple(columns),
        examples=comparison.examples(),
        rows_compared=comparison.compared(),
        sampled_rows=shapes.rows if shapes else 0,
    )


def _same(old: object, new: object) -> bool:
    return old == new or (old != old and new != new)
