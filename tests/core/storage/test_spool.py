from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from loopwright.core.storage.spool import spooled

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("in_memory_bytes", [10, 10**9])
def test_gives_every_row_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory_bytes: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    batches = [pa.record_batch({"n": pa.array([i] * 10, pa.int64())}) for i in range(20)]
    reader = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    with spooled(reader, in_memory_bytes=in_memory_bytes) as table:
        assert table["n"].to_pylist() == [i for i in range(20) for _ in range(10)]
        assert bool(list(tmp_path.iterdir())) == (in_memory_bytes == 10)
    assert list(tmp_path.iterdir()) == []


def test_a_table_and_an_empty_stream_pass_through() -> None:
    table = pa.table({"n": [1]})
    with spooled(table) as same:
        assert same is table
    with spooled(pa.RecordBatchReader.from_batches(table.schema, [])) as empty:
        assert (empty.num_rows, empty.schema) == (0, table.schema)
