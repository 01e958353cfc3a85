"""What changed between two snapshots of ten million rows, beside a full outer join over all of both in DuckDB.

Run: python bench/diff.py [ROWS]. Processor seconds and wall seconds of one run on this machine; the peer compares every
column of every row by key, as a hand-written query does. Counts must be equal, or the script fails.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import write_deltalake

from loopwright.core.storage.columns import duck_type
from loopwright.core.storage.duck import connect, to_arrow
from loopwright.core.storage.table_changes import TableSpan
from loopwright.core.storage.tables import TableStore
from loopwright.data.versions.diff import diff_snapshots
from loopwright.data.versions.history import latest_rows
from loopwright.data.versions.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "datasets/d"
COLUMNS = (
    "SELECT i AS id, i % 1000 AS shop, random() AS a, random() * 100 AS b, (random() * 50)::BIGINT AS n, "
    "'kind ' || (i % 20) AS kind, 'name ' || i AS name, TIMESTAMPTZ '2026-01-01' + INTERVAL (i) SECOND AS at, "
    "'f.csv' AS _source, i AS _source_row, TIMESTAMPTZ '2026-01-01' + INTERVAL ({day}) DAY AS _arrived_at, "
    "'ingest {day}' AS _ingest_id FROM range({start}, {end}) AS t(i)"
)


def rows(con: object, start: int, end: int, day: int) -> pa.Table:
    """Make rows of ten million and fewer."""
    return to_arrow(con.sql(COLUMNS.format(start=start, end=end, day=day)))  # type: ignore[attr-defined]


def snapshot(version: int, count: int, *, upsert: bool) -> Snapshot:
    return Snapshot("d", version, count, "", datetime(2026, 1, 1, tzinfo=UTC), "", ("id",) if upsert else ())


def ours(tables: TableStore, older: Snapshot, newer: Snapshot, spill: Path) -> tuple[int, int, int | None]:
    change = tables.change(TableSpan(TABLE, older.version, newer.version), with_same=True)
    types = [
        {field.name: duck_type(field.type) for field in tables.schema(TABLE, one.version)} for one in (older, newer)
    ]
    with connect(temp_folder=spill) as con:
        found = diff_snapshots(con, older, newer, change, ["id"], types=(types[0], types[1]))
    return found.rows_added, found.rows_removed, found.rows_changed


def naive(tables: TableStore, older: Snapshot, newer: Snapshot, spill: Path) -> tuple[int, int, int]:
    with connect(temp_folder=spill) as con:
        for name, one in (("o", older), ("n", newer)):
            tables.attach(con, f"{name}s", TABLE, version=one.version)
            con.execute(f"CREATE TEMP VIEW {name} AS {latest_rows(f'{name}s', one.latest_by)}")
        others = ["shop", "a", "b", "n", "kind", "name", "at"]
        differ = " OR ".join(f"o.{name} IS DISTINCT FROM n.{name}" for name in others)
        counts = con.execute(
            "SELECT count(*) FILTER (o.id IS NULL), count(*) FILTER (n.id IS NULL), "
            f"count(*) FILTER (o.id IS NOT NULL AND n.id IS NOT NULL AND ({differ})) "
            "FROM o FULL JOIN n ON o.id = n.id"
        ).fetchall()[0]
    return int(counts[0]), int(counts[1]), int(counts[2])


def measured(work: object, *given: object) -> tuple[object, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    made = work(*given)  # type: ignore[operator]
    return made, time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    folder = Path(tempfile.mkdtemp(prefix="bench-diff-"))
    try:
        tables = TableStore(folder / "store")
        with connect(temp_folder=folder / "make") as con:
            tables.append(TABLE, rows(con, 0, count, 0))  # 1
            tables.append(TABLE, rows(con, count, count + 10_000, 1))  # 2: an append of 10,000 rows
            tables.append(TABLE, rows(con, 0, count // 100, 2))  # 3: an upsert of 1 %
            tables.attach(con, "now", TABLE)
            rewritten = to_arrow(con.sql(latest_rows("now", ["id"])))
            write_deltalake(tables.location.child(TABLE).url, rewritten, mode="overwrite")  # 4: everything anew
            del rewritten
        cases = [
            (
                "append of 10,000 rows",
                snapshot(1, count, upsert=False),
                snapshot(2, count, upsert=False),
            ),
            ("upsert of 1 %", snapshot(2, count, upsert=False), snapshot(3, count, upsert=True)),
            (
                "full rewrite, 1 % changed",
                snapshot(2, count, upsert=False),
                snapshot(4, count, upsert=False),
            ),
        ]
        print(f"{count:,} rows x 12 columns; processor s (wall s)")
        for title, older, newer in cases:
            mine, cpu, wall = measured(ours, tables, older, newer, folder / "spill")
            theirs, peer_cpu, peer_wall = measured(naive, tables, older, newer, folder / "spill")
            if mine != theirs:
                raise SystemExit(f"{title}: {mine} is not {theirs}")
            print(
                f"{title:28} ours {cpu:6.1f} ({wall:5.1f})   full outer join {peer_cpu:6.1f} ({peer_wall:5.1f})   "
                f"ratio {peer_cpu / cpu:.1f}   added, removed, changed: {mine}"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
