"""Every metric equals scikit-learn's, weighted and not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.evaluation.forms import plain_value
from loopwright.evaluation.metrics import METRICS, metric
from loopwright.evaluation.outputs import Outputs

# Rounded: a spread of 1e-66 is rounding noise, about which no two implementations agree.
floats = st.floats(-1e3, 1e3).map(lambda number: round(number, 6))
pairs = st.lists(st.tuples(floats, floats), min_size=2, max_size=40)
seeds = st.integers(0, 2**32 - 1)

REGRESSION = {
    "mae": sk.mean_absolute_error,
    "rmse": sk.root_mean_squared_error,
    "median_absolute_error": sk.median_absolute_error,
    "r2": sk.r2_score,
}


@pytest.mark.parametrize("name", REGRESSION)
@given(pairs)
def test_regression_equals_scikit_learn(name: str, rows: list[tuple[float, float]]) -> None:
    y, said = np.array(rows).T
    if name == "r2" and y.min() == y.max():  # scikit-learn divides by what rounding leaves of their spread, or by none
        assert metric(name).value(y, Outputs("regression", said)) == float((y == said).all())
        return
    assert metric(name).value(y, Outputs("regression", said)) == pytest.approx(
        REGRESSION[name](y, said), rel=1e-6, abs=1e-9
    )


@given(pairs)
def test_mape_equals_scikit_learn(rows: list[tuple[float, float]]) -> None:
    y, said = np.array(rows).T
    expected = sk.mean_absolute_percentage_error(y, said)
    assert metric("mape").value(y, Outputs("regression", said)) == pytest.approx(expected, rel=1e-9)


def classified(seed: int, classes: int, rows: int) -> tuple[np.ndarray, Outputs]:
    rng = np.random.default_rng(seed)
    names = tuple("abcdef"[:classes])
    y = np.array(names)[rng.integers(0, classes, rows)]
    scores = rng.gamma(1.0, size=(rows, classes)) + 2.0 * (y[:, None] == np.array(names))
    scores = np.round(scores / scores.sum(axis=1, keepdims=True), 2) + 0.001
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    said = np.array(names)[probabilities.argmax(axis=1)]
    return y, Outputs("binary" if classes == 2 else "multiclass", said, probabilities, names)


@given(seeds, st.integers(2, 5), st.integers(2, 50))
def test_classification_equals_scikit_learn(seed: int, classes: int, rows: int) -> None:
    y, outputs = classified(seed, classes, rows)
    names = list(outputs.classes or ())
    average = {"average": "binary", "pos_label": names[1]} if classes == 2 else {"average": "macro"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns about classes that do not occur
        expected = {
            "accuracy": sk.accuracy_score(y, outputs.values),
            "balanced_accuracy": sk.balanced_accuracy_score(y, outputs.values),
            "f1": sk.f1_score(y, outputs.values, zero_division=0, **average),
            "precision": sk.precision_score(y, outputs.values, zero_division=0, **average),
            "recall": sk.recall_score(y, outputs.values, zero_division=0, **average),
            "log_loss": sk.log_loss(y, outputs.probabilities, labels=names),
        }
        if classes == 2:
            scores = outputs.positive_scores
            expected["brier"] = sk.brier_score_loss(y, scores, pos_label=names[1])
            if len(set(y.tolist())) == 2:
                expected["roc_auc"] = sk.roc_auc_score(y == names[1], scores)
        else:
            expected["brier"] = sk.brier_score_loss(y, outputs.probabilities, labels=names)
            if len(set(y.tolist())) == classes:
                expected["roc_auc"] = sk.roc_auc_score(y, outputs.probabilities, multi_class="ovr", labels=names)
    for name, value in expected.items():
        assert metric(name).value(y, outputs) == pytest.approx(value, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("name", METRICS)
@given(seed=seeds)
@settings(max_examples=15)
def test_a_weighting_is_that_many_copies_of_the_row(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if "regression" in METRICS[name].about.kinds:
        y = rng.normal(size=12)
        outputs = Outputs("regression", y + rng.normal(size=12))
    else:
        y, outputs = classified(seed, int(rng.integers(2, 4)), 12)
    weights = rng.multinomial(12, np.full(12, 1 / 12))
    copies = np.repeat(np.arange(12), weights)
    weighted = float(metric(name).form(y, outputs).values(weights[None, :].astype(float))[0])
    repeated = plain_value(metric(name).form(y[copies], outputs.take(copies)))
    assert weighted == pytest.approx(repeated, rel=1e-7, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", METRICS)
@given(seed=seeds)
@settings(max_examples=10)
def test_the_order_of_rows_does_not_matter(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if "regression" in METRICS[name].about.kinds:
        y = rng.normal(size=15)
        outputs = Outputs("regression", y + rng.normal(size=15))
    else:
        y, outputs = classified(seed, 3, 15)
    order = rng.permutation(15)
    bound = metric(name)
    assert bound.value(y[order], outputs.take(order)) == pytest.approx(bound.value(y, outputs), nan_ok=True)
    losses = bound.losses(y, outputs)
    if losses is not None:
        assert bound.from_mean_loss(float(losses.mean())) == pytest.approx(bound.value(y, outputs))


def test_labels_of_any_type_pair_up() -> None:
    outputs = Outputs("multiclass", np.array([1, 2, 3], dtype=object), np.eye(3), (1, 2, 3))
    assert metric("accuracy").value(np.array([1, 2, 2]), outputs) == pytest.approx(2 / 3)
    flags = Outputs("binary", np.array([True, False]))
    assert metric("f1").value(np.array([True, True]), flags) == pytest.approx(2 / 3)
    unseen = Outputs("binary", np.array(["a", "b"]), np.array([[0.9, 0.1], [0.1, 0.9]]), ("a", "b"))
    assert metric("log_loss").value(np.array(["a", "z"]), unseen) > 10


def test_undefined_is_nan_and_misuse_is_one_clear_error() -> None:
    one_class = Outputs("binary", np.array([0, 0]), np.array([[0.5, 0.5]] * 2), (0, 1))
    assert np.isnan(metric("roc_auc").value([0, 0], one_class))
    assert np.isnan(metric("mae").value([], Outputs("regression", np.array([]))))
    with pytest.raises(UnknownNameError, match="Did you mean 'rmse'"):
        metric("rmsee")
    with pytest.raises(DeclarationError, match="mae does not apply to binary outputs"):
        metric("mae").value([0, 0], one_class)
    with pytest.raises(DeclarationError, match="needs class probabilities"):
        metric("log_loss").value([0], Outputs("binary", np.array([0])))
    with pytest.raises(DeclarationError, match="one true value per output"):
        metric("mae").value([1.0], Outputs("regression", np.array([1.0, 2.0])))
