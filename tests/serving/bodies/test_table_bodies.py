"""Arrow, Parquet and CSV bodies: what was sent is what comes in, and nothing small becomes large."""

from __future__ import annotations

import csv
import gzip
import io
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import InvalidRequestError, TooLargeError, UnsupportedMediaError
from loopwright.features.assembly import FeatureAssembly
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.serving.bodies import arrow_message, parquet_pages
from loopwright.serving.bodies.rows_body import read_rows
from loopwright.serving.bodies.table_columns import column_values
from loopwright.serving.http.content_encoding import unpacked
from loopwright.serving.http.media_type import ARROW_FILE, ARROW_STREAM, CSV, PARQUET

INPUTS = (
    RequestField("x", "float", required=False),
    RequestField("n", "int", required=False),
    RequestField("city", "category", required=False),
    RequestField("at", "timestamp", required=False),
    RequestField("is_new", "bool", required=False),
    RequestField("photo", "image", required=False),
)
SCHEMA = pa.schema(
    {
        "x": pa.float64(),
        "n": pa.int64(),
        "city": pa.string(),
        "at": pa.timestamp("us", tz="UTC"),
        "is_new": pa.bool_(),
        "photo": pa.binary(),
    }
)
NUMBERS = tuple(field for field in INPUTS if field.name in ("x", "n", "city"))


def arrow(table: pa.Table, *, file: bool = False, rows: int = 3, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    make = pa.ipc.new_file if file else pa.ipc.new_stream
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue().to_pybytes()


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def moment(value):
    return datetime.fromisoformat(value) if isinstance(value, str) else value.replace(tzinfo=UTC)


def plain(rows):
    """Rows as JSON would have given them."""
    return [
        {name: moment(value) if name == "at" else value for name, value in row.items() if value is not None}
        for row in rows
    ]


def sent(table):
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


cells = {
    "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "n": st.none() | st.integers(-(2**63), 2**63 - 1),
    "city": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    "at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    "is_new": st.none() | st.booleans(),
    "photo": st.none() | st.binary(max_size=8),
}
tables = st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=8).map(
    lambda rows: pa.Table.from_pylist(rows, schema=SCHEMA)
)


@given(tables, st.sampled_from([None, "lz4", "zstd"]), st.booleans(), st.booleans())
@settings(max_examples=50)
def test_an_arrow_table_comes_in_as_it_is(table, compression, file, encoded):
    body = arrow(table, file=file, compression=compression)
    if encoded:
        body = arrow(table.set_column(2, "city", table["city"].dictionary_encode()), file=file)
    found = read_rows(body, ARROW_FILE if file else ARROW_STREAM, INPUTS)
    assert plain(found.rows) == sent(table)


@given(
    tables,
    st.sampled_from(["none", "snappy", "gzip", "zstd", "lz4", "brotli"]),
    st.booleans(),
    st.sampled_from(["1.0", "2.0"]),
)
@settings(max_examples=50)
def test_a_parquet_file_comes_in_as_it_is(table, compression, dictionary, page):
    body = parquet(table, compression=compression, use_dictionary=dictionary, data_page_version=page, row_group_size=3)
    assert plain(read_rows(body, PARQUET, INPUTS).rows) == sent(table)


@given(tables.map(lambda table: table.select(["x", "n", "city"])))
@settings(max_examples=50)
def test_a_csv_file_comes_in_as_it_is(table):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(table.column_names)
    for row in table.to_pylist():
        out.write(",".join("" if value is None else _quoted(value) for value in row.values()) + "\r\n")
    found = read_rows(out.getvalue().encode(), CSV, NUMBERS).rows
    assert plain(found) == sent(table)


def _quoted(value):
    return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else repr(value)


def test_an_empty_cell_is_missing_and_an_empty_text_is_none_of_that():
    found = read_rows(b'x,city,more\n1,"",7\n,,8\n', "text/csv; charset=utf-8", NUMBERS).rows
    assert list(found) == [{"x": 1.0, "city": "", "more": None}, {"x": None, "city": None, "more": None}]


