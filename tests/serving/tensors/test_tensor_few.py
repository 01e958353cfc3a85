"""The quick reader of a few rows reads what the general one reads, or gives up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import RequestError
from loopwright.features.request import RequestField
from loopwright.serving.tensors.tensor import datatype_named
from loopwright.serving.tensors.tensor_few import few_rows
from loopwright.serving.tensors.tensor_rows import row_batch
from loopwright.serving.tensors.tensor_values import from_values

INPUTS = (RequestField("a", "float"), RequestField("n", "int"), RequestField("t", "text"))
FLOATS = (RequestField("a", "float"), RequestField("b", "float"))
numbers = st.floats(allow_nan=False) | st.integers(-(2**70), 2**70) | st.booleans() | st.none()
values = numbers | st.text(max_size=3) | st.lists(numbers, max_size=2)


@st.composite
def tensors(draw: st.DrawFn, name: str) -> dict[str, object]:
    rows = draw(st.integers(0, 3))
    data = draw(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=rows, max_size=rows)
        | st.lists(st.integers(-(2**31), 2**31 - 1), min_size=rows, max_size=rows)
        | st.lists(st.text(max_size=3), min_size=rows, max_size=rows)
        | st.lists(values, max_size=4)
    )
    shape = draw(st.sampled_from([[len(data)], [len(data), 1], [1, len(data)], [True], [2, 1], []]))
    datatype = draw(st.sampled_from(["FP64", "FP32", "INT64", "INT32", "BYTES", "BOOL", "fp64", "FP16"]))
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def general(given_tensors, inputs):
    return list(
        row_batch(
            [
                from_values(t["name"], datatype_named(t["name"], t["datatype"]), t["shape"], t["data"])
                for t in given_tensors
            ],
            inputs,
        )
    )


def check(given_tensors, inputs):
    found = few_rows(given_tensors, inputs)
    try:
        expected = general(given_tensors, inputs)
    except RequestError:
        assert found is None
    else:
        assert found is None or found == expected


@given(st.tuples(tensors("a"), tensors("n"), tensors("t")))
def test_columns(drawn):
    check(list(drawn), INPUTS)


@given(tensors("m"), st.integers(0, 3), st.booleans())
def test_matrices(tensor, rows, nested):
    check([tensor | {"shape": [rows, 2]}], FLOATS)
    data = [float(position) for position in range(rows * 2)]
    whole = tensor | {"shape": [rows, 2], "data": [data[i : i + 2] for i in range(0, len(data), 2)] if nested else data}
    check([whole], FLOATS)
    if rows and whole["datatype"] == "FP64":
        assert few_rows([whole], FLOATS) is not None


@pytest.mark.parametrize(
    "item", [None, 7, [], {}, {"name": "m"}, {"name": ["m"], "shape": 1, "datatype": 2, "data": 3}]
)
def test_it_gives_up_on_what_is_no_tensor(item):
    assert few_rows([item], FLOATS) is None
    assert few_rows([item, item], FLOATS) is None
