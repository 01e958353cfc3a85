"""Graphs of trees decide as the libraries do, number for number, on random models."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.registry.boosted import boosted_trees, library_of
from loopwright.registry.cannot_compile import CannotCompileError
from loopwright.registry.tree_ensemble import tree_graph

lightgbm = pytest.importorskip("lightgbm", exc_type=ImportError)
xgboost = pytest.importorskip("xgboost", exc_type=ImportError)

WIDTH = 3
GRID = np.array([-1.0, -0.5, -0.1, 0.0, 1e-40, 0.1, 0.3, 0.5, 1.0, 3e38, np.nan])
"""Numbers that meet thresholds, zero, the smallest and the largest, and none."""


def fitted(library: str, kind: str, seed: int, depth: int, rounds: int):
    random = np.random.default_rng(seed)
    x = random.choice(GRID, size=(60, WIDTH))
    y = np.nan_to_num(x[:, 0], nan=0.7, posinf=1.0).clip(-2, 2) + random.normal(size=60) / 10
    if kind != "regression":
        y = np.digitize(y, [0.0] if kind == "binary" else [-0.3, 0.3])
        y[: 2 if kind == "binary" else 3] = range(2 if kind == "binary" else 3)
    if library == "xgboost":
        made = xgboost.XGBRegressor if kind == "regression" else xgboost.XGBClassifier
        return made(n_estimators=rounds, max_depth=depth, n_jobs=1, tree_method="exact").fit(x, y)
    made = lightgbm.LGBMRegressor if kind == "regression" else lightgbm.LGBMClassifier
    model = made(n_estimators=rounds, max_depth=depth, min_child_samples=1, min_data_in_bin=1, n_jobs=1, verbose=-1)
    return model.fit(x, y)


def on_thresholds(trees, seed: int) -> np.ndarray:
    """Rows whose numbers are the thresholds themselves, their neighbours, and those of the grid."""
    found = np.concatenate([tree.threshold[~tree.is_leaf] for tree in trees.trees] or [np.zeros(1)])
    kind = np.float32 if trees.compared_as == "float32" else np.float64
    with np.errstate(over="ignore"):
        found = found.astype(kind)
        near = [found, np.nextafter(found, kind(np.inf)), np.nextafter(found, kind(-np.inf))]
    pool = np.concatenate([*near, GRID.astype(kind)])
    pool = pool[~np.isinf(pool)]  # XGBoost refuses infinite numbers
    return np.random.default_rng(seed).choice(pool, size=(200, WIDTH)).astype(kind)


@settings(max_examples=40, deadline=None)
@given(
    library=st.sampled_from(["xgboost", "lightgbm"]),
    kind=st.sampled_from(["regression", "binary", "multiclass"]),
    seed=st.integers(0, 2**16),
    depth=st.integers(1, 5),
    rounds=st.integers(1, 6),
)
def test_a_graph_decides_as_its_library(library, kind, seed, depth, rounds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fitted(library, kind, seed, depth, rounds)
        trees = boosted_trees(model)
        rows = on_thresholds(trees, seed)
        graph = tree_graph(trees, width=WIDTH, dtype=trees.compared_as, name="rows")
        answers = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"rows": rows})
        expected = model.predict(rows) if kind == "regression" else model.predict_proba(rows)
    assert answers[-1].reshape(expected.shape) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    if kind != "regression":
        clear = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] > 1e-5
        assert (answers[0][clear] == expected.argmax(axis=1)[clear]).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_float32_features_of_lightgbm_decide_alike_in_a_float32_graph(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fitted("lightgbm", "regression", seed, 4, 5)
        trees = boosted_trees(model)
        rows = on_thresholds(trees, seed)
        with np.errstate(over="ignore"):
            rows = rows.astype(np.float32)
        rows[np.isinf(rows)] = 0
        graph = tree_graph(trees.for_input("float32", float32_features=True), width=WIDTH, dtype="float32", name="rows")
        [answers] = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"rows": rows})
        assert answers[:, 0] == pytest.approx(model.predict(rows.astype(np.float64)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("library", "kind", "options", "reason"),
    [
        ("xgboost", "Regressor", {"booster": "gblinear", "updater": "coord_descent"}, "gblinear"),
        ("xgboost", "Regressor", {"missing": -1.0}, "the number -1"),
        (
            "xgboost",
            "Regressor",
            {
                "objective": "reg:quantileerror",
                "quantile_alpha": [0.1, 0.9],
                "multi_strategy": "multi_output_tree",
            },
            "several numbers",
        ),
        ("xgboost", "Classifier", {"objective": "binary:hinge"}, "binary:hinge"),
        ("lightgbm", "Regressor", {"zero_as_missing": True}, "takes 0"),
        ("lightgbm", "Regressor", {"linear_tree": True}, "linear models"),
        ("lightgbm", "Regressor", {"reg_sqrt": True}, "sqrt"),
    ],
)
def test_what_a_graph_cannot_say_is_refused_with_its_reason(library, kind, options, reason):
    random = np.random.default_rng(0)
    x = random.normal(size=(80, WIDTH))
    x[::4] = 0
    y = np.abs(x[:, 0]) + x[:, 1]
    made = getattr(xgboost if library == "xgboost" else lightgbm, f"{'XGB' if library == 'xgboost' else 'LGBM'}{kind}")
    quiet = {"verbosity": 0} if library == "xgboost" else {"verbose": -1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = made(n_estimators=2, n_jobs=1, **quiet, **options)
        model.fit(x, y if kind == "Regressor" else (y > 0).astype(int))
        with pytest.raises(CannotCompileError, match=reason):
            boosted_trees(model)


def test_other_models_have_no_trees_to_read():
    assert library_of(object()) is None
    assert boosted_trees(object()) is None
