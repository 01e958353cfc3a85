"""Reads files that bring columns and types along: Parquet, Arrow IPC (file and stream) and ORC.

Lists, structs and maps stay what they are; what no table can hold (times of day, durations, unions) is refused when the
rows are judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.data.sources.compression import opened
from loopwright.data.sources.files import compression_of
from loopwright.data.sources.orc import orc_stream
from loopwright.data.sources.unit import BATCH_ROWS, UnreadableUnitError, check_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ARROW_FILE = b"ARROW1"  # magic of the Arrow IPC file format, https://arrow.apache.org/docs/format/Columnar.html
_ARROW_STREAM = b"\xff\xff\xff\xff"
_FEATHER_1 = b"FEA1"


def read_parquet(path: Path) -> Iterator[pa.Table]:
    """Read a Parquet file, at most 65,536 rows at a time."""
    _require_plain(path, "Parquet")
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        check_header(file.schema_arrow.names)
        batches = (pa.Table.from_batches([batch]) for batch in file.iter_batches(BATCH_ROWS))
        yield from _or_empty(batches, file.schema_arrow)


def read_orc(path: Path) -> Iterator[pa.Table]:
    """Read an ORC file, stripe by stripe."""
    _require_plain(path, "ORC")
    stream = orc_stream(path)
    schema = next(stream).schema
    check_header(schema.names)
    yield from _or_empty(_cut(stream), schema)


def read_arrow(path: Path) -> Iterator[pa.Table]:
    """Read an Arrow IPC file or stream, told apart by how it begins; a stream may be compressed as a whole."""
    with opened(path) as file:
        head = file.read(len(_ARROW_FILE))
    if not head:
        return
    if head.startswith(_FEATHER_1):
        raise UnreadableUnitError("Feather version 1 is no longer read; write it again as version 2 (Arrow IPC)")
    if head == _ARROW_FILE:
        _require_plain(path, "an Arrow file")
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            check_header(reader.schema.names)
            tables = (pa.Table.from_batches([reader.get_batch(n)]) for n in range(reader.num_record_batches))
            yield from _or_empty(_cut(tables), reader.schema)
        return
    if not head.startswith(_ARROW_STREAM):
        raise UnreadableUnitError("it begins neither as an Arrow file nor as an Arrow stream")
    with opened(path) as file, pa.ipc.open_stream(file) as reader:
        check_header(reader.schema.names)
        tables = (pa.Table.from_batches([batch]) for batch in reader)
        yield from _or_empty(_cut(tables), reader.schema)


def _require_plain(path: Path, what: str) -> None:
    compression = compression_of(path.name)
    if compression is not None:
        raise UnreadableUnitError(
            f"{what} is read at any place and cannot be compressed as a whole ({compression}); unpack it"
        )


def _cut(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Give at most :data:`BATCH_ROWS` rows at a time."""
    for table in tables:
        for first in range(0, table.num_rows, BATCH_ROWS):
            yield table.slice(first, BATCH_ROWS)


def _or_empty(tables: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Give a table without rows where there is none with rows, so that the columns are seen."""
    is_empty = True
    for table in tables:
        is_empty = False
        yield table
    if is_empty:
        yield schema.empty_table()
