"""Reads a file of quarantined rows that was exported and edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.errors import SourceError, UsageError
from loopwright.core.storage.duck import quote_name
from loopwright.data.sources.files import files
from loopwright.data.sources.tabular import read_file
from loopwright.data.sources.unit import DEFECT, ROW, TEXT, UnreadableUnitError

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

ID = "_id"
REASONS = "_reasons"
FROM, NUMBER, ARRIVED = "_from", "_row", "_arrived"  # the row's source, its number there, and when it first came
ORIGIN = ("_source", "_source_row", "_arrived_at", "_ingest_id")
_OURS = {ID, REASONS, FROM, NUMBER, ARRIVED, ROW}


def take_file(con: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    """Read an edited file into the table ``given`` (``__id`` and its columns), and return its columns.

    Raises:
        SourceError: If the file, or a row of it, cannot be read.
        UsageError: If it does not say which row is which.
    """
    table = _read(path)
    if ID not in table.column_names:
        raise UsageError(
            f"{path} has no column {ID}, which says which row is which.",
            hint="Export the rows with `loopwright data quarantine export`, and edit that file.",
        )
    columns = [name for name in table.column_names if name not in _OURS]
    con.register("the file", table)
    listed = "".join(f", {quote_name(name)}" for name in columns)
    con.execute(f'CREATE OR REPLACE TEMP TABLE given AS SELECT {ID}::VARCHAR AS __id{listed} FROM "the file"')
    con.unregister("the file")
    twice = con.execute("SELECT __id FROM given GROUP BY __id HAVING count(*) > 1 ORDER BY __id LIMIT 1").fetchone()
    if twice is not None:
        raise UsageError(f"{path} has the row {ID} = {twice[0]} more than once.", hint="Keep one of them.")
    return columns


def _read(path: Path) -> pa.Table:
    try:
        batches = [batch for batch in read_file(path, files(str(path))) if batch.num_columns]
    except UnreadableUnitError as error:
        raise SourceError(f"{path} cannot be read: {error}.", hint="Correct the file and run again.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.", hint="Check the path.") from error
    table = pa.concat_tables(batches, promote_options="default") if batches else pa.table({})
    if DEFECT in table.column_names:
        broken = table.filter(table[DEFECT].is_valid())
        if broken.num_rows:
            where, why = broken[ROW][0].as_py(), broken[DEFECT][0].as_py()
            raise SourceError(f"{path}, row {where}: {why}.", hint="Correct that row; nothing was replayed.")
    return table.drop_columns([name for name in (DEFECT, TEXT) if name in table.column_names])
