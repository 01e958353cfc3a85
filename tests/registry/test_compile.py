from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from loopwright.core.errors import InvalidRequestError
from loopwright.features.columns import model_input
from loopwright.features.field import Field
from loopwright.registry.parity import TOLERANCE, compare
from loopwright.registry.registry import Registry

pytestmark = pytest.mark.usefixtures("compiled_first")
MODELS = {
    "logistic": (lambda: make_pipeline(StandardScaler(), LogisticRegression()), "multiclass"),
    "forest": (lambda: RandomForestClassifier(20, random_state=0), "binary"),
    "forest_regressor": (lambda: RandomForestRegressor(20, random_state=0), "regression"),
    "extra_trees": (lambda: ExtraTreesClassifier(20, random_state=0), "multiclass"),
    "boosting": (lambda: GradientBoostingClassifier(n_estimators=20, random_state=0), "multiclass"),
    "boosting_regressor": (lambda: GradientBoostingRegressor(n_estimators=20, random_state=0), "regression"),
    "hist_binary": (lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0), "binary"),
    "hist_multiclass": (lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0), "multiclass"),
    "hist_regressor": (lambda: HistGradientBoostingRegressor(max_iter=20, random_state=0), "regression"),
    "linear_svc": (LinearSVC, "multiclass"),
    "ridge": (Ridge, "regression"),
    "svc": (lambda: make_pipeline(StandardScaler(), SVC()), "multiclass"),
    "neighbours": (KNeighborsClassifier, "binary"),
    "neighbours_regressor": (KNeighborsRegressor, "regression"),
}
PIXELS = (Field("pixels", "float32", shape=(16,), nullable=False),)
MIXED = (
    Field("distance", "float64", nullable=False),
    Field("items", "int64", nullable=False),
    Field("city", "category", categories=("Bergen", "Oslo", "Tromsø")),
    Field("colour", "string"),
)


@pytest.mark.parametrize("layout", ["frame", "array"])
@pytest.mark.parametrize("name", MODELS)
def test_the_compiled_form_answers_as_the_native_one(stores, runs, name, layout):
    make, kind = MODELS[name]
    fields = PIXELS if layout == "array" else runs.scalar_fields()
    registry = Registry(stores)
    version = registry.register(runs.candidate(make(), fields=fields, kind=kind))
    assert version.not_compiled_because is None
    loaded = registry.load(version)
    assert loaded.form == "onnx"
    columns = runs.columns_of(fields, rows=500, seed=1)
    x = model_input(columns, fields)
    native = loaded.predict_native(x)
    parity = compare(native, loaded.predict(x))
    assert parity.labels_changed == 0
    assert parity.largest_difference <= TOLERANCE
    assert (loaded.predict(columns).values == loaded.predict(x).values).all()
    assert len(loaded.predict({key: value[:1] for key, value in columns.items()})) == 1


@pytest.mark.parametrize("handle_unknown", ["ignore", "error"])
def test_a_frame_with_texts_compiles_by_columns(stores, runs, handle_unknown):
    estimator = make_pipeline(
        ColumnTransformer(
            [
                ("numbers", StandardScaler(), ["distance", "items"]),
                ("texts", OneHotEncoder(handle_unknown=handle_unknown), ["city", "colour"]),
            ]
        ),
        LogisticRegression(),
    )
    registry = Registry(stores)
    version = registry.register(runs.candidate(estimator, fields=MIXED, kind="binary"))
    assert version.not_compiled_because is None
    assert version.compiled.layout == "columns"
    loaded = registry.load(version)
    columns = runs.columns_of(MIXED, rows=200, seed=3)
    x = model_input(columns, MIXED)
    assert compare(loaded.predict_native(x), loaded.predict(columns)).holds
    assert compare(loaded.predict_native(x), loaded.predict(x)).holds

    strange = {name: values[:2].copy() for name, values in columns.items()}
    strange["colour"][0] = "violet"
    if handle_unknown == "error":
        with pytest.raises(ValueError, match="unknown categories"):
            loaded.predict(strange)
    else:
        assert len(loaded.predict(strange)) == 2


