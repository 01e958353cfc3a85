"""Candidates of finished estimators: what the rows say the model takes, and versions made of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from loopwright.core.errors import DeclarationError, UntrustedError
from loopwright.registry.given import given_candidate
from loopwright.registry.registry import Registry


class Sum:
    def predict(self, X):
        return np.asarray(X, dtype=object).astype(float).sum(axis=1)


class Two:
    """The sum of a row of each input, and the first number."""

    def predict(self, X):
        values = X.to_numpy()
        return {"sum": values.sum(axis=1), "first": values[:, :1]}


@pytest.mark.parametrize(
    ("values", "dtype", "nullable"),
    [
        (np.ones(2, np.float64), "float64", False),
        (np.array([1.0, np.nan]), "float64", True),
        (np.ones(2, np.float32), "float32", False),
        (np.ones(2, np.float16), "float64", False),
        (np.ones(2, np.int8), "int64", False),
        (np.ones(2, np.int32), "int32", False),
        (np.array([True, False]), "bool", False),
        (["a", "b"], "string", False),
        (np.array(["a", None], dtype=object), "string", True),
        (np.array(["2026-01-01", "NaT"], dtype="datetime64[D]"), "timestamp", True),
    ],
)
def test_the_rows_say_what_the_model_takes(tmp_path, values, dtype, nullable):
    found = given_candidate("m", Sum(), {"x": values}, tmp_path, trust=True)
    [field] = found.fields
    assert (field.dtype, field.nullable, field.shape) == (dtype, nullable, ())
    assert found.training_rows.num_rows == 2


def test_a_version_of_a_given_estimator_is_registered_compiled_and_asked(stores, tmp_path):
    random = np.random.default_rng(0)
    columns = {"a": random.normal(size=40), "b": random.normal(size=40)}
    model = LinearRegression().fit(pd.DataFrame(columns), columns["a"] * 2)
    registry = Registry(stores)
    version = registry.register(given_candidate("eta", model, columns, tmp_path))
    assert version.compiled is not None
    loaded = registry.load(version)
    assembled = loaded.assembly.assemble([{"a": 1.5, "b": 0.0}])
    assert loaded.predict(assembled.X).values == pytest.approx([3.0])
    again = registry.register(given_candidate("eta", model, columns, tmp_path))
    assert again.id == version.id


def test_arrays_in_and_named_outputs_out(stores, tmp_path):
    pair = np.arange(8, dtype=np.int32).reshape(2, 4)
    registry = Registry(stores)
    version = registry.register(given_candidate("two", Two(), {"p": pair, "q": pair}, tmp_path, trust=True))
    assert "several named outputs" in version.not_compiled_because
    loaded = registry.load(version)
    assert [field.shape for field in loaded.signature.inputs] == [(4,), (4,)]
    outputs = loaded.predict(loaded.assembly.assemble([{"p": [1, 2, 3, 4], "q": [[5, 6], [7, 8]]}]).X)
    assert outputs.named["sum"].tolist() == [36]
    assert outputs.named["first"].dtype == np.int32
    assert (
        loaded.golden().outputs.values.tolist()
        == loaded.predict(loaded.golden().rows(loaded.signature)).values.tolist()
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({}, "one value or one array"),
        ({"x": []}, "one value or one array"),
        ({"x": 3}, "one value or one array"),
        ({"x": [1], "y": [1, 2]}, "one value or one array"),
        ({"x": [1 + 2j]}, "complex128"),
        ({"x": [["a", "b"]]}, "which no model takes"),
        ({"x": [[1.0, float("nan")]]}, "arrays with missing numbers"),
    ],
)
def test_rows_that_no_model_takes(tmp_path, rows, said):
    with pytest.raises(DeclarationError, match=said):
        given_candidate("m", Sum(), rows, tmp_path, trust=True)


def test_a_pickle_needs_trust(tmp_path):
    with pytest.raises(UntrustedError):
        given_candidate("m", Sum(), {"x": [1.0]}, tmp_path)
