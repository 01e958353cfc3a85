from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.features.field import Field
from loopwright.registry.signature import OutputSpec, Signature, output_spec

names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
scalars = st.builds(
    Field,
    name=names,
    dtype=st.sampled_from(["float64", "float32", "int64", "bool", "string", "timestamp"]),
    nullable=st.booleans(),
)
categories = st.builds(
    Field, name=names, dtype=st.just("category"), categories=st.lists(names, max_size=4, unique=True).map(tuple)
)
vectors = st.builds(
    Field, name=names, dtype=st.just("float32"), shape=st.lists(st.integers(1, 9), min_size=1, max_size=2).map(tuple)
)
fields = st.lists(st.one_of(scalars, categories, vectors), min_size=1, max_size=6, unique_by=lambda field: field.name)
labels = st.one_of(
    st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True).map(lambda found: (found, "int64")),
    st.lists(names, min_size=2, max_size=6, unique=True).map(lambda found: (found, "str")),
)
outputs = st.one_of(
    st.just(OutputSpec("regression")),
    st.builds(
        lambda found, probabilities: OutputSpec(
            "binary" if len(found[0]) == 2 else "multiclass", tuple(found[0]), found[1], probabilities=probabilities
        ),
        labels,
        st.booleans(),
    ),
)
signatures = st.builds(Signature, fields.map(tuple), outputs)


@given(signatures)
def test_a_signature_survives_json(signature):
    assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature
    assert signature.differences(signature) == []
    assert signature.width == sum(field.width for field in signature.inputs)
    assert (signature.layout == "array") == (len(signature.inputs) == 1 and signature.inputs[0].is_vector)


@given(signatures, signatures)
def test_two_signatures_differ_exactly_when_something_is_said(one, other):
    assert bool(one.differences(other)) == (one != other)


def test_differences_are_said_in_words():
    one = Signature((Field("a", "float64"), Field("b", "int64")), OutputSpec("binary", (0, 1), "int64"))
    other = Signature((Field("a", "string"), Field("c", "int64")), OutputSpec("regression"))
    assert one.differences(other) == [
        "input 'b' is missing",
        "input 'c' is new",
        "input 'a' is string or null and was float64 or null",
        "the output is regression and was binary",
    ]


@pytest.mark.parametrize(
    ("kind", "classes"), [("regression", (0, 1)), ("binary", (0, 1, 2)), ("multiclass", (0, 1)), ("binary", None)]
)
def test_kind_and_classes_must_fit(kind, classes):
    with pytest.raises(DeclarationError):
        OutputSpec(kind, classes)


def test_inputs_must_have_names_of_their_own():
    with pytest.raises(DeclarationError, match="repeat"):
        Signature((Field("a", "float64"), Field("a", "int64")), OutputSpec("regression"))
    with pytest.raises(DeclarationError, match="at least one"):
        Signature((), OutputSpec("regression"))


class Classifier:
    def __init__(self, classes):
        self.classes_ = np.array(classes)

    def predict_proba(self, X):
        return np.ones((len(X), len(self.classes_)))


def test_the_output_is_read_from_the_estimator():
    assert output_spec(Classifier(["no", "yes"]), np.array(["no"])) == OutputSpec(
        "binary", ("no", "yes"), "str", probabilities=True
    )
    assert output_spec(Classifier([False, True]), np.array([True])).dtype == "bool"
    assert output_spec(object(), np.array([1.5])) == OutputSpec("regression")
    with pytest.raises(DeclarationError, match="per row"):
        output_spec(object(), np.ones((3, 2)))
    with pytest.raises(DeclarationError, match="several outputs"):
        output_spec(Classifier([[0, 1], [0, 1]]), np.ones((3, 2)))
    with pytest.raises(DeclarationError, match="is no number"):
        output_spec(object(), np.array(["a"]))
