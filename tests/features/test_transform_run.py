from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import FeatureError
from loopwright.features.transform_run import run_in_batches

ROWS = np.arange(10, dtype=np.float64)


def run(function, batch_rows=4, pinned=None):
    return run_in_batches("f", function, [ROWS], rows=10, batch_rows=batch_rows, pinned=pinned, first_row=100)


@pytest.mark.parametrize(
    ("function", "dtype", "shape"),
    [
        (lambda x: x * 2, "float64", ()),
        (lambda x: x.astype(np.int32), "int64", ()),
        (lambda x: x > 3, "bool", ()),
        (lambda x: x.astype(np.float32), "float32", ()),
        (lambda x: [str(value) for value in x], "string", ()),
        (lambda x: np.stack([x, x], axis=1), "float32", (2,)),
        (lambda x: np.zeros((len(x), 2, 3), np.uint8), "float32", (2, 3)),
        (lambda x: [[1, 2]] * len(x), "float32", (2,)),
    ],
)
def test_types_and_shapes(function, dtype, shape):
    values, field = run(function)
    assert (field.dtype, field.shape, field.name) == (dtype, shape, "f")
    assert values.shape == (10, *shape)


@given(st.integers(1, 12))
def test_batches_change_nothing(batch_rows):
    values, _ = run(lambda x: np.stack([x, -x], axis=1), batch_rows)
    assert values.tolist() == [[value, -value] for value in ROWS]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda _: 1 / 0, "rows 100 to 103: it raised ZeroDivisionError"),
        (lambda _: None, "it returned nothing"),
        (lambda x: x[:-1], "got 4 rows and returned 3 rows"),
        (lambda _: 5.0, "returned a single value"),
        (lambda _: [[1], [1, 2]] * 2, "rows of different shapes"),
        (lambda x: [object()] * len(x), "values of type object"),
        (lambda x: np.zeros((len(x), 0)), "without elements"),
        (lambda x: np.zeros((len(x), len(x))), r"rows 108 to 109: it returned float32 of shape \(2,\)"),
        (lambda x: x if len(x) == 4 else [str(value) for value in x], "it returned string"),
    ],
)
def test_what_a_transform_may_not_do(function, message):
    with pytest.raises(FeatureError, match=message):
        run(function)
