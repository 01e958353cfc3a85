"""A model with several outputs: its signature, its golden rows, its self-test, and what it may not do."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.evaluation.outputs import Outputs
from loopwright.features.columns import from_arrow, to_arrow
from loopwright.features.field import Field
from loopwright.registry.compile import compile_model
from loopwright.registry.golden import Golden
from loopwright.registry.native import NativeModel
from loopwright.registry.signature import NamedOutput, OutputSpec, Signature, named_spec
from loopwright.serving.models.loading import _difference

FIELDS = (Field("x", "float64"),)
NAMED = {
    "whole": np.array([[1, 2], [3, 4]], dtype=np.int32),
    "half": np.array([0.5, np.nan], dtype=np.float16),
    "large": np.array([True, False]),
    "name": np.array(["a", "b"]),
}


class Answering:
    def __init__(self, answers):
        self.answers = answers

    def predict(self, X):  # noqa: ARG002 - scikit-learn's signature
        return self.answers


def test_a_signature_keeps_the_outputs_and_their_order():
    output = named_spec(NAMED)
    assert output.named[0] == NamedOutput("whole", "int32", (2,))
    assert [one.dtype for one in output.named] == ["int32", "float16", "bool", "str"]
    signature = Signature(FIELDS, output)
    assert Signature.from_json(signature.to_json()) == signature
    other = Signature(FIELDS, OutputSpec("named", dtype="object", named=output.named[::-1]))
    assert signature.differences(other)
    assert "named" not in Signature(FIELDS, OutputSpec("regression")).to_json()["output"]


def test_golden_rows_keep_every_output_in_its_type():
    table = pa.table({"x": [1.0, 2.0]})
    read = Golden.from_bytes(Golden(table, Outputs.of_named(NAMED)).to_bytes(), named_spec(NAMED))
    assert read.table.equals(table)
    for name, values in NAMED.items():
        found = read.outputs.named[name]
        assert (found.dtype.kind, found.shape) == (values.dtype.kind, values.shape)
        assert np.array_equal(found, values, equal_nan=name == "half")


def test_the_self_test_looks_at_every_output():
    recorded = Outputs.of_named(NAMED)
    assert _difference(Outputs.of_named(dict(NAMED)), recorded) is None
    assert "'whole'" in _difference(Outputs.of_named(NAMED | {"whole": NAMED["whole"] + 1}), recorded)
    assert "labels differ" in _difference(Outputs.of_named(NAMED | {"name": np.array(["a", "c"])}), recorded)
    assert "outputs are" in _difference(Outputs.of_named({"whole": NAMED["whole"]}), recorded)
    assert "shape" in _difference(Outputs.of_named(NAMED | {"whole": NAMED["whole"][:, :1]}), recorded)


def test_a_version_answers_as_it_did_when_it_was_registered():
    estimator = Answering(NAMED)
    model = NativeModel(estimator, FIELDS)
    model.predict(np.zeros((2, 1)))
    estimator.answers = {name: values.astype(np.int64) if name == "whole" else values for name, values in NAMED.items()}
    assert model.predict(np.zeros((2, 1))).named["whole"].dtype == np.int32
    estimator.answers = {"whole": NAMED["whole"]}
    with pytest.raises(DeclarationError, match="the outputs are whole, and were whole, half"):
        model.predict(np.zeros((2, 1)))
    for whole, said in (
        (NAMED["half"], "'whole' has the shape"),
        (NAMED["whole"] / 2, "'whole' is float64, and was int32"),
        (NAMED["whole"] + np.int64(2**40), "a number that int32 cannot hold"),
    ):
        estimator.answers = NAMED | {"whole": whole}
        with pytest.raises(DeclarationError, match=said):
            model.predict(np.zeros((2, 1)))


def test_it_is_not_compiled_and_says_so():
    model = NativeModel(Answering(NAMED), FIELDS)
    model.predict(np.zeros((2, 1)))
    found = compile_model(model, Signature(FIELDS, model.output), np.zeros((2, 1)))
    assert found.graph is None
    assert "several named outputs" in found.reason


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "one row per row"),
        ({"a": np.ones(2), "b": np.ones(3)}, "one row per row"),
        ({"a": np.array(1.0)}, "one row per row"),
    ],
)
def test_outputs_need_the_same_rows(named, said):
    with pytest.raises(DeclarationError, match=said):
        Outputs.of_named(named)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"": np.ones(1)}, "named ''"),
        ({"prediction_id": np.ones(1)}, "named 'prediction_id'"),
        ({"at": np.array(["2026-01-01"], dtype="datetime64[s]")}, "neither numbers nor text"),
    ],
)
def test_names_and_types_that_cannot_be(named, said):
    with pytest.raises(DeclarationError, match=said):
        named_spec(named)


def test_a_specification_without_names_cannot_be():
    with pytest.raises(DeclarationError, match="0 named outputs"):
        OutputSpec("named")
    with pytest.raises(DeclarationError, match="1 named outputs"):
        OutputSpec("regression", named=(NamedOutput("a", "int32"),))


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.booleans(), min_size=n, max_size=n))))
def test_rows_are_taken_with_all_their_outputs(drawn):
    rows, kept = drawn
    outputs = Outputs.of_named({"a": np.arange(rows), "b": np.arange(rows * 2).reshape(rows, 2)})
    taken = outputs.take(np.array(kept))
    assert taken.values.tolist() == [value for value, keep in zip(outputs.values.tolist(), kept, strict=True) if keep]
    assert len(taken.named["b"]) == sum(kept)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64", "bool"])
def test_arrays_of_any_number_are_stored_as_they_are(dtype):
    field = Field("x", dtype, shape=(2, 2), nullable=False)
    values = np.arange(8).reshape(2, 2, 2).astype(dtype)
    found = from_arrow(pa.chunked_array([to_arrow(values, field)]), field)
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)
