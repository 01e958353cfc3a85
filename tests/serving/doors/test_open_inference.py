from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidRequestError, RequestError
from loopwright.features.request import RequestField
from loopwright.serving.doors.open_inference import read_request

INPUTS = (RequestField("a", "float"), RequestField("b", "int"))


def tensor(
    name: str = "a", shape: object = (2,), datatype: object = "FP64", data: object = (1, 2)
) -> dict[str, object]:
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": list(data)}


def test_one_tensor_per_field():
    request = read_request({"id": "7", "inputs": [tensor(), tensor("b", (2, 1), "INT64", [[3], [4]])]}, INPUTS)
    assert list(request.rows) == [{"a": 1.0, "b": 3}, {"a": 2.0, "b": 4}]
    assert request.request_id == "7"


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_a_matrix_is_taken_by_position(data):
    request = read_request({"inputs": [tensor("input-0", (2, 2), "FP32", data)]}, INPUTS)
    assert list(request.rows) == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]


def test_a_vector_field_gets_a_list_per_row():
    request = read_request(
        {"inputs": [tensor("pixels", (2, 3), "FP32", range(6))]}, (RequestField("pixels", "float", shape=(3,)),)
    )
    assert list(request.rows) == [{"pixels": [0.0, 1.0, 2.0]}, {"pixels": [3.0, 4.0, 5.0]}]


@pytest.mark.parametrize(
    ("datatype", "data", "read"),
    [
        ("BOOL", [True, 0], [True, False]),
        ("UINT8", [0, 255], [0, 255]),
        ("INT8", [-128, 127], [-128, 127]),
        ("UINT16", [0, 65535], [0, 65535]),
        ("INT16", [-32768, 32767], [-32768, 32767]),
        ("UINT32", [0, 2**32 - 1], [0, 2**32 - 1]),
        ("INT32", [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]),
        ("UINT64", [0, 2**64 - 1], [0, 2**64 - 1]),
        ("INT64", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        ("FP32", [1, 2.5], [1.0, 2.5]),
        ("FP64", [None, 2.5], [None, 2.5]),
        ("BYTES", ["x", "é"], ["x", "é"]),
        ("BYTES", [["x"], ["y"]], ["x", "y"]),
    ],
)
def test_every_datatype_of_the_json_form(datatype, data, read):
    field = RequestField("a", "string" if datatype == "BYTES" else "bool" if datatype == "BOOL" else "float")
    request = read_request({"inputs": [tensor(datatype=datatype, data=data)]}, (field,))
    assert [row["a"] for row in request.rows] == read


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "object with 'inputs'"),
        ({}, "'inputs' must be a list"),
        ({"inputs": []}, "at least one tensor"),
        ({"inputs": ["a"]}, "must be an object"),
        ({"inputs": [{"shape": [1]}]}, "needs a 'name'"),
        ({"inputs": [{**tensor(), "shape": 2}]}, "'shape'"),
        ({"inputs": [{**tensor(), "shape": [-2]}]}, "'shape'"),
        ({"inputs": [{**tensor(), "shape": [True]}]}, "'shape'"),
        ({"inputs": [{**tensor(), "datatype": 1}]}, "'datatype'"),
        ({"inputs": [{**tensor(), "data": "xy"}]}, "'data' as a list"),
        ({"inputs": [tensor(shape=(3,))]}, r"has 2 elements; the shape \[3\] needs 3"),
        ({"inputs": [tensor(datatype="FP16")]}, "no JSON form"),
        ({"inputs": [tensor(datatype="FLOAT")]}, "unknown datatype 'FLOAT'"),
        ({"inputs": [tensor(datatype="UINT8", data=[1, 256])]}, "no UINT8"),
        ({"inputs": [tensor(datatype="INT64", data=[1.5, 2])]}, "no INT64"),
        ({"inputs": [tensor(datatype="FP32", data=["a", 2])]}, "no FP32"),
        ({"inputs": [tensor(datatype="BOOL", data=[2, 1])]}, "no BOOL"),
        ({"inputs": [tensor(datatype="BYTES", data=[2, 1])]}, "no BYTES"),
        ({"inputs": [tensor(), tensor()]}, "there twice"),
        ({"inputs": [tensor(), tensor("b", (1,), "INT64", [1])]}, "different numbers of rows"),
        ({"inputs": [tensor(shape=(0,), data=[])]}, "no rows"),
        ({"inputs": [tensor()], "id": 7}, "'id' must be a string"),
        ({"inputs": [tensor()], "outputs": 1}, "'outputs' must be"),
        ({"inputs": [tensor()], "parameters": {"timeout": -1}}, "microseconds"),
        ({"inputs": [tensor()], "parameters": []}, "'parameters' of the request must be"),
        ({"inputs": [tensor(), tensor("c")]}, "no input 'c'"),
        ({"inputs": [tensor(datatype="BYTES", data=["x", "y"])]}, "'a' takes float; the tensor 'a' is BYTES"),
        ({"inputs": [tensor(shape=(1, 2))]}, r"has the shape \[1, 2\]; 'a' takes \[-1\]"),
        ({"inputs": [tensor()], "outputs": [{"name": "predict"}] * 2}, "asked for twice"),
        ({"inputs": [tensor()], "outputs": [{"name": "p", "parameters": {"classification": 3}}]}, "classification"),
        ({"inputs": [tensor()], "outputs": [{"name": "p", "parameters": {"binary_data": 1}}]}, "true or false"),
        ({"inputs": [{**tensor(), "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
        ({"inputs": [{**tensor(), "parameters": {"binary_data_size": 8}}]}, "'data' and 'binary_data_size'"),
    ],
)
def test_a_broken_request_is_400_and_names_what_is_wrong(document, said):
    with pytest.raises(InvalidRequestError, match=said):
        read_request(json.loads(json.dumps(document)), INPUTS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "c"]) | json_values,
        "shape": st.lists(st.integers(0, 3), max_size=3) | json_values,
        "datatype": st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", "fp64"]) | json_values,
        "data": st.lists(st.integers(0, 1), max_size=4) | json_values,
    },
)


@given(
    st.fixed_dictionaries(
        {"inputs": st.lists(tensors, max_size=3) | json_values},
        optional={"id": json_values, "outputs": json_values, "parameters": json_values},
    )
)
def test_nothing_breaks_the_reader(document):
    try:
        request = read_request(document, INPUTS)
    except RequestError as error:
        assert error.status in (400, 413)  # noqa: PT017 - either answer is right, a crash is not
    else:
        assert request.rows