@pytest.mark.parametrize(
    ("body", "field", "row", "said"),
    [
        (b"x,n\n1,2\nabc,3\n", "x", 1, "must be a number, got 'abc'"),
        (b"n\n1\n1e3\n", "n", 1, "must be a whole number"),
        (b"x\n1_0\n", "x", 0, "must be a number"),
        (b"is_new\ntrue\nmaybe\n", "is_new", 1, "true or false"),
        (b"x,x\n1,2\n", "x", None, "twice"),
        (b"x,n\n1,2\n1\n", None, 1, "Expected 2 columns, got 1"),
        (b"", None, None, "no header row"),
        (b"x\n", None, None, "no rows"),
        (b"city\n\xff\xfe\n", None, 0, "cannot be read as CSV"),
    ],
)
def test_a_bad_csv_file_says_where(body, field, row, said):
    with pytest.raises(InvalidRequestError, match=said) as raised:
        read_rows(body, CSV, INPUTS)
    assert (raised.value.field, raised.value.row) == (field, row)


def test_whole_numbers_are_exact_or_have_a_gap():
    found = read_rows(b"n\n9007199254740993\n5.0\n\n", CSV, (INPUTS[1], INPUTS[0])).rows
    assert [row["n"] for row in found][:2] == [2**53 + 1, 5]


@pytest.mark.parametrize("kind", [ARROW_STREAM, PARQUET, CSV])
def test_columns_that_the_model_does_not_take_are_names_only(kind):
    table = pa.table({"x": [1.0, 2.0], "list": ["a", "b"]})
    body = {ARROW_STREAM: arrow, PARQUET: parquet, CSV: lambda _: b"x,list\n1,a\n2,b\n"}[kind](table)
    assert list(read_rows(body, kind, INPUTS).rows) == [{"x": 1.0, "list": None}, {"x": 2.0, "list": None}]


@pytest.mark.parametrize("kind", [ARROW_STREAM, PARQUET, CSV])
def test_the_keys_of_a_table_are_a_column(kind):
    table = pa.table({"x": [1.0, 2.0], "__key__": ["a", None]})
    body = {ARROW_STREAM: arrow, PARQUET: parquet, CSV: lambda _: b"x,__key__\n1,a\n2,\n"}[kind](table)
    found = read_rows(body, kind, INPUTS)
    assert found.keys == ["a", None]
    assert list(found.rows) == [{"x": 1.0}, {"x": 2.0}]


@pytest.mark.parametrize("kind", [ARROW_STREAM, PARQUET])
def test_what_no_field_takes_is_refused_by_name(kind):
    body = {ARROW_STREAM: arrow, PARQUET: parquet}[kind](pa.table({"x": [[1.0], [2.0]]}))
    with pytest.raises(InvalidRequestError) as raised:
        read_rows(body, kind, INPUTS)
    assert raised.value.field == "x"


def test_views_and_unusual_numbers_are_read():
    table = pa.table(
        {
            "x": pa.array([1.5, None], pa.float16()),
            "n": pa.array([2**64 - 1, 1], pa.uint64()),
            "city": pa.array(["Oslo, in the evening", None], pa.string_view()),
            "at": pa.array([0, 1], pa.date32()),
        }
    )
    rows = plain(read_rows(arrow(table), ARROW_STREAM, INPUTS).rows)
    assert rows[0] == {"x": 1.5, "n": 2**64 - 1, "city": "Oslo, in the evening", "at": datetime(1970, 1, 1, tzinfo=UTC)}
    assert rows[1] == {"n": 1, "at": datetime(1970, 1, 2, tzinfo=UTC)}


