"""Tensors as bytes and as lists: golden bytes, round trips of every datatype, refusals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.tensors.tensor import DATATYPES, Tensor, datatype_named, from_raw, to_raw
from loopwright.serving.tensors.tensor_values import from_values, to_values

GOLDEN = [
    ("BOOL", [True, False], b"\x01\x00"),
    ("UINT8", [1, 255], b"\x01\xff"),
    ("UINT16", [1, 65535], b"\x01\x00\xff\xff"),
    ("UINT32", [1, 2**32 - 1], b"\x01\x00\x00\x00\xff\xff\xff\xff"),
    ("UINT64", [1, 2**64 - 1], b"\x01" + b"\x00" * 7 + b"\xff" * 8),
    ("INT8", [-1, 127], b"\xff\x7f"),
    ("INT16", [-2, 256], b"\xfe\xff\x00\x01"),
    ("INT32", [-2, 1], b"\xfe\xff\xff\xff\x01\x00\x00\x00"),
    ("INT64", [-2, 2**53 + 1], b"\xfe" + b"\xff" * 7 + b"\x01\x00\x00\x00\x00\x00\x20\x00"),
    ("FP16", [1.0, -2.0], b"\x00\x3c\x00\xc0"),
    ("BF16", [1.0, -2.0], b"\x80\x3f\x00\xc0"),
    ("FP32", [1.0, -2.0], b"\x00\x00\x80\x3f\x00\x00\x00\xc0"),
    ("FP64", [1.0, -2.0], b"\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\xc0"),
    ("BYTES", [b"", b"\xc3\xa9"], b"\x00\x00\x00\x00\x02\x00\x00\x00\xc3\xa9"),
]


@pytest.mark.parametrize(("name", "values", "raw"), GOLDEN)
def test_the_bytes_are_those_of_the_protocol(name, values, raw):
    read = from_raw("x", DATATYPES[name], [2], raw)
    assert read.array.tolist() == values
    assert to_raw(read) == raw
    assert {golden[0] for golden in GOLDEN} == set(DATATYPES)


def arrays(name: str) -> st.SearchStrategy[np.ndarray]:
    datatype = DATATYPES[name]
    shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
    if name == "BYTES":
        return hnp.arrays(object, shapes, elements=st.binary(max_size=6), fill=st.nothing())
    if name == "BF16":
        return hnp.arrays("<u2", shapes).map(lambda bits: (bits.astype("<u4") << 16).view("<f4"))
    return hnp.arrays(datatype.dtype, shapes)


@pytest.mark.parametrize("name", DATATYPES)
@given(data=st.data())
def test_raw_bytes_round_trip(name, data):
    array = data.draw(arrays(name))
    tensor = Tensor("x", DATATYPES[name], array.shape, array)
    read = from_raw("x", DATATYPES[name], list(array.shape), to_raw(tensor))
    assert read.shape == array.shape
    assert np.array_equal(read.array, array, equal_nan=DATATYPES[name].kind == "float")


@pytest.mark.parametrize("name", [name for name, one in DATATYPES.items() if one.json and name != "BYTES"])
@given(data=st.data(), nested=st.booleans())
def test_values_round_trip_through_json(name, data, nested):
    array = data.draw(arrays(name).filter(lambda array: not np.isinf(array).any()))
    tensor = Tensor("x", DATATYPES[name], array.shape, array)
    values = array.tolist() if nested else to_values(tensor)
    sent = json.loads(json.dumps(values).replace("NaN", "null"))
    read = from_values("x", DATATYPES[name], list(array.shape), sent)
    assert np.array_equal(read.array, array, equal_nan=DATATYPES[name].kind == "float")


@given(st.floats(width=32, allow_nan=False))
def test_bf16_rounds_to_the_nearest(value):
    raw = to_raw(Tensor("x", DATATYPES["BF16"], (1,), np.array([value], dtype=np.float32)))
    rounded = float(from_raw("x", DATATYPES["BF16"], [1], raw).array[0])
    if math.isinf(rounded):
        assert abs(value) > 3.38e38
    else:  # eight bits of mantissa: half a unit of the last place, or of the smallest number
        assert abs(rounded - value) <= max(abs(value) * 2**-8, 2**-134)


def test_bf16_keeps_nan():
    array = np.array([0x7F800001], dtype="<u4").view("<f4")
    assert np.isnan(from_raw("x", DATATYPES["BF16"], [1], to_raw(Tensor("x", DATATYPES["BF16"], (1,), array))).array[0])


@pytest.mark.parametrize(
    ("name", "shape", "raw", "said"),
    [
        ("FP32", [2], b"\x00" * 7, "has 7 bytes; the shape \\[2\\] of FP32 needs 8"),
        ("INT8", [-1], b"", "'shape' of whole numbers"),
        ("INT8", [], b"\x00", "'shape' of whole numbers"),
        ("INT8", [1.0], b"\x00", "'shape' of whole numbers"),
        ("INT8", [True], b"\x00", "'shape' of whole numbers"),
        ("FP64", [2**32, 2**32], b"", "too large a shape"),
        ("FP64", [0, 2**62, 2**62], b"", "too large a shape"),
        ("FP64", [1] * 33, b"\x00" * 8, "too large a shape"),
        ("BYTES", [1], b"\x01\x00\x00", "element 0 of BYTES is cut off"),
        ("BYTES", [2], b"\x00\x00\x00\x00\x02\x00\x00\x00a", "element 1 of BYTES is cut off"),
        ("BYTES", [1], b"\xff\xff\xff\xffabc", "element 0 of BYTES is cut off"),
        ("BYTES", [2], b"\x00\x00\x00\x00", "has 1 elements; the shape \\[2\\] needs 2"),
    ],
)
def test_bytes_that_do_not_fit_are_refused_by_name(name, shape, raw, said):
    with pytest.raises(InvalidRequestError, match=said) as caught:
        from_raw("amount", DATATYPES[name], shape, raw)
    assert caught.value.field == "amount"


@pytest.mark.parametrize(
    ("name", "shape", "data", "said"),
    [
        ("FP64", [1], [2**53 + 1], "cannot hold exactly"),
        ("FP32", [1], [1e300], "too large"),
        ("FP64", [1], [10**400], "too large"),
        ("UINT64", [1], [2**64], "too large"),
        ("UINT64", [1], [-1], "too large"),
        ("INT64", [1], [None], "no INT64: null"),
        ("BOOL", [1], [2], "no BOOL: 2"),
        ("BOOL", [1], [None], "no BOOL"),
        ("FP32", [1], [True], "no FP32: True"),
        ("FP16", [1], [1.0], "no JSON form"),
        ("BF16", [1], [1.0], "no JSON form"),
        ("FP32", [4], [[1, 2], [3]], "nested unevenly"),
        ("FP32", [4], [[1, 2], 3], "nested unevenly"),
        ("FP32", [2, 3], [[1, 2], [3, 4], [5, 6]], r"nested as \[3, 2\]; its shape is \[2, 3\]"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(name, shape, data, said):
    with pytest.raises(InvalidRequestError, match=said) as caught:
        from_values("amount", DATATYPES[name], shape, data)
    assert caught.value.field == "amount"


def test_null_is_the_missing_float_and_text():
    assert math.isnan(from_values("x", DATATYPES["FP32"], [1], [None]).array[0])
    assert from_values("x", DATATYPES["BYTES"], [1], [None]).array.tolist() == [None]


def test_bytes_that_are_no_text_have_no_json_form():
    tensor = Tensor("x", DATATYPES["BYTES"], (1,), np.array([b"\xff"], dtype=object))
    with pytest.raises(InvalidRequestError, match="no UTF-8"):
        to_values(tensor)


def test_an_unknown_datatype_is_refused():
    assert datatype_named("x", "fp32").name == "FP32"
    for wrong in ("FLOAT", 7, None, ""):
        with pytest.raises(InvalidRequestError, match="datatype"):
            datatype_named("x", wrong)
