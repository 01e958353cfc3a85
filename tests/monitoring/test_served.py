from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.features.columns import served_rows
from loopwright.features.field import Field
from loopwright.monitoring.served import _parse_loosely, served_columns, training_columns
from loopwright.serving.log.prediction_record import features_json

FIELDS = (
    Field("x", "float64"),
    Field("n", "int64"),
    Field("city", "category", categories=("Bergen", "Oslo")),
    Field("fast", "bool"),
    Field("when", "timestamp"),
    Field("pixels", "float32", shape=(2, 2)),
)
_number = st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(max_examples=60)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "x": st.none() | _number,
                "n": st.integers(-1000, 1000) | st.booleans() | st.sampled_from(["7", "-1.5", "much", ""]),
                "X": _number,
                "city": st.none() | st.sampled_from(["Oslo", "Bergen", "Voss\n{}"]) | st.integers(0, 9) | st.booleans(),
                "fast": st.booleans() | st.none(),
                "pixels.mean": _number,
                "extra": st.text(max_size=5),
            },
        ),
        min_size=1,
        max_size=20,
    )
)
def test_the_fast_and_the_patient_reader_agree(rows):
    texts = [json.dumps(row) for row in rows]
    watched = [field for field in FIELDS if field.dtype != "timestamp"]
    fast, patient = served_columns(pa.array(texts), FIELDS), _parse_loosely(texts, watched)
    assert {name: values.to_pylist() for name, values in fast.items()} == {
        name: values.to_pylist() for name, values in patient.items()
    }


def test_what_was_served_is_counted_like_what_was_trained_on():
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(50, 2, 2)).astype(np.float32)
    codes = rng.integers(0, 2, 50).astype(np.int32)
    numbers = np.where(rng.random(50) < 0.1, np.nan, rng.normal(size=50))
    fields = (FIELDS[0], FIELDS[1], FIELDS[2], FIELDS[3], FIELDS[5])
    counts, fast = rng.integers(0, 9, 50), rng.random(50) < 0.5
    columns = {"x": numbers, "n": counts, "city": codes, "fast": fast, "pixels": pixels}
    texts = [features_json(row) for row in served_rows(columns, fields)]
    served = served_columns(pa.array(texts), fields)
    table = pa.table(
        {
            "x": pa.array(numbers, mask=np.isnan(numbers)),
            "n": counts,
            "city": np.array(["Bergen", "Oslo"])[codes],
            "fast": fast,
            "pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 4),
        }
    )
    trained = training_columns(table, fields)
    assert sorted(served) == sorted(trained)
    for name, values in trained.items():
        assert served[name].to_pylist() == values.to_pylist()


def test_numbers_as_text_and_rows_without_features_do_not_stop_the_reader():
    columns = served_columns(pa.array(['{"x": "1.5", "city": 3}', "", None, '{"x": "much"}']), FIELDS)
    assert columns["x"].to_pylist() == [1.5, None, None, None]
    assert columns["city"].to_pylist() == ["3", None, None, None]
    assert "when" not in columns


def test_names_that_differ_in_case_are_told_apart():
    columns = served_columns(pa.array(['{"x": 1, "X": 2}']), (Field("x", "float64"), Field("X", "float64")))
    assert {name: values.to_pylist() for name, values in columns.items()} == {"x": [1.0], "X": [2.0]}


def test_a_row_that_is_no_json_is_a_row_without_features():
    assert served_columns(pa.array(['{"x": 1}', "{"]), (Field("x", "float64"),))["x"].to_pylist() == [1.0, None]
