"""Cells as files have them, read as a request's fields."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidRequestError
from loopwright.features.request import RequestField
from loopwright.features.request_column import read_column as read_batch_column
from loopwright.features.row_batch import RowBatch
from loopwright.serving.scoring.row_columns import find_faults, read_column


def taken(values, kind, arrow=None, *, required=True):
    """Read a column; return the good rows as a request's columns are read, and the places of the others."""
    batch = pa.record_batch({"f": pa.array(values, arrow)})
    field = RequestField("f", kind, required)
    columns, faults = find_faults(batch, (field,))
    good = [row for row in range(batch.num_rows) if row not in faults]
    column = columns["f"]
    chosen = [column[row] for row in good] if isinstance(column, list) else column[good]
    read = read_batch_column(RowBatch({"f": chosen}, len(good)), field) if good else []
    return list(read), sorted(faults)


@pytest.mark.parametrize(
    ("values", "kind", "good", "bad"),
    [
        (["1.5", " 2 ", "1e3", "-.5", "x", "", None, "0x1f"], "float", [1.5, 2.0, 1000.0, -0.5], [4, 5, 6, 7]),
        (["1", "2.0", "2.5", "9223372036854775808", "-3"], "int", [1, 2, -3], [2, 3]),
        ([1, 2**62 + 1, None], "int", [1, 2**62 + 1], [2]),
        ([1.0, 2.5, float("nan")], "int", [1], [1, 2]),
        ([1, 2, 3], "float", [1.0, 2.0, 3.0], []),
        ([True, False], "bool", [True, False], []),
        (["true", "NO", "1", "maybe"], "bool", [True, False, True], [3]),
        ([7, 8], "category", ["7", "8"], []),
        (["a", None], "string", ["a"], [1]),
        ([[1.0]], "float", [], [0]),
        ([date(2026, 1, 2), None], "date", [np.datetime64("2026-01-02", "us")], [1]),
        (
            ["2026-01-31T12:00:00Z", "2026-01-31 13:00+01:00", "soon", ""],
            "timestamp",
            [np.datetime64("2026-01-31T12:00", "us")] * 2,
            [2, 3],
        ),
        ([datetime(2026, 1, 31, 12, tzinfo=UTC)], "timestamp", [np.datetime64("2026-01-31T12:00", "us")], []),
        ([b"png", None], "image", [b"png"], [1]),
        (["cG5n", "no base64!"], "image", [b"png"], [1]),
    ],
)
def test_cells_are_read_as_the_field_is(values, kind, good, bad):
    assert taken(values, kind) == (good, bad)


def test_a_missing_value_of_a_field_that_may_lack_one_is_no_fault():
    read, faults = taken([1.0, None], "float", required=False)
    assert (read[0], np.isnan(read[1]), faults) == (1.0, True, [])
    assert taken([None, "x"], "category", required=False) == ([None, "x"], [])
    assert find_faults(pa.record_batch({"g": [1]}), (RequestField("f", "float", required=False),)) == ({}, {})


def test_lists_of_the_wrong_length_are_faults():
    field = RequestField("v", "float", shape=(2, 2))
    column = pa.array([[1.0, 2, 3, 4], [1.0, 2], None])
    read = read_column(column, field)
    assert read.bad.tolist() == [False, True, False]
    assert read.missing.tolist() == [False, False, True]
    whole = read_column(pa.array([[1.0, 2, 3, 4]]), field)
    assert whole.values.shape == (1, 2, 2)


def test_what_is_hidden_is_not_shown():
    field = RequestField("f", "int", hidden="hash")
    _, faults = find_faults(pa.record_batch({"f": ["secret"]}), (field,))
    assert "secret" not in faults[0].reason


@given(st.lists(st.one_of(st.none(), st.floats(allow_infinity=False), st.integers(-(2**60), 2**60))))
def test_what_a_request_takes_a_column_takes(values):
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) > 1:
        values = [None if value is None else float(value) for value in values]
    field = RequestField("f", "float", required=False)
    read, faults = taken(values, "float", pa.float64() if kinds != {int} else pa.int64(), required=False)
    assert faults == []
    if not values:
        return
    try:
        wanted = read_batch_column(RowBatch({"f": list(values)}, len(values)), field)
    except InvalidRequestError:
        return
    np.testing.assert_array_equal(np.array(read, dtype=float), wanted)
