# ruff: noqa: PLC0415 - optional libraries
from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from loopwright.core.errors import (
    MissingExtraError,
    StoreCorruptError,
    TrainingError,
    UnknownNameError,
    UntrustedError,
)
from loopwright.core.hashing import digest_file
from loopwright.training.estimators.choice import askable, load_model, save_model
from loopwright.training.estimators.model_file import ModelFile
from loopwright.training.estimators.sklearn_skops import is_safe
from loopwright.training.estimators.xgboost_native import xgboost_direct

if TYPE_CHECKING:
    from pathlib import Path

X, y = make_classification(n_samples=120, n_features=6, random_state=0)

ESTIMATORS = {
    "linear": LogisticRegression,
    "forest": lambda: RandomForestClassifier(n_estimators=5, random_state=0),
    "boosting": lambda: HistGradientBoostingRegressor(max_iter=5, random_state=0),
    "pipeline": lambda: make_pipeline(
        StandardScaler(), FunctionTransformer(np.abs), SelectKBest(f_classif, k=3), LogisticRegression()
    ),
    "columns": lambda: make_pipeline(
        ColumnTransformer([("scaled", StandardScaler(), [0, 1])], remainder="passthrough"), LogisticRegression()
    ),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_comes_back_with_equal_predictions_and_an_equal_digest(name: str, tmp_path: Path) -> None:
    model = ESTIMATORS[name]().fit(X, y)
    first = save_model(model, tmp_path)
    assert (first.format, first.trusted_types) == ("skops", ())
    again = load_model(first, tmp_path)
    assert np.array_equal(again.predict(X), model.predict(X))  # type: ignore[attr-defined]
    (tmp_path / "second").mkdir()
    refitted = ESTIMATORS[name]().fit(X, y)
    assert save_model(refitted, tmp_path / "second").digest == first.digest
    assert ModelFile.from_json(first.to_json()) == first


def test_a_changed_file_is_not_loaded(tmp_path: Path) -> None:
    record = save_model(LogisticRegression().fit(X, y), tmp_path)
    path = tmp_path / record.file_name
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StoreCorruptError, match="its record says"):
        load_model(record, path)


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    record = save_model(LogisticRegression().fit(X, y), tmp_path)
    with pytest.raises(UnknownNameError, match="skopz"):
        load_model(ModelFile("skopz", record.file_name, record.digest, 1, "x"), tmp_path)


class Shifted:
    """No estimator in scikit-learn's sense."""

    def __init__(self, by: float) -> None:
        self.by = by

    def predict(self, rows: Any) -> Any:
        return np.asarray(rows)[:, 0] + self.by


def test_a_pickle_is_written_and_read_by_explicit_trust_only(tmp_path: Path) -> None:
    with pytest.raises(UntrustedError, match="trust_pickle=True"):
        save_model(Shifted(1.0), tmp_path)
    record = save_model(Shifted(1.0), tmp_path, trust=True)
    assert (record.format, record.trusted_types) == ("pickled", ("pickle",))
    with pytest.raises(UntrustedError, match="runs the code inside it"):
        load_model(record, tmp_path)
    again = load_model(record, tmp_path, trusted=record.trusted_types)
    assert again.predict(X)[0] == X[0, 0] + 1.0  # type: ignore[attr-defined]


def test_a_safe_format_is_chosen_even_when_a_pickle_is_trusted(tmp_path: Path) -> None:
    assert save_model(LogisticRegression().fit(X, y), tmp_path, trust=True).format == "skops"


def local_function(rows: Any) -> Any:
    return rows


def test_a_pipeline_with_a_function_of_the_project_needs_trust(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(local_function), LogisticRegression()).fit(X, y)
    with pytest.raises(TrainingError, match="a serving process could not import"):
        save_model(model, tmp_path)
    assert save_model(model, tmp_path, trust=True).format == "pickled"


