"""Parquet files as tables keep them: blocks of rows, a new file beyond a bound, on disk for certain when closed."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BLOCK_ROWS = 122_880  # rows that a reader takes, or leaves out, together
FILE_BYTES = 128 << 20
_SAMPLE_ROWS = 16_384
_REPEATS = 8  # a column is kept as a dictionary where each value comes this often: small, and fast to read
_STATISTICS_COLUMNS = 64  # of a wide table only these go into the log, which every writer reads


@dataclass(frozen=True)
class ParquetFile:
    """A written file: where it lies, how large it is, and what the log says of its columns, in Delta's form."""

    path: Path
    size_bytes: int
    rows: int
    stats: str


class ParquetFiles:
    """Write rows of one schema into files ``<name>-<number>.parquet`` of a folder.

    Args:
        folder: where they go; it must exist.
        name: how their names begin.
        schema: the columns, in types that tables store.
    """

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._dictionaries: list[str] | None = None
        self._writer: pq.ParquetWriter | None = None
        self._path = folder
        self._done: list[ParquetFile] = []
        self._waiting: list[pa.Table] = []
        self._count = 0

    def write(self, rows: pa.Table) -> None:
        """Take rows; they are written in blocks."""
        if rows.num_rows == 0:
            return
        self._waiting.append(rows)
        self._count += rows.num_rows
        while self._count >= BLOCK_ROWS:
            table = pa.concat_tables(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
            rest = table.slice(BLOCK_ROWS)
            self._waiting = [rest] if rest.num_rows else []
            self._count = rest.num_rows
            self._block(table.slice(0, BLOCK_ROWS))

    def close(self) -> list[ParquetFile]:
        """Finish the files, put them on the disk, and return them in their order."""
        if self._waiting:
            self._block(pa.concat_tables(self._waiting))
            self._waiting = []
        self._finish()
        if self._done:
            synced(self._folder)
        return self._done

    def abandon(self) -> None:
        """Delete what was written."""
        writer, self._writer = self._writer, None
        with suppress(OSError):
            if writer is not None:
                writer.close()
        for path in {self._path, *(file.path for file in self._done)} - {self._folder}:
            path.unlink(missing_ok=True)
        self._done, self._waiting, self._count = [], [], 0

    def _block(self, rows: pa.Table) -> None:
        if self._dictionaries is None:
            self._dictionaries = repeating(rows)
        if self._writer is None:
            self._path = self._folder / f"{self._name}-{len(self._done):05d}.parquet"
            self._writer = pq.ParquetWriter(
                str(self._path),
                self._schema,
                use_dictionary=self._dictionaries or False,
                compression="snappy",
                store_schema=False,
            )
        self._writer.write_table(rows, row_group_size=BLOCK_ROWS)
        if self._path.stat().st_size >= FILE_BYTES:
            self._finish()

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.close()
        metadata = writer.writer.metadata
        size = synced(self._path)
        self._done.append(ParquetFile(self._path, size, metadata.num_rows, delta_stats(metadata, self._schema)))


def repeating(rows: pa.Table) -> list[str]:
    """Name the columns whose values repeat, from the first rows."""
    sample = rows.slice(0, _SAMPLE_ROWS)
    found = []
    for field in rows.schema:
        if pa.types.is_dictionary(field.type):
            found.append(field.name)
        elif pa.types.is_boolean(field.type) or pa.types.is_nested(field.type):
            continue
        elif pc.count_distinct(sample[field.name]).as_py() * _REPEATS <= sample.num_rows:
            found.append(field.name)
    return found


def described(path: Path) -> ParquetFile:
    """Describe a file that was written before."""
    with pq.ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
    return ParquetFile(path, path.stat().st_size, metadata.num_rows, delta_stats(metadata, schema))


def delta_stats(metadata: pq.FileMetaData, schema: pa.Schema) -> str:
    """Write a file's statistics as Delta's log has them: rows, and bounds and nulls of plain columns."""
    low: dict[str, object] = {}
    high: dict[str, object] = {}
    nulls: dict[str, int] = {}
    places = {metadata.schema.column(index).path: index for index in range(metadata.num_columns)}
    for field in list(schema)[:_STATISTICS_COLUMNS]:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name not in places or not pa.types.is_integer(kind):  # bounds of floats leave out that NaN is there
            continue
        groups = [metadata.row_group(group).column(places[field.name]) for group in range(metadata.num_row_groups)]
        known = [group.statistics for group in groups]
        if any(one is None or not one.has_null_count for one in known):
            continue
        nulls[field.name] = sum(one.null_count for one in known)
        bounded = [one for one in known if one.has_min_max]
        if bounded and all(one.has_min_max or one.num_values == 0 for one in known):
            low[field.name] = min(one.min for one in bounded)
            high[field.name] = max(one.max for one in bounded)
    return json.dumps({"numRecords": metadata.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls})


def synced(path: Path) -> int:
    """Put a file, or a folder's list of names, on the disk, and return its size."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


def is_flat(schema: pa.Schema) -> bool:
    """Tell whether no column holds structures, maps or vectors, nor lists but of numbers."""
    return not any(pa.types.is_nested(field.type) and not _is_list_of_numbers(field.type) for field in schema)


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) and (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))
    )


def read_files(files: Sequence[ParquetFile], schema: pa.Schema) -> pa.RecordBatchReader:
    """Stream the rows of files, each with all or some columns of a schema."""

    def batches() -> Iterator[pa.RecordBatch]:
        for one in files:
            with pq.ParquetFile(one.path) as file:
                for batch in file.iter_batches(BLOCK_ROWS):
                    rows, there = batch.num_rows, set(batch.schema.names)
                    columns = [
                        batch.column(field.name).cast(field.type) if field.name in there else pa.nulls(rows, field.type)
                        for field in schema
                    ]
                    yield pa.record_batch(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())
