"""Models of XGBoost and LightGBM answer through ONNX Runtime as they answer themselves."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from loopwright.features.columns import model_input
from loopwright.features.field import Field
from loopwright.registry.parity import compare
from loopwright.registry.registry import Registry

lightgbm = pytest.importorskip("lightgbm", exc_type=ImportError)
xgboost = pytest.importorskip("xgboost", exc_type=ImportError)

pytestmark = pytest.mark.usefixtures("compiled_first")

NUMBERS = tuple(Field(f"x{place}", "float64") for place in range(4))
VECTOR = (Field("pixels", "float32", shape=(5,), nullable=False),)
MIXED = (
    Field("distance", "float64", nullable=False),
    Field("items", "int64", nullable=False),
    Field("city", "category", categories=("Bergen", "Oslo", "Tromsø")),
    Field("colour", "string"),
)


def xgb(kind, **options):
    made = xgboost.XGBRegressor if kind == "regression" else xgboost.XGBClassifier
    return made(n_estimators=12, max_depth=4, n_jobs=1, **options)


def lgb(kind, **options):
    made = lightgbm.LGBMRegressor if kind == "regression" else lightgbm.LGBMClassifier
    return made(n_estimators=12, num_leaves=12, min_child_samples=4, n_jobs=1, verbose=-1, **options)


def data(fields, kind, runs, *, rows=400, seed=0, holes=True):
    """Rows with missing numbers, and what is to be predicted of them."""
    columns = runs.columns_of(fields, rows=rows, seed=seed)
    first = next(values for values in columns.values() if values.dtype.kind == "f")
    score = first if first.ndim == 1 else first[:, 0]
    if holes:
        for place, name in enumerate(columns):
            if columns[name].dtype.kind == "f":
                columns[name] = columns[name].copy()
                columns[name][place :: 7 + place] = np.nan
    score = np.where(np.isnan(score), 0.4, score)
    if kind == "regression":
        return columns, 10 * score + 3
    return columns, (score > 0).astype(int) if kind == "binary" else np.digitize(score, [-0.5, 0.5])


def registered(stores, runs, model, fields, kind):
    """Fit, register and load a model, and check both forms on fresh rows."""
    columns, y = data(fields, kind, runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM tells of feature names
        model.fit(model_input(columns, fields), y)
    return checked(stores, runs, model, fields, kind)


def checked(stores, runs, model, fields, kind, *, holes=True):
    registry = Registry(stores)
    run_id = f"run-{len(registry.versions())}"
    version = registry.register(runs.candidate(model, fields=fields, kind=kind, fitted=True, run_id=run_id))
    assert version.not_compiled_because is None
    loaded = registry.load(version)
    assert loaded.form == "onnx", version.choice
    holes = holes and not any(field.dtype == "string" for field in fields)
    columns, _ = data(fields, kind, runs, rows=300, seed=5, holes=holes)
    native = loaded.predict_native(model_input(columns, fields))
    assert compare(native, loaded.predict(columns)).holds
    one = loaded.predict({name: values[:1] for name, values in columns.items()})
    assert one.values[0] == pytest.approx(native.values[0], rel=1e-5)
    return version


@pytest.mark.parametrize("fields", [NUMBERS, VECTOR], ids=["frame", "array"])
@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("make", [xgb, lgb])
def test_an_estimator_compiles(stores, runs, make, kind, fields):
    version = registered(stores, runs, make(kind), fields, kind)
    assert version.compiled.layout == "matrix"
    float32 = make is xgb or fields is VECTOR
    assert version.compiled.inputs[0].dtype == ("float32" if float32 else "float64")


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (xgb, {"objective": "count:poisson"}),
        (xgb, {"objective": "reg:gamma", "base_score": 0.7}),
        (xgb, {"objective": "reg:logistic"}),
        (xgb, {"booster": "dart", "rate_drop": 0.5}),
        (xgb, {"num_parallel_tree": 3, "subsample": 0.7}),
        (lgb, {"objective": "tweedie"}),
        (lgb, {"objective": "quantile", "alpha": 0.8}),
        (lgb, {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}),
        (lgb, {"objective": "cross_entropy"}),
        (lgb, {"use_missing": False}),
    ],
)
def test_objectives_and_boosters_keep_their_scale(stores, runs, make, options):
    columns, y = data(NUMBERS, "regression", runs)
    share = 1 / (1 + np.exp(-y / 10))
    model = make("regression", **options)
    model.fit(model_input(columns, NUMBERS), share if "objective" in options else y)
    checked(stores, runs, model, NUMBERS, "regression")


def test_one_against_all_keeps_its_probabilities(stores, runs):
    registered(stores, runs, lgb("multiclass", objective="multiclassova", sigmoid=0.7), NUMBERS, "multiclass")


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_early_stopping_ends_where_the_estimator_does(stores, runs, library):
    columns, y = data(NUMBERS, "regression", runs)
    x = model_input(columns, NUMBERS)
    noise = np.random.default_rng(0).normal(size=len(y))
    if library == "xgboost":
        model = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=2, n_jobs=1)
        model.fit(x, noise, eval_set=[(x[::2], noise[::-2])], verbose=False)
    else:
        stop = lightgbm.early_stopping(2, verbose=False)
        model = lgb("regression").set_params(n_estimators=60)
        model.fit(x, noise, eval_X=x[::2], eval_y=noise[::-2], callbacks=[stop])
    checked(stores, runs, model, NUMBERS, "regression")


@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("make", [xgb, lgb])
def test_a_pipeline_with_texts_and_categories_compiles(stores, runs, make, kind):
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["distance", "items"]),
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city"]),
            (
                "colours",
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                ["colour"],
            ),
        ]
    )
    pipeline = make_pipeline(columns, make(kind))
    values, y = data(MIXED, kind, runs, holes=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(model_input(values, MIXED), y)
    assert checked(stores, runs, pipeline, MIXED, kind).compiled.layout == "columns"


def test_classes_that_are_texts_compile(stores, runs):
    columns, y = data(NUMBERS, "multiclass", runs)
    labels = np.array(["slow", "usual", "fast"])[y]
    x = model_input(columns, NUMBERS)
    checked(stores, runs, lgb("multiclass").fit(x, labels), NUMBERS, "multiclass")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make_pipeline(SimpleImputer(), lgb("multiclass")).fit(x, labels)
        checked(stores, runs, pipeline, NUMBERS, "multiclass")


@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("make", [xgb, lgb])
def test_splits_on_categories_compile_to_look_ups(stores, runs, make, kind):
    fields = (
        MIXED[2],
        Field("trail", "float32", shape=(2,), nullable=False),
        MIXED[0],
        Field("kind", "category", categories=tuple(f"k{place:02}" for place in range(40))),
    )
    columns = runs.columns_of(fields)
    columns["city"][::7] = -1
    columns["kind"][columns["kind"] >= 35] = 3  # categories that training never sees
    score = columns["distance"] + np.array([0, 2, -1, 5])[columns["city"]] + columns["kind"] % 3
    y = score if kind == "regression" else score > 1.5 if kind == "binary" else np.digitize(score, [0, 2])
    model = make(kind, **({"enable_categorical": True, "max_cat_to_onehot": 2} if make is xgb else {}))
    model.fit(model_input(columns, fields), y if kind == "regression" else y.astype(int))
    version = checked(stores, runs, model, fields, kind, holes=False)
    fresh = runs.columns_of(fields, rows=500, seed=9)
    fresh["city"][::5] = -1
    fresh["kind"][::4] = -1
    loaded = Registry(stores).load(version)
    native = loaded.predict_native(model_input(fresh, fields))
    assert compare(native, loaded.predict(fresh)).holds
    texts = {field.name: np.array([*field.categories, None], dtype=object)[fresh[field.name]] for field in fields[::3]}
    assert np.array_equal(loaded.predict({**fresh, **texts}).values, loaded.predict(fresh).values)


def test_categories_of_a_column_of_numbers_stay_with_the_library(stores, runs):
    columns, y = data(MIXED[:2], "regression", runs, holes=False)
    x = model_input(columns, MIXED[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lgb("regression", min_data_per_group=2, cat_smooth=0.1).fit(
            x, y + columns["items"] % 3 * 5, categorical_feature=["items"]
        )
        version = Registry(stores).register(runs.candidate(model, fields=MIXED[:2], fitted=True))
    assert "categories of 'items'" in version.not_compiled_because
    assert version.library is not None
