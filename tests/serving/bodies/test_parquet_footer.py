from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.features.request import RequestField
from loopwright.serving.bodies.parquet_footer import read_footer
from loopwright.serving.bodies.rows_body import read_rows
from loopwright.serving.http.media_type import PARQUET

X = (RequestField("x", "float", required=False),)


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_the_reader_of_a_file_sees_nothing_of_its_footer_but_what_is_wanted():
    table = pa.table({"x": [1.0, 2.0], "more": ["a", "b"], "nested": [[1], [2]], "n": [1, 2]})
    body = parquet(table.replace_schema_metadata({"who": "somebody"}))
    footer = read_footer(body, {"x", "n", "other"})
    assert footer.names == ["x", "more", "nested", "n"]
    assert (footer.wanted, footer.rows, len(footer.chunks)) == (["x", "n"], 2, 2)
    metadata = pq.read_metadata(pa.BufferReader(footer.replaced(body)))
    assert metadata.metadata is None
    assert [metadata.row_group(0).column(place).path_in_schema for place in range(metadata.num_columns)] == ["x", "n"]
    assert not any(metadata.row_group(0).column(place).is_stats_set for place in range(2))
    assert pq.read_table(pa.BufferReader(footer.replaced(body))) == table.select(["x", "n"])
    assert (
        len(read_rows(parquet(table.select(["more"])), PARQUET, (RequestField("x", "float", required=False),)).rows)
        == 2
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("ns", "UTC")),
        ([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("ms", "Europe/Oslo")),
        ([2**31], pa.uint32()),
        ([Decimal("1.25")], pa.decimal128(9, 2)),
        (["a"], pa.large_string()),
        ([1.5], pa.float16()),
    ],
)
def test_types_outlive_the_new_footer(values, kind):
    body = parquet(pa.table({"x": pa.array(values, kind)}))
    table = pq.read_table(pa.BufferReader(read_footer(body, {"x"}).replaced(body)))
    assert table["x"].to_pylist() == values


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_no_footer_breaks_its_reader(before, footer):
    body = b"PAR1" + before + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with suppress(ValueError):
        read_footer(body, {"x"})
