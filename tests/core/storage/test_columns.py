"""Tables hold what was put into them, whatever the types and however the appends are cut."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.core.storage.columns import duck_type, storable_type, to_storable
from loopwright.core.storage.tables import TableStore

_MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
_PLAIN: dict[pa.DataType, st.SearchStrategy[object]] = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): _TEXTS,
    pa.binary(): st.binary(max_size=8),
    pa.date32(): st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    pa.timestamp("us", tz="UTC"): _MOMENTS,
}


def _element(kind: pa.DataType) -> pa.Field:
    return pa.field("element", kind)


def _nested(
    kind: pa.DataType, values: st.SearchStrategy[object]
) -> list[tuple[pa.DataType, st.SearchStrategy[object]]]:
    maybe = st.none() | values
    return [
        (kind, maybe),
        (pa.list_(_element(kind)), st.none() | st.lists(maybe, max_size=3)),
        (pa.list_(_element(kind), 2), st.none() | st.lists(maybe, min_size=2, max_size=2)),
        (
            pa.struct([("k", kind), ("two words", pa.int64())]),
            st.none() | st.fixed_dictionaries({"k": maybe, "two words": st.none()}),
        ),
    ]


_TYPED = [entry for kind, values in _PLAIN.items() for entry in _nested(kind, values)]


@st.composite
def appends(draw: st.DrawFn) -> tuple[pa.Schema, list[pa.Table]]:
    """Draw a few columns, and appends that each bring some of them."""
    columns = {
        f"c{i}": entry for i, entry in enumerate(draw(st.lists(st.sampled_from(_TYPED), min_size=1, max_size=4)))
    }
    tables = []
    for _ in range(draw(st.integers(1, 3))):
        names = draw(st.lists(st.sampled_from(sorted(columns)), min_size=1, unique=True))
        rows = draw(st.integers(0, 3))
        tables.append(
            pa.table(
                {name: pa.array([draw(columns[name][1]) for _ in range(rows)], columns[name][0]) for name in names}
            )
        )
    return pa.schema([(name, entry[0]) for name, entry in columns.items()]), tables


@given(appends())
@settings(max_examples=40, deadline=None)
def test_what_goes_in_comes_out(drawn: tuple[pa.Schema, list[pa.Table]]) -> None:
    schema, tables = drawn
    seen = [name for name in schema.names if any(name in table.column_names for table in tables)]
    with tempfile.TemporaryDirectory() as folder:
        store = TableStore(folder)
        for table in tables:
            store.append("t", table)
        read = store.read("t", columns=seen)
        streamed = store.stream("t").read_all().select(seen)
    expected = [{name: row.get(name) for name in seen} for table in tables for row in table.to_pylist()]
    assert read.schema == pa.schema([schema.field(name) for name in seen])
    assert sorted(map(repr, read.to_pylist())) == sorted(map(repr, expected))
    assert sorted(map(repr, streamed.to_pylist())) == sorted(map(repr, expected))


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.duration("s"), pa.month_day_nano_interval(), pa.null()])
def test_refuses_types_no_table_holds(kind: pa.DataType) -> None:
    with pytest.raises(DeclarationError, match="cannot hold the type"):
        storable_type(pa.list_(kind))


def test_names_every_stored_type_for_duckdb() -> None:
    kinds = {
        pa.map_(pa.string(), pa.list_(pa.int8())): "MAP(VARCHAR, TINYINT[])",
        pa.struct([('a "b"', pa.decimal128(5, 2))]): 'STRUCT("a ""b""" DECIMAL(5,2))',
        pa.list_(pa.list_(pa.float32(), 2), 3): "FLOAT[][3]",
    }
    assert {kind: duck_type(storable_type(kind)) for kind in kinds} == kinds


def test_a_vector_of_another_length_is_refused() -> None:
    known = pa.schema([("v", pa.list_(_element(pa.float32()), 2))])
    longer = pa.table({"v": pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32(), 3))})
    with pytest.raises(DeclarationError, match="'v'"):
        to_storable(longer, table="t", existing=known)
    lists = pa.table({"v": [[1.0, 2.0], None]})
    assert to_storable(lists, table="t", existing=known)["v"].to_pylist() == [[1.0, 2.0], None]


def test_refuses_rows_without_typed_columns() -> None:
    for rows in (pa.table({}), pa.table({"n": pa.nulls(3)})):
        with pytest.raises(DeclarationError, match="no column with a type"):
            to_storable(rows, table="t", existing=None)


def test_unwraps_extension_types() -> None:
    table = pa.table({"id": pa.array([b"0" * 16], pa.uuid())})
    assert to_storable(table, table="t", existing=None)["id"].to_pylist() == [b"0" * 16]
