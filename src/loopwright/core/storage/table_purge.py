"""Take rows out of every version of a table for good, versions and their numbers staying as they are.

A deletion in Delta leaves the rows in the files of older versions. Here each file that has such a row, whichever
version names it or none, is replaced under its own name by one without it (see ``parquet_edit``),
and what the log says about its values is taken back. Every step replaces one object as a whole and finds nothing to do
when it is repeated, so that a purge that was killed is completed by running it again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import obstore

from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.core.storage.parquet_edit import without_rows
from loopwright.core.storage.table_errors import committing
from loopwright.core.storage.table_files import unglobbed
from loopwright.core.storage.table_log import TableLog, rows_only
from loopwright.core.storage.table_mirror import TableMirror

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import duckdb

    from loopwright.core.storage.tables import TableStore

_FILES_A_SCAN = 500  # open at once


def purge_rows(
    con: duckdb.DuckDBPyConnection,
    tables: TableStore,
    table: str,
    condition: str,
    scratch: Path,
    *,
    key: Sequence[str] = (),
    order: Sequence[str] = (),
    on_file: Callable[[str], None] | None = None,
    on_replaced: Callable[[], None] = lambda: None,
) -> int:
    """Take rows out of all files of a table, also of those that a compaction under way makes of the others meanwhile.

    Args:
        con: A connection of the caller's.
        tables: The store.
        table: The table.
        condition: Which rows; see :meth:`TablePurge.doom`, as for ``key`` and ``order``.
        scratch: A folder for copies.
        key: See there.
        order: See there.
        on_file: Told the name of each file when it is replaced.
        on_replaced: Called when all are, before the log is brought in line.

    Returns:
        How many rows went; 0 from a purge that completes what another left.
    """
    seen: set[str] = set()
    rows = 0
    while (purge := TablePurge(con, tables, table, scratch, seen=seen)).names:
        if purge.doom(condition, key=key, order=order):
            rows += purge.remove(on_file).rows
        seen.update(purge.names)
    on_replaced()
    TablePurge(con, tables, table, scratch).settle()
    return rows


def values_where(
    con: duckdb.DuckDBPyConnection, tables: TableStore, table: str, condition: str, expression: str, scratch: Path
) -> set[str]:
    """Return the texts that an expression gives for the rows of all files of a table for which a condition holds."""
    purge = TablePurge(con, tables, table, scratch)
    return purge.values(expression) if purge.doom(condition) else set()


def drop_table(tables: TableStore, table: str) -> bool:
    """Delete a table with all its versions, its log first, or what a killed deletion left; say if there was any."""
    place = tables.location.child(table)
    if place.folder is not None and not place.folder.exists():
        return False
    log = TableLog(place)
    with committing(f"delete table '{table}'"):
        names = [str(meta["path"]) for batch in obstore.list(log.store) for meta in batch]
        for name in sorted(names, key=lambda one: (not one.startswith("_delta_log"), one)):
            obstore.delete(log.store, name)
    if place.folder is not None:
        shutil.rmtree(place.folder, ignore_errors=True)  # which would else be a table by its name
    tables.forget(table)
    return bool(names) or place.folder is not None


@dataclass(frozen=True)
class Purged:
    """What went."""

    rows: int
    files: int


class TablePurge:
    """Finds and removes rows in all files of one table. The caller keeps other writers of the table away.

    Args:
        con: A connection of the caller's; views and tables named ``purge …`` are made in it.
        tables: The store.
        table: The table.
        scratch: A folder for copies; files of a remote table are fetched to it.
        seen: Files to leave out.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        tables: TableStore,
        table: str,
        scratch: Path,
        *,
        seen: Collection[str] = (),
    ) -> None:
        self.log = TableLog(tables.location.child(table))
        self._con = con
        self._tables = tables
        self._table = table
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        folder = self.log.place.folder
        self._mirror = None if folder is not None else TableMirror(self.log.place, scratch / table)
        self._folder = folder if folder is not None else scratch / table
        self.names = tuple(sorted(self.log.files().keys() - set(seen)))
        con.execute('CREATE OR REPLACE TEMP TABLE "purge doomed" (file VARCHAR, n BIGINT)')

    def doom(self, condition: str, *, key: Sequence[str] = (), order: Sequence[str] = ()) -> int:
        """Mark the rows, in all files, for which a condition holds, and return how many.

        Args:
            condition: DuckDB SQL over the table's columns.
            key: With ``order``: rows of the same key that come before a marked one are marked too, since they would
                otherwise count again.
            order: Columns that put the rows of one key in order.
        """
        listed = "".join(f", {quote_name(name)}" for name in dict.fromkeys([*key, *order]))
        self._con.execute('DROP TABLE IF EXISTS "purge matched"')
        for scan in self._scans():
            select = f"SELECT filename AS file, file_row_number AS n{listed} FROM {scan} WHERE {condition}"
            exists = self._con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'purge matched'").fetchone()
            self._con.execute(
                f'INSERT INTO "purge matched" {select}' if exists else f'CREATE TEMP TABLE "purge matched" AS {select}'
            )
        if not self.names:
            return 0
        self._con.execute('INSERT INTO "purge doomed" SELECT file, n FROM "purge matched"')
        if key:
            names = ", ".join(quote_name(name) for name in key)
            moment = ", ".join(quote_name(name) for name in order)
            for scan in self._scans():
                self._con.execute(
                    f'INSERT INTO "purge doomed" SELECT s.filename, s.file_row_number FROM {scan} AS s JOIN '
                    f'(SELECT {names}, max(row({moment})) AS last FROM "purge matched" GROUP BY {names}) AS m '
                    f"USING ({names}) WHERE row({', '.join('s.' + quote_name(name) for name in order)}) < m.last"
                )
        self._con.execute('CREATE OR REPLACE TEMP TABLE "purge doomed" AS SELECT DISTINCT file, n FROM "purge doomed"')
        return int(self._con.execute('SELECT count(*) FROM "purge doomed"').fetchall()[0][0])

    def by_file(self) -> dict[str, int]:
        """Return how many marked rows each file has, by its name below the table."""
        rows = self._con.execute('SELECT file, count(*) FROM "purge doomed" GROUP BY file').fetchall()
        return {self._name(file): int(count) for file, count in rows}

    def by_file_and_key(self, key: Sequence[str]) -> list[tuple[str, int, int, int]]:
        """Return, by file and key with a marked row: the file, a number for the key, its marked rows, its others."""
        names = ", ".join(quote_name(name) for name in key)
        found: list[tuple[str, int, int, int]] = []
        self._con.execute(
            f'CREATE OR REPLACE TEMP TABLE "purge keys" AS SELECT {names}, row_number() OVER () AS k '
            f'FROM (SELECT DISTINCT {names} FROM "purge matched")'
        )
        for scan in self._scans():
            rows = self._con.execute(
                f"SELECT s.filename, k, count(d.n), count(*) - count(d.n) FROM {scan} AS s "
                f'JOIN "purge keys" USING ({names}) LEFT JOIN "purge doomed" AS d '
                "ON d.file = s.filename AND d.n = s.file_row_number GROUP BY ALL"
            ).fetchall()
            found += [(self._name(file), int(k), int(gone), int(left)) for file, k, gone, left in rows]
        return found

    def values(self, expression: str) -> set[str]:
        """Return the texts that an expression over the table's columns gives for the marked rows, without nulls."""
        found: set[str] = set()
        for scan in self._scans():
            rows = self._con.execute(
                f"SELECT DISTINCT ({expression})::VARCHAR FROM {scan} AS s "
                'JOIN "purge doomed" AS d ON d.file = s.filename AND d.n = s.file_row_number'
            ).fetchall()
            found.update(str(row[0]) for row in rows if row[0] is not None)
        return found

    def texts(self, pattern: str) -> set[str]:
        """Return what a pattern (RE2) finds in the text columns of the marked rows."""
        columns = (
            [field.name for field in self._tables.schema(self._table) if str(field.type) in {"string", "large_string"}]
            if self.names
            else []
        )
        found: set[str] = set()
        for scan in self._scans() if columns else ():
            for name in columns:
                rows = self._con.execute(
                    f"SELECT DISTINCT unnest(regexp_extract_all({quote_name(name)}, {quote_text(pattern)})) "
                    f'FROM {scan} AS s JOIN "purge doomed" AS d ON d.file = s.filename AND d.n = s.file_row_number'
                ).fetchall()
                found.update(str(row[0]) for row in rows)
        return found

    def remove(self, on_file: Callable[[str], None] | None = None) -> Purged:
        """Replace the files with marked rows, and what the log says about them.

        Args:
            on_file: Told the name of each file when it is replaced.
        """
        counts = self.by_file()
        left: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for name in sorted(counts):
            rows = self._con.execute(
                'SELECT n FROM "purge doomed" WHERE file = $file ORDER BY n', {"file": str(self._folder / name)}
            ).fetchnumpy()["n"]
            left[name], size = self._replace(name, np.asarray(rows, dtype=np.int64))
            if size is not None:
                sizes[name] = size
            if on_file is not None:
                on_file(name)
        self._tables.forget(self._table)
        return Purged(sum(counts.values()), len(counts))

    def settle(self) -> None:
        """Bring the log in line with files that have fewer rows than it says, and make its checkpoint again.

        Nor may it tell values of files that are not there any more: which rows they had cannot be seen.
        """
        there = self.log.files()
        said = self.log.statistics()
        rows = {name: max(map(_said_rows, texts)) for name, texts in said.items()}
        present = [name for name in there if name in said]
        for start in range(0, len(present), _FILES_A_SCAN):
            some = present[start : start + _FILES_A_SCAN]
            self._fetch(some)
            found = self._con.execute(
                f"SELECT file_name, num_rows FROM parquet_file_metadata([{self._quoted(some)}])"
            ).fetchall()
            for file, count in found:
                name = self._name(str(file))
                if set(map(_said_rows, said[name])) == {int(count)}:
                    rows.pop(name)  # as it was, or in line already
                else:
                    rows[name] = int(count)
        rows = {name: count for name, count in rows.items() if said[name] != {rows_only(count)}}
        sizes = {name: there[name].size_bytes for name in rows if name in there}
        if rows and self.log.restate(rows, sizes):
            self._tables.forget(self._table)
            self._tables.checkpoint(self._table)

    def _replace(self, name: str, positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int | None]:
        source = self._folder / name
        before = source.stat().st_size
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder, committing(f"replace '{name}'"):
            target = Path(folder) / "replacement"
            rows = without_rows(source, target, positions)
            obstore.put(self.log.store, name, target)
            size = target.stat().st_size
        if self._mirror is not None:
            source.unlink()
        return rows, None if size == before else size

    def _fetch(self, names: Sequence[str]) -> None:
        if self._mirror is not None:
            self._mirror.fetch([self._folder / name for name in names])

    def _scans(self) -> list[str]:
        """Write the table functions that read all files, some at a time."""
        written = []
        for start in range(0, len(self.names), _FILES_A_SCAN):
            some = self.names[start : start + _FILES_A_SCAN]
            self._fetch(some)
            written.append(
                f"read_parquet([{self._quoted(some)}], union_by_name = true, filename = true, file_row_number = true, "
                "hive_partitioning = false)"
            )
        return written

    def _quoted(self, names: Sequence[str]) -> str:
        return ", ".join(quote_text(unglobbed(str(self._folder / name))) for name in names)

    def _name(self, file: str) -> str:
        return Path(file).relative_to(self._folder).as_posix()


def _said_rows(statistics: str) -> int:
    return int(json.loads(statistics).get("numRecords") or 0)
