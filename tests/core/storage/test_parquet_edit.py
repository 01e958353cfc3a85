from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.storage.parquet_edit import without_rows


@settings(max_examples=60)
@given(
    values=st.lists(st.tuples(st.integers(-9, 9), st.text(max_size=6), st.floats(allow_nan=False)), max_size=60),
    groups=st.integers(1, 20),
    codec=st.sampled_from(["none", "snappy", "zstd"]),
    data=st.data(),
)
def test_the_other_rows_stay_and_the_size_too(
    values: list[tuple[int, str, float]], groups: int, codec: str, data: st.DataObject
) -> None:
    positions = data.draw(st.sets(st.integers(0, max(len(values) - 1, 0)))) if values else set()
    rows = pa.table(
        {
            "n": pa.array([value[0] for value in values], pa.int64()),
            "s": pa.array([value[1] or None for value in values], pa.string()),
            "x": pa.array([[value[2]] for value in values], pa.list_(pa.float64())),
            "t": pa.array([value[0] for value in values], pa.timestamp("us", tz="UTC")),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a", Path(folder) / "b"
        pq.write_table(rows, source, row_group_size=groups, compression=codec)
        left = without_rows(source, target, np.array(sorted(positions), dtype=np.int64))
        kept = [row for n, row in enumerate(rows.to_pylist()) if n not in positions]
        assert pq.read_table(target).to_pylist() == kept
        assert left == len(kept)
        assert pq.read_schema(target) == pq.read_schema(source)
        assert target.stat().st_size == source.stat().st_size or len(values) < 10


def test_a_file_of_views_as_a_delete_writes_it_loses_rows_too(tmp_path: Path) -> None:
    values = [[{"check": f"c{n}", "cells": [b"x" * n]}] for n in range(51)]
    write_deltalake(tmp_path / "t", pa.table({"id": [f"r{n}" for n in range(51)], "reasons": values}))
    table = DeltaTable(tmp_path / "t")
    table.delete("id = 'r50'")
    (name,) = table.file_uris()
    source = Path(name)
    assert pa.types.is_string_view(pq.read_schema(source).field("id").type)
    before = pq.read_table(source).to_pylist()
    assert without_rows(source, tmp_path / "b", np.array([1, 30], dtype=np.int64)) == 48
    assert pq.read_table(tmp_path / "b").to_pylist() == [row for n, row in enumerate(before) if n not in (1, 30)]
    assert source.stat().st_size == (tmp_path / "b").stat().st_size
