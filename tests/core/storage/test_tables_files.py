from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.storage.tables import TableStore


def test_the_files_of_a_version_hold_its_rows(tmp_path):
    store = TableStore(tmp_path)
    first = store.append("t", pa.table({"a": [1, 2]}))
    store.append("t", pa.table({"a": [3]}))
    assert pq.read_table(list(store.files("t", first))).column("a").to_pylist() == [1, 2]
    assert sorted(pq.read_table(list(store.files("t"))).column("a").to_pylist()) == [1, 2, 3]
    assert store.files("t", here=False) == store.files("t")