def test_a_missing_text_is_answered_by_the_native_form(stores, runs):
    estimator = make_pipeline(
        ColumnTransformer([("texts", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="drop"), Ridge()
    )
    registry = Registry(stores)
    loaded = registry.load(registry.register(runs.candidate(estimator, fields=MIXED)))
    assert loaded.form == "onnx"
    columns = runs.columns_of(MIXED, rows=3)
    columns["city"][1] = -1
    expected = loaded.predict_native(model_input(columns, MIXED))
    assert (loaded.predict(columns).values == expected.values).all()


def test_an_encoder_that_refuses_unknown_numbers_stays_native(stores, runs):
    estimator = make_pipeline(
        ColumnTransformer([("items", OneHotEncoder(), ["items"])], remainder="passthrough"), Ridge()
    )
    version = Registry(stores).register(runs.candidate(estimator, fields=MIXED[:2]))
    assert version.compiled is None
    assert "encoder of 'items'" in version.not_compiled_because


@pytest.mark.parametrize("loss", ["poisson", "gamma", "quantile", "absolute_error"])
def test_losses_of_histogram_boosting_keep_their_scale(stores, runs, loss):
    fields = runs.scalar_fields()
    columns = runs.columns_of(fields)
    model = HistGradientBoostingRegressor(loss=loss, max_iter=10, quantile=0.9 if loss == "quantile" else None)
    model.fit(model_input(columns, fields), np.exp(columns["x0"]))
    version = Registry(stores).register(runs.candidate(model, fields=fields, fitted=True))
    assert version.not_compiled_because is None


def test_a_missing_column_is_named(stores, runs):
    registry = Registry(stores)
    loaded = registry.load(registry.register(runs.candidate(Ridge())))
    columns = runs.columns_of(runs.scalar_fields(), rows=1)
    del columns["x2"]
    with pytest.raises(InvalidRequestError, match="x2"):
        loaded.predict(columns)


def test_missing_numbers_take_the_same_side(stores, runs):
    fields = runs.scalar_fields()
    columns = runs.columns_of(fields)
    columns["x1"][::3] = np.nan
    x = model_input(columns, fields)
    model = HistGradientBoostingRegressor(max_iter=20, random_state=0)
    model.fit(x, np.where(np.isnan(columns["x1"]), 50, columns["x0"]))
    registry = Registry(stores)
    version = registry.register(runs.candidate(model, fields=fields, fitted=True))
    loaded = registry.load(version)
    assert loaded.form == "onnx"
    assert compare(loaded.predict_native(x), loaded.predict(x)).holds


def test_float32_features_on_a_threshold_take_the_same_side(stores, runs):
    random = np.random.default_rng(0)
    # Neighbouring float32 numbers: every threshold lies between two of them and is no float32 itself.
    steps = np.float32(1) + np.arange(200, dtype=np.float32) * np.finfo(np.float32).eps
    columns = {"pixels": random.choice(steps, size=(400, 16)).astype(np.float32)}
    model = HistGradientBoostingClassifier(max_iter=10, random_state=0, min_samples_leaf=2)
    model.fit(columns["pixels"], columns["pixels"][:, 0] > steps[100])
    registry = Registry(stores)
    loaded = registry.load(registry.register(runs.candidate(model, fields=PIXELS, kind="binary", fitted=True)))
    assert loaded.form == "onnx"
    rows = np.repeat(steps[:, None], 16, axis=1)
    assert compare(loaded.predict_native(rows), loaded.predict(rows)).holds


@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
def test_splits_on_categories_compile_to_look_ups(stores, runs, kind):
    vector = Field("trail", "float32", shape=(3,), nullable=False)
    fields = (
        MIXED[2],
        vector,
        MIXED[0],
        Field("kind", "category", categories=tuple(f"k{n:02}" for n in range(40))),
        MIXED[1],
    )
    columns = runs.columns_of(fields)
    columns["city"][::7] = -1
    columns["kind"][columns["kind"] >= 35] = 3  # categories that training never sees
    x = model_input(columns, fields)
    score = columns["distance"] + np.array([0, 2, -1, 5])[columns["city"]] + columns["kind"] % 3
    if kind == "regression":
        model, y = HistGradientBoostingRegressor(max_iter=30, min_samples_leaf=5), score
    else:
        model = HistGradientBoostingClassifier(max_iter=30, min_samples_leaf=5)
        y = score > 1 if kind == "binary" else np.digitize(score, [0, 2])
    model.fit(x, y)
    registry = Registry(stores)
    version = registry.register(runs.candidate(model, fields=fields, kind=kind, fitted=True, trust=True))
    assert version.not_compiled_because is None
    assert version.compiled.layout == "matrix"
    loaded = registry.load(version)
    fresh = runs.columns_of(fields, rows=1000, seed=5)
    fresh["city"][::5] = -1
    x = model_input(fresh, fields)
    native = loaded.predict_native(x)
    assert compare(native, loaded.predict(fresh)).holds
    assert compare(native, loaded.predict(x)).holds


def double(values):
    return values * 2


def test_what_skl2onnx_does_not_know_stays_native(stores, runs):
    registry = Registry(stores)
    estimator = make_pipeline(FunctionTransformer(double), Ridge())
    version = registry.register(runs.candidate(estimator, trust=True))
    assert version.compiled is None
    assert "FunctionTransformer" in version.not_compiled_because


def test_a_graph_that_answers_otherwise_is_dropped(stores, runs):
    fields = runs.scalar_fields()
    model = make_pipeline(StandardScaler(), Ridge())
    columns = runs.columns_of(fields)
    x = model_input(columns, fields)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, columns["x0"])
    predict = model[-1].predict

    class Drifting(Ridge):
        """Predicts otherwise than its coefficients say."""

        def predict(self, X):
            return predict(X) + 0.25

    model[-1].__class__ = Drifting
    registry = Registry(stores)
    version = registry.register(runs.candidate(model, fitted=True, trust=True))
    assert version.compiled is None
    assert version.not_compiled_because
