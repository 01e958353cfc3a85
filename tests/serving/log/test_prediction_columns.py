from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.features.columns import served_rows
from loopwright.features.field import Field
from loopwright.features.served_struct import served_struct
from loopwright.serving.log.prediction_columns import encode_table, frame_table, is_columnar, records_table
from loopwright.serving.log.prediction_record import (
    PREDICTION_SCHEMA,
    PredictionRecord,
    encode_records,
    features_json,
    output_cells,
    to_table,
)

SHARED = {
    "request_id": "r",
    "ts_us": 1_767_225_600_000_000,
    "model": "m",
    "version": 3,
    "route": "canary",
    "experiment": "e/canary-0",
    "propensity": 0.25,
    "unit_hash": 2**62 + 1,
    "latency_us": 870,
}
CATEGORIES = ("Bergen", 'Os"lo\n', "Trømsø")
FIELDS = (
    Field("x", "float64"),
    Field("X", "float32"),  # SQL does not tell it from x
    Field("count", "int64"),
    Field("is new", "bool"),
    Field("city", "category", categories=CATEGORIES),
    Field("note", "string"),
    Field("at", "timestamp"),
    Field("pixels", "float32", shape=(2, 2)),
    Field("wide", "float32", shape=(65,)),
)
numbers = st.floats(allow_nan=True, allow_infinity=False, width=32)
rows = st.tuples(
    numbers, numbers, st.integers(-(2**62), 2**62), st.booleans(), st.integers(-1, 2), st.none() | st.text(max_size=8),
    st.integers(0, 2**50), st.lists(numbers, min_size=4, max_size=4), st.integers(0, 100),
)  # fmt: skip


def columns_of(drawn) -> dict[str, np.ndarray]:
    x, big, count, new, city, note, at, pixels, wide = zip(*drawn, strict=True)
    return {
        "x": np.array(x, dtype=np.float64),
        "X": np.array(big, dtype=np.float32),
        "count": np.array(count, dtype=np.int64),
        "is new": np.array(new, dtype=np.bool_),
        "city": np.array(city, dtype=np.int32),
        "note": np.array(note, dtype=object),
        "at": np.array(at, dtype="datetime64[us]"),
        "pixels": np.array(pixels, dtype=np.float32).reshape(-1, 2, 2),
        "wide": np.array([[one / 7] * 65 for one in wide], dtype=np.float32),
    }


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, int | float):
        return ours == theirs or math.isclose(ours, theirs, rel_tol=1e-15)
    return ours == theirs and type(ours) is type(theirs)


@settings(max_examples=40)
@given(st.lists(rows, min_size=1, max_size=5), st.sets(st.integers(0, len(FIELDS) - 1), min_size=1))
def test_features_are_kept_as_row_by_row(drawn, chosen):
    columns = columns_of(drawn)
    fields = tuple(FIELDS[place] for place in sorted(chosen))
    expected = [features_json(row) for row in served_rows(columns, fields)]
    ids = [str(number) for number in range(len(drawn))]
    table = records_table(prediction_ids=ids, features=served_struct(columns, fields), **SHARED)
    found = frame_table(encode_table(table).to_pybytes())["features"].to_pylist()
    assert all(same(json.loads(one), json.loads(other)) for one, other in zip(found, expected, strict=True))


answers = st.one_of(
    st.lists(st.floats(allow_infinity=True), min_size=1, max_size=5),
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=1, max_size=5),
    st.lists(st.text(max_size=5), min_size=1, max_size=5),
    st.lists(st.none() | st.integers(0, 3) | st.text(max_size=3) | st.floats(0, 1), min_size=1, max_size=5),
)


@settings(max_examples=60)
@given(answers, st.booleans(), st.booleans())
def test_a_table_is_what_records_would_be(values, classifies, as_array):
    count = len(values)
    ids, keys = [f"p{number}" for number in range(count)], [f"k{number}" if number else None for number in range(count)]
    shares = [[0.25, 0.75]] * count
    given_values = np.array(values) if as_array and len(set(map(type, values))) == 1 else values
    table = records_table(
        prediction_ids=ids, keys=keys, features=["{}"] * count, values=given_values, classifies=classifies,
        probabilities=np.array(shares) if as_array else shares, unfound=["prices", *[None] * (count - 1)], **SHARED,
    )  # fmt: skip
    records = [
        PredictionRecord(
            prediction_id=ids[place], key=keys[place], features="{}",
            output_number=output_cells(values[place], classifies=classifies)[0],
            output_text=output_cells(values[place], classifies=classifies)[1],
            probabilities=shares[place], batch_rows=count, status=200, error_class=None,
            unfound=None if place else "prices", **SHARED,
        )
        for place in range(count)
    ]  # fmt: skip
    found = frame_table(encode_table(table).to_pybytes())
    assert found.schema == PREDICTION_SCHEMA
    assert found.to_pylist() == to_table(records).to_pylist()
    assert frame_table(encode_records(records)).to_pylist() == to_table(records).to_pylist()


def test_rows_that_failed_have_a_status_and_no_answer():
    table = records_table(prediction_ids=["a"], status=500, error_class="ModelFailedError", **SHARED)
    row = frame_table(encode_table(table).to_pybytes()).to_pylist()[0]
    assert (row["status"], row["error_class"], row["output_number"], row["features"]) == (
        500, "ModelFailedError", None, "",
    )  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_536])
def test_frames_of_records_are_never_taken_for_columns(count):
    fixed = ("p", "r", 0, "m", 1, "champion", None, 1.0, 7, None, "", 1.0, None, None, 1, 1, 200, None)
    assert not is_columnar(encode_records([PredictionRecord(*fixed)] * count))
    assert is_columnar(encode_table(pa.table({"x": [1.0] * count})).to_pybytes())
