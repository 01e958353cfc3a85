"""Rows by column are the rows that they stand for, and are read as those are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidRequestError
from loopwright.features.assembly import FeatureAssembly
from loopwright.features.column_block import ColumnBlock
from loopwright.features.field import Field
from loopwright.features.request import RequestField, read_field
from loopwright.features.request_column import read_column
from loopwright.features.row_batch import RowBatch

FLOATS = FeatureAssembly(
    (RequestField("b", "float"), RequestField("a", "float")), (Field("a", "float64"), Field("b", "float64"))
)
MIXED = FeatureAssembly(
    (
        RequestField("km", "float", required=False),
        RequestField("rooms", "int"),
        RequestField("open", "bool"),
        RequestField("city", "category", required=False),
        RequestField("at", "timestamp"),
    ),
    (
        Field("km", "float64"),
        Field("rooms", "int64", nullable=False),
        Field("open", "bool", nullable=False),
        Field("city", "category", categories=("Bergen", "Oslo")),
        Field("at", "timestamp"),
    ),
    known=frozenset({"note"}),
)


@st.composite
def batches(draw: st.DrawFn) -> RowBatch:
    rows = draw(st.integers(1, 5))
    km = draw(st.lists(st.floats(allow_infinity=False, width=32), min_size=rows, max_size=rows))
    rooms = draw(st.lists(st.integers(-(2**53), 2**53), min_size=rows, max_size=rows))
    cities = draw(st.lists(st.sampled_from(["Oslo", "Bergen", "Rome", None]), min_size=rows, max_size=rows))
    columns = {
        "km": np.array(km, dtype=draw(st.sampled_from(["<f4", "<f8"]))),
        "rooms": np.array(rooms),
        "open": np.array([room > 0 for room in rooms]),
        "city": draw(st.sampled_from([cities, np.array([*cities, None], dtype=object)[:-1]])),
        "at": ["2026-01-31T12:00:00Z"] * rows,
    }
    dropped = draw(st.sampled_from(["km", "city", ""]))
    extra = draw(st.sampled_from(["note", "weather", ""]))
    columns = {name: values for name, values in columns.items() if name != dropped}
    return RowBatch(columns | ({extra: ["x"] * rows} if extra else {}), rows)


@given(batches())
def test_a_batch_is_assembled_as_its_rows_are(batch):
    by_column, by_row = MIXED.assemble(batch), MIXED.assemble(list(batch))
    assert by_column.ignored == by_row.ignored
    for field in MIXED.fields:
        np.testing.assert_array_equal(by_column.columns[field.name], by_row.columns[field.name])
        assert by_column.columns[field.name].dtype == by_row.columns[field.name].dtype
    assert by_column.served == by_row.served


@given(batches(), st.integers(-6, 6), st.integers(-6, 6))
def test_a_batch_is_the_sequence_of_its_rows(batch, start, stop):
    rows = list(batch)
    assert [batch[place] for place in range(-len(batch), len(batch))] == rows + rows
    assert list(batch[start:stop]) == rows[start:stop]
    assert len(batch[start:stop]) == len(rows[start:stop])
    with pytest.raises(IndexError):
        batch[len(batch)]


def test_a_matrix_is_taken_whole():
    matrix = np.array([[1, 2], [3, 4]], dtype=np.float32)
    found = FLOATS.assemble(RowBatch(ColumnBlock(("a", "b"), matrix), 2))
    assert isinstance(found.columns, ColumnBlock)
    assert found.columns.matrix.dtype == np.float64
    assert found.columns.matrix.flags.writeable
    assert found.served == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]
    turned = FLOATS.assemble(RowBatch(ColumnBlock(("b", "a"), matrix), 2))
    assert turned.served == [{"a": 2.0, "b": 1.0}, {"a": 4.0, "b": 3.0}]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": np.ones(2)}, "Row 0: the field 'b' is missing"),
        ({"a": np.ones(2), "b": np.array([1.0, np.nan])}, "Row 1: the field 'b' is null"),
        ({"a": np.ones(2), "b": np.array([True, False])}, "must be a number, got bool"),
        ({"a": np.ones(2), "b": ["x", "y"]}, "must be a number, got str 'x'"),
        ({"a": np.ones(2), "b": np.ones((2, 3))}, r"one value per row, got arrays of shape \[3\]"),
    ],
)
def test_what_is_wrong_is_said_as_for_rows(columns, said):
    with pytest.raises(InvalidRequestError, match=said):
        FLOATS.assemble(RowBatch(columns, 2))


def test_unknown_columns_are_left_aside_and_named():
    batch = RowBatch({"a": np.ones(1), "b": np.ones(1), "c": np.ones(1)}, 1)
    assert FLOATS.assemble(batch).ignored == ("c",)


def test_numbers_beyond_64_bits_are_refused():
    with pytest.raises(InvalidRequestError, match="too large"):
        read_column(RowBatch({"n": np.array([2**63], dtype=np.uint64)}, 1), RequestField("n", "int"))


ARRAYS = RequestField("pixels", "int", shape=(2, 2))


def test_a_field_may_take_an_array_per_row():
    nested = read_field([{"pixels": [[1, 2], [3, 4]]}, {"pixels": [5, 6, 7, 8]}], ARRAYS)
    by_column = read_column(RowBatch({"pixels": np.arange(1, 9, dtype=np.int32).reshape(2, 4)}, 2), ARRAYS)
    assert nested.tolist() == by_column.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert RequestField.from_json(ARRAYS.to_json()) == ARRAYS


@pytest.mark.parametrize("value", [[1, 2, 3], [1, 2, 3, None], 7, "x", [[1, 2], 3], [1, 2, 3, 4.5], None])
def test_an_array_of_another_shape_is_refused(value):
    with pytest.raises(InvalidRequestError, match="Row 0: the field 'pixels'"):
        read_field([{"pixels": value}], ARRAYS)


@pytest.mark.parametrize("values", [np.ones((1, 4)), np.ones((1, 3), dtype=np.int64), np.ones(1, dtype=np.int64)])
def test_a_column_of_another_shape_is_refused(values):
    with pytest.raises(InvalidRequestError, match="'pixels' takes arrays of int"):
        read_column(RowBatch({"pixels": values}, 1), ARRAYS)
