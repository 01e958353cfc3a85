"""Which payloads any table refers to: a reference may stand in a column of its own, or inside JSON or other text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.core.storage.payloads import INDEX
from loopwright.core.storage.table_files import unglobbed
from loopwright.core.storage.table_log import TableLog
from loopwright.core.storage.table_mirror import TableMirror

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import duckdb

    from loopwright.core.storage.tables import TableStore

REF_PATTERN = "sha256:[0-9a-f]{64}"
_FILES_A_SCAN = 500


def referred(con: duckdb.DuckDBPyConnection, tables: TableStore, refs: Collection[str], scratch: Path) -> set[str]:
    """Return those of some payload references that any file of any table has, whichever version the file is of.

    Args:
        con: A connection of the caller's.
        tables: The tables.
        refs: What is asked for.
        scratch: A folder for copies of a remote store's files.
    """
    left = set(refs)
    found: set[str] = set()
    for table in tables.tables():
        if table == INDEX or not left:
            continue
        texts = [one.name for one in tables.schema(table) if str(one.type) in {"string", "large_string"}]
        if not texts:
            continue
        con.register("asked for", pa.table({"ref": pa.array(sorted(left), pa.string())}))
        for scan in _scans(tables, table, scratch):
            for name in texts:
                column = quote_name(name)
                rows = con.execute(
                    f"SELECT DISTINCT ref FROM (SELECT unnest(regexp_extract_all({column}, {quote_text(REF_PATTERN)})) "
                    f"AS ref FROM {scan} WHERE contains({column}, 'sha256:')) SEMI JOIN \"asked for\" USING (ref)"
                ).fetchall()
                found.update(str(row[0]) for row in rows)
        left -= found
    return found


def _scans(tables: TableStore, table: str, scratch: Path) -> list[str]:
    log = TableLog(tables.location.child(table))
    names = sorted(log.files())
    folder = log.place.folder
    mirror = None if folder is not None else TableMirror(log.place, scratch / table)
    below = folder if folder is not None else scratch / table
    scans = []
    for start in range(0, len(names), _FILES_A_SCAN):
        some = [below / name for name in names[start : start + _FILES_A_SCAN]]
        if mirror is not None:
            mirror.fetch(some)
        listed = ", ".join(quote_text(unglobbed(str(path))) for path in some)
        scans.append(f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)")
    return scans