# Nothing small becomes large.


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_buffers_are_measured_before_they_are_unpacked(compression):
    zeros = np.zeros(90_000)
    table = pa.table({f"c{number}": zeros for number in range(250)})  # 180 MB
    body = pa.BufferOutputStream()
    with pa.ipc.new_stream(body, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    assert body.getvalue().size < 2 << 20
    with pytest.raises(TooLargeError, match="unpacks to more than 128 MiB"):
        read_rows(body.getvalue().to_pybytes(), ARROW_STREAM, INPUTS)


def test_parquet_pages_are_measured_before_they_are_unpacked():
    inputs = tuple(RequestField(f"c{number}", "float") for number in range(250))
    body = parquet(pa.table({field.name: np.zeros(90_000) for field in inputs}), use_dictionary=False)
    with pytest.raises(TooLargeError, match="unpacks to more than 128 MiB"):
        read_rows(body, PARQUET, inputs)
    assert len(read_rows(body, PARQUET, inputs[:3]).rows) == 90_000  # what is not read is not counted


def test_too_many_rows_are_refused_before_they_are_read():
    table = pa.table({"x": np.zeros(100_001)})
    many = arrow(pa.table({"x": pa.nulls(100_001)}), rows=50_000)
    for body, kind in ((many, ARROW_STREAM), (parquet(table), PARQUET)):
        with pytest.raises(TooLargeError, match=r"10000[0-9] rows"):
            read_rows(body, kind, INPUTS)
    with pytest.raises(TooLargeError, match="100001 rows"):
        read_rows(b"x\n" + b"1\n" * 100_001, CSV, INPUTS)


def test_one_long_text_in_a_dictionary_is_not_written_out_a_thousand_times():
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["a" * 100_000]))
    table = pa.table({"city": long})
    for body, kind in ((arrow(table), ARROW_STREAM), (parquet(table), PARQUET)):
        with pytest.raises(TooLargeError, match="have 100000000 bytes"):
            read_rows(body, kind, INPUTS)


def test_repeated_prefixes_are_refused():
    body = parquet(pa.table({"city": ["a", "b"]}), use_dictionary=False, column_encoding={"city": "DELTA_BYTE_ARRAY"})
    with pytest.raises(InvalidRequestError, match="DELTA_BYTE_ARRAY"):
        read_rows(body, PARQUET, INPUTS)


def test_a_page_may_not_lie_about_its_dictionary():
    body = parquet(pa.table({"city": ["a", "b"]}), compression="none")
    chunk = pq.ParquetFile(pa.BufferReader(body)).metadata.row_group(0).column(0)
    measured = {"most": 1 << 20, "most_values": 10}
    start, length = chunk.dictionary_page_offset, chunk.total_compressed_size
    assert parquet_pages.unpacked_bytes(body, start, length, **measured) > 0
    with pytest.raises(ValueError, match="outside of the file"):
        parquet_pages.unpacked_bytes(body, start, len(body), **measured)
    with pytest.raises(ValueError, match="says that it has 2 values"):
        parquet_pages.unpacked_bytes(body, start, length, most=1 << 20, most_values=1)


def test_the_declared_length_of_a_buffer_is_believed_before_it_is_allocated():
    body = bytearray(arrow(pa.table({"x": np.zeros(1000)}), rows=1000, compression="zstd"))
    length = (8000).to_bytes(8, "little")
    place = body.find(length + b"\x28\xb5\x2f\xfd")  # before the frame of zstd
    assert place > 0
    body[place : place + 8] = (1 << 60).to_bytes(8, "little")
    with pytest.raises(TooLargeError):
        read_rows(bytes(body), ARROW_STREAM, INPUTS)


@given(st.binary(max_size=200), st.binary(max_size=64))
def test_no_metadata_breaks_its_reader(metadata, body):
    for read in (
        lambda: arrow_message.unpacked_bytes(metadata, memoryview(body)),
        lambda: parquet_pages.unpacked_bytes(metadata, 0, len(metadata), most=1 << 30, most_values=10),
    ):
        with suppress(ValueError):
            read()


BODIES = {
    ARROW_STREAM: arrow(pa.Table.from_pylist([{"x": 1.0, "city": "a"}], schema=SCHEMA), compression="zstd"),
    ARROW_FILE: arrow(pa.Table.from_pylist([{"x": 1.0, "city": "a"}], schema=SCHEMA), file=True),
    PARQUET: parquet(pa.Table.from_pylist([{"x": 1.0, "city": "a"}], schema=SCHEMA)),
    CSV: b'x,n,city\n1,2,"a\nb"\n',
}


