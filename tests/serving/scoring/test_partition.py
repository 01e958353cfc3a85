"""Parts: every row in one, and the same ones each time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.serving.scoring.partition import plan_parts, read_slice
from loopwright.serving.scoring.staging import RowFile, Staging


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=5),
    part_rows=st.integers(1, 50),
    batch_rows=st.integers(1, 20),
)
def test_every_row_is_in_one_part_in_its_order(files, part_rows, batch_rows, tmp_path):
    found, done = [], 0
    for number, (rows, group) in enumerate(files):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"n": np.arange(done, done + rows)}), path, row_group_size=group)
        found.append(RowFile(path, path.name))
        done += rows
    parts = plan_parts(found, part_rows)
    assert parts == plan_parts(found, part_rows)
    assert all(0 < part.rows <= max(part_rows * 3 // 2, part_rows) for part in parts)
    seen = []
    for part in parts:
        assert part.first_row == len(seen)
        for one in part.slices:
            for batch in read_slice(one, ["n", "absent"], batch_rows=batch_rows):
                assert batch.num_rows <= batch_rows
                seen += batch.column("n").to_pylist()
    assert seen == list(range(done))


def test_small_files_share_a_part(tmp_path):
    files = []
    for number in range(10):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"n": [number] * 5}), path)
        files.append(RowFile(path, path.name))
    assert [part.rows for part in plan_parts(files, 20)] == [20, 20, 10]


def test_staged_rows_come_back_with_a_digest_of_their_values(tmp_path):
    def staged(folder, *tables):
        staging = Staging(tmp_path / folder)
        for table in tables:
            staging.add(table, "here")
        files = staging.close()
        return staging.digest, [row for one in files for row in pq.read_table(one.path).to_pylist()]

    rows = pa.table({"n": np.arange(200_000), "t": ["a", "b"] * 100_000})
    whole, read = staged("whole", rows)
    cut, read_again = staged("cut", rows.slice(0, 7), rows.slice(7))
    assert whole == cut
    assert read == read_again == rows.to_pylist()
    other, _ = staged("other", rows.slice(0, 199_999))
    assert other != whole
    mixed = staged("mixed", pa.table({"a": [1]}), pa.table({"b": ["x"]}))[1]
    assert mixed == [{"a": 1}, {"b": "x"}]
