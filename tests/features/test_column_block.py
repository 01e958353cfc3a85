from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.features.assembly import FeatureAssembly
from loopwright.features.column_block import BlockReader, ColumnBlock
from loopwright.features.columns import served_rows
from loopwright.features.field import Field
from loopwright.features.request import RequestField, read_field

NAMES = ("a", "b", "c")
INPUTS = tuple(RequestField(name, "float") for name in NAMES)
FIELDS = tuple(Field(name, "float64") for name in ("c", "a", "b"))
READER = BlockReader.for_fields(INPUTS, FIELDS)
EXACT = 2**53 - 1  # larger ones may be whole numbers that were rounded, and are read field by field
number = st.one_of(st.floats(-EXACT, EXACT), st.just(math.nan), st.integers(-EXACT, EXACT))


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, number)), min_size=1, max_size=5))
def test_a_block_is_what_reading_field_by_field_gives(rows):
    block = READER.read(rows)
    for field in INPUTS:
        assert np.array_equal(block[field.name], read_field(rows, field), equal_nan=True)
    columns = {field.name: read_field(rows, field) for field in INPUTS}
    assert block.plain_rows() == served_rows(columns, FIELDS)
    assert list(block) == ["c", "a", "b"]
    assert len(block) == 3


@pytest.mark.parametrize(
    "row",
    [
        {"a": 1, "b": 2},
        {"a": 1, "b": 2, "c": 3, "d": 4},
        {"a": 1, "b": 2, "c": None},
        {"a": 1, "b": 2, "c": True},
        {"a": 1, "b": 2, "c": "3"},
        {"a": 1, "b": 2, "c": 10**400},
        {"a": 1, "b": 2, "c": 2**53},  # perhaps a whole number that a float rounds
        {"a": 1, "b": math.nan, "c": 2**53},
        {"a": 1, "b": 2, "d": 3},
        [1, 2, 3],
        None,
    ],
)
def test_anything_unexpected_is_left_to_the_careful_way(row):
    assert READER.read([{"a": 1, "b": 2, "c": 3}, row]) is None


@pytest.mark.parametrize(
    ("inputs", "fields"),
    [
        ((), ()),
        ((RequestField("a", "float", required=False),), (Field("a", "float64"),)),
        ((RequestField("a", "int"),), (Field("a", "int64"),)),
        ((RequestField("a", "float"), RequestField("b", "float")), (Field("a", "float64"),)),
        ((RequestField("a", "float"),), (Field("a", "float64", origin="a_view"),)),
    ],
)
def test_models_of_more_than_plain_numbers_have_no_block(inputs, fields):
    assert BlockReader.for_fields(inputs, fields) is None


def test_one_column_is_a_block_too():
    reader = BlockReader.for_fields((RequestField("x", "float"),), (Field("x", "float64"),))
    assert reader.read([{"x": 1}, {"x": 2.5}]).matrix.tolist() == [[1.0], [2.5]]


def test_an_assembly_takes_plain_rows_as_a_block_and_reports_unknown_fields_all_the_same():
    assembly = FeatureAssembly(INPUTS, FIELDS, known=frozenset({"known"}))
    plain = assembly.assemble([{"a": 1, "b": math.nan, "c": 3}])
    assert isinstance(plain.columns, ColumnBlock)
    assert plain.served == [{"c": 3.0, "a": 1.0, "b": None}]
    assert plain.X.to_dict("list")["c"] == [3.0]
    assert isinstance(assembly.assemble([{"a": 1, "b": 2, "c": 3, "known": "x"}]).columns, ColumnBlock)
    other = assembly.assemble([{"a": 1, "b": 2, "c": 3, "known": 4, "extra": 5}])
    assert other.ignored == ("extra",)
    assert other.served == [{"c": 3.0, "a": 1.0, "b": 2.0}]
    with pytest.raises(KeyError):
        plain.columns["d"]