@given(
    st.sampled_from(sorted(BODIES)),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 30),
)
@settings(max_examples=300)
@example(ARROW_FILE, [(1538, 128)], 0)  # a time zone that is no text
def test_a_broken_table_is_a_refusal(kind, changes, cut):
    body = bytearray(BODIES[kind])
    for place, value in changes:
        body[place % len(body)] = value
    with suppress(InvalidRequestError, TooLargeError):
        list(read_rows(bytes(body[: len(body) - cut]), kind, INPUTS).rows)


# Packed bodies.


def test_packed_bodies_are_unpacked():
    zstd = pa.compress(b"content", "zstd", asbytes=True)
    packed = gzip.compress(b"con") + gzip.compress(b"tent")
    assert unpacked(packed, "gzip") == unpacked(zstd, "zstd") == unpacked(b"content", "identity") == b"content"


@pytest.mark.parametrize(
    ("body", "encoding", "kind"),
    [
        (b"x", "br", UnsupportedMediaError),
        (b"x", "gzip, gzip", UnsupportedMediaError),
        (b"x", "gzip", InvalidRequestError),
        (b"x", "zstd", InvalidRequestError),
        (pa.compress(b"content" * 9, "gzip", asbytes=True)[:-12], "gzip", InvalidRequestError),
        (pa.compress(b"content" * 9, "zstd", asbytes=True)[:-1], "zstd", InvalidRequestError),
        (pa.compress(bytes((16 << 20) + 1), "gzip", asbytes=True), "gzip", TooLargeError),
        (pa.compress(bytes((16 << 20) + 1), "zstd", asbytes=True), "zstd", TooLargeError),
    ],
)
def test_what_cannot_be_unpacked_is_refused(body, encoding, kind):
    with pytest.raises(kind):
        unpacked(body, encoding)


def test_chunks_of_one_column_come_together():
    chunked = pa.chunked_array([[1, 2], [3]])
    assert column_values("x", chunked).tolist() == [1, 2, 3]
    assert column_values("x", pa.chunked_array([[1], [None, 3]])) == [1, None, 3]
    assert column_values("x", pa.chunked_array([], pa.int64())) == []


ARRAY = (RequestField("pixels", "float", shape=(2, 2)),)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64(), 4),
        pa.large_list(pa.int8()),
        pa.list_(pa.list_(pa.float64(), 2), 2),
        pa.list_(pa.list_(pa.float16())),
    ],
)
def test_arrays_per_row_come_as_lists(kind):
    flat = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    values = flat if not pa.types.is_nested(kind.value_type) else [[row[:2], row[2:]] for row in flat]
    rows = read_rows(arrow(pa.table({"pixels": pa.array(values, kind)})), ARROW_STREAM, ARRAY).rows
    assembled = FeatureAssembly(ARRAY, (Field("pixels", "float32", shape=(2, 2)),)).assemble(rows)
    assert assembled.columns["pixels"].reshape(4, 4).tolist() == flat


@pytest.mark.parametrize("values", [[[1.0, 2.0], [1.0, 2.0, 3.0]], [[1.0] * 4, None], [[1.0, 2.0, 3.0, None]]])
def test_rows_that_are_no_arrays_of_the_shape_are_refused_by_name(values):
    rows = read_rows(arrow(pa.table({"pixels": values})), ARROW_STREAM, ARRAY).rows
    with pytest.raises(InvalidRequestError) as raised:
        FeatureAssembly(ARRAY, (Field("pixels", "float32", shape=(2, 2)),)).assemble(rows)
    assert raised.value.field == "pixels"


@pytest.mark.parametrize("values", [["a"], [["a"]], [{"a": 1}]])
def test_columns_that_hold_no_numbers_are_no_arrays(values):
    with pytest.raises(InvalidRequestError, match="no array of numbers"):
        read_rows(arrow(pa.table({"pixels": values})), ARROW_STREAM, ARRAY)