def test_a_foreign_file_with_an_unknown_type_is_refused(tmp_path: Path) -> None:
    import skops.io

    path = tmp_path / "foreign.skops"
    skops.io.dump(make_pipeline(FunctionTransformer(subprocess.getoutput), LogisticRegression()), path)
    record = ModelFile("skops", path.name, digest_file(path), path.stat().st_size, "sklearn.pipeline.Pipeline")
    with pytest.raises(UntrustedError, match=r"subprocess\.getoutput"):
        load_model(record, path)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("sklearn.tree._tree.Tree", True),
        ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor", True),
        ("sklearn.feature_selection._univariate_selection.f_classif", True),
        ("numpy.log1p", True),
        ("numpy.testing.runstring", False),
        ("numpy.load", False),
        ("sklearn.datasets._base.load_files", False),
        ("builtins.exec", False),
        ("os.system", False),
        ("sklearn.missing.Thing", False),
        ("sklearn", False),
    ],
)
def test_what_is_safe(name: str, safe: bool) -> None:
    assert is_safe(name) is safe


def test_an_archive_holds_ordinal_names_and_no_time(tmp_path: Path) -> None:
    record = save_model(LogisticRegression().fit(X, y), tmp_path)
    with zipfile.ZipFile(tmp_path / record.file_name) as archive:
        names = archive.namelist()
        assert names == [*(f"{place}.npy" for place in range(1, len(names))), "schema.json"]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_looking_for_a_format_imports_no_library() -> None:
    code = (
        "import sys; import loopwright.training.estimators.choice; "
        "print([m for m in ('sklearn', 'skops', 'xgboost', 'lightgbm', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="xgboost is not installed")
def test_xgboost_models_come_back(tmp_path: Path) -> None:
    import xgboost

    for model in (xgboost.XGBClassifier(n_estimators=3), xgboost.XGBRegressor(n_estimators=3)):
        model.fit(X, y)
        record = save_model(model, tmp_path)
        assert (record.format, record.trusted_types) == ("xgboost", ())
        renamed = tmp_path / record.digest
        (tmp_path / record.file_name).rename(renamed)
        again = load_model(record, renamed)
        assert type(again) is type(model)
        assert np.array_equal(again.predict(X), model.predict(X))  # type: ignore[attr-defined]


@pytest.mark.skipif(importlib.util.find_spec("lightgbm") is None, reason="lightgbm is not installed")
def test_lightgbm_models_come_back(tmp_path: Path) -> None:
    import lightgbm

    wrapper = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y)
    for model, name in ((wrapper, "skops"), (wrapper.booster_, "lightgbm")):
        record = save_model(model, tmp_path)
        assert record.format == name
        again = load_model(record, tmp_path, trusted=record.trusted_types)
        assert np.allclose(again.predict(X), model.predict(X) if name == "skops" else model.predict(X) > 0.5)


@pytest.mark.parametrize(
    ("package", "kind", "name"),
    [
        ("torch", "torch", "torch.nn.Module"),
        ("xgboost", "xgboost", "xgboost.sklearn.XGBRegressor"),
        ("lightgbm", "lightgbm", "lightgbm.basic.Booster"),
    ],
)
def test_an_absent_library_is_named_with_its_install_line(
    package: str, kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / "model"
    path.write_bytes(b"x")
    record = ModelFile(kind, path.name, digest_file(path), 1, name, ("torch.export",))
    with pytest.raises(MissingExtraError, match=rf"loopwright\[{package}\]"):
        load_model(record, path, trusted=record.trusted_types)


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="xgboost is not installed")
@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob", "multi:softmax"])
def test_a_booster_of_xgboost_is_asked_as_an_estimator(objective: str, tmp_path: Path) -> None:
    import xgboost

    several = objective.startswith("multi")
    labels = (y + (X[:, 0] > 0)) if several else y
    options = {"objective": objective, "nthread": 1, **({"num_class": 3} if several else {})}
    booster = xgboost.train(options, xgboost.DMatrix(X, labels), 4)
    model = askable(booster, X[:1])
    record = save_model(model, tmp_path)
    assert (record.format, record.estimator_class) == ("xgboost", "xgboost.core.Booster")
    assert save_model(booster, tmp_path).digest == record.digest
    again: Any = load_model(record, tmp_path)
    said = booster.predict(xgboost.DMatrix(X))
    if objective == "reg:squarederror":
        assert again.classes_ is None
        assert np.allclose(again.predict(X), said)
        return
    expected = said if objective == "multi:softmax" else said.argmax(axis=1) if several else said > 0.5
    assert (again.predict(X) == expected).all()
    assert np.allclose(again.predict_proba(X).sum(axis=1), 1)
    direct = xgboost_direct(again)
    assert direct is not None
    found = direct(X.astype(np.float32))
    assert np.allclose(found if several else np.column_stack([1 - found, found]), again.predict_proba(X))
