from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loopwright.evaluation.outputs import Outputs
from loopwright.registry.hist_boosting import floor32
from loopwright.registry.parity import Parity, compare, pooled, recombined

numbers = st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False)


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=numbers))
def test_equal_answers_hold(values):
    outputs = Outputs("regression", values)
    assert compare(outputs, outputs) == Parity(len(values), 0, 0.0)


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=numbers), st.integers(0, 19))
def test_one_number_off_by_more_than_the_tolerance_is_found(values, position):
    other = values.copy()
    place = position % len(values)
    size = max(abs(values[place]), np.abs(values).mean()) or 1.0
    other[place] += 3e-5 * size
    assert not compare(Outputs("regression", values), Outputs("regression", other)).holds


def test_one_changed_label_is_found():
    classes = ("a", "b")
    first = Outputs("binary", np.array(["a", "b"]), np.array([[0.9, 0.1], [0.1, 0.9]]), classes)
    second = Outputs("binary", np.array(["a", "a"]), np.array([[0.9, 0.1], [0.1, 0.9]]), classes)
    assert compare(first, second).labels_changed == 1
    assert "1 of 2 rows" in str(compare(first, second))


def test_a_nan_on_one_side_is_a_difference():
    assert not compare(Outputs("regression", np.array([1.0])), Outputs("regression", np.array([np.nan]))).holds


def test_nothing_compared_does_not_hold():
    assert not pooled([]).holds


@given(hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e30, 1e30)))
def test_floor32_decides_float32_numbers_as_float64_does(thresholds):
    floored = floor32(thresholds)
    assert (floored.astype(np.float64) <= thresholds).all()
    for neighbour in (floored, np.nextafter(floored, np.float32(np.inf)), thresholds.astype(np.float32)):
        assert ((neighbour.astype(np.float64) <= thresholds) == (neighbour <= floored)).all()


def test_recombined_rows_keep_columns_and_types():
    rows = pd.DataFrame({"a": [1, 2, 3], "b": pd.Categorical(["x", "y", None]), "c": pd.array(["p", "q", "r"], "str")})
    mixed = recombined(rows, count=50)
    assert len(mixed) == 50
    assert (mixed.dtypes == rows.dtypes).all()
    assert set(mixed["a"]) <= {1, 2, 3}
    assert recombined(np.arange(12.0).reshape(4, 3), count=7).shape == (7, 3)
