"""Rows that may have to be read twice: a stream is kept in memory while it is small, and on disk beyond that."""

from __future__ import annotations

import itertools
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.storage.table_errors import committing

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_MEMORY_BYTES = 64 << 20


@contextmanager
def spooled(data: pa.Table | pa.RecordBatchReader, *, in_memory_bytes: int = _IN_MEMORY_BYTES) -> Iterator[pa.Table]:
    """Give a stream's rows as a table: in memory up to a bound, and memory-mapped from a temporary file beyond it."""
    if isinstance(data, pa.Table):
        yield data
        return
    batches: list[pa.RecordBatch] = []
    size = 0
    for batch in data:
        batches.append(batch)
        size += batch.nbytes
        if size > in_memory_bytes:
            break
    else:
        yield pa.Table.from_batches(batches, data.schema)
        return
    with tempfile.TemporaryDirectory(prefix="loopwright-spool-") as folder:
        path = Path(folder) / "rows.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, data.schema) as writer:
            for batch in itertools.chain(batches, data):
                with committing(f"keep rows in '{folder}'"):  # an error of the stream itself stays as it is
                    writer.write_batch(batch)
        batches.clear()
        with pa.memory_map(str(path)) as source:
            yield pa.ipc.open_file(source).read_all()
