"""Rows brought into Parquet files of the job, where they cannot be read again in parts as they are.

Text formats, queries and joins are read once, in order, in bounded memory; what is scored, and scored again after a
death, is then the same rows whatever happens to their source.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.storage.parquet import synced

if TYPE_CHECKING:
    from pathlib import Path

GROUP_ROWS = 65_536
FILE_ROWS = 16 * GROUP_ROWS


@dataclass(frozen=True)
class RowFile:
    """A Parquet file with rows to score.

    Attributes:
        path: Where it lies on this machine.
        source: What people know its rows by.
    """

    path: Path
    source: str


class Staging:
    """Write tables into files of a folder: one schema each, in groups of `GROUP_ROWS`.

    Args:
        folder: Where they go; made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files: list[RowFile] = []
        self._writer: pq.ParquetWriter | None = None
        self._path = folder
        self._schema: pa.Schema | None = None
        self._source = ""
        self._in_file = 0
        self._waiting: list[pa.Table] = []
        self._held = 0
        self._sha = hashlib.sha256()
        self.rows = 0

    def add(self, rows: pa.Table, source: str) -> None:
        """Take rows, in their order."""
        if rows.num_rows == 0:
            return
        schema = rows.schema.remove_metadata()
        if self._schema is not None and (schema != self._schema or source != self._source):
            self._finish()
        self._schema, self._source = schema, source
        self._waiting.append(rows.replace_schema_metadata(None))
        self._held += rows.num_rows
        self.rows += rows.num_rows
        while self._held >= GROUP_ROWS:
            table = pa.concat_tables(self._waiting)
            self._group(table.slice(0, GROUP_ROWS))
            rest = table.slice(GROUP_ROWS)
            self._waiting, self._held = ([rest] if rest.num_rows else []), rest.num_rows

    def close(self) -> list[RowFile]:
        """Put everything on the disk, and return the files in the order of their rows."""
        self._finish()
        if self._files:
            synced(self._folder)
        return self._files

    @property
    def digest(self) -> str:
        """A digest of the rows, in their order, once it is closed."""
        return self._sha.hexdigest()

    def _group(self, rows: pa.Table) -> None:
        if self._writer is None:
            self._path = self._folder / f"rows-{len(self._files):06d}.parquet"
            self._writer = pq.ParquetWriter(str(self._path), rows.schema, compression="snappy")
            self._sha.update(str(rows.schema).encode())
            self._in_file = 0
        rows = rows.combine_chunks()
        for column in rows.columns:
            self._sha.update(_content(column))
        self._writer.write_table(rows, row_group_size=GROUP_ROWS)
        self._in_file += rows.num_rows
        if self._in_file >= FILE_ROWS:
            self._end_file()

    def _finish(self) -> None:
        if self._waiting:
            self._group(pa.concat_tables(self._waiting))
            self._waiting, self._held = [], 0
        self._end_file()

    def _end_file(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            synced(self._path)
            self._files.append(RowFile(self._path, self._source))


def _content(column: pa.ChunkedArray) -> bytes:
    """Return the values of a column of one chunk as bytes that depend on nothing else."""
    sink = pa.BufferOutputStream()
    table = pa.table({"values": column})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).digest()
