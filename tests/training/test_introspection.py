# ruff: noqa: ARG002 - an estimator's methods take what they take
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from loopwright.features.examples import read_training_set
from loopwright.training.fitting import is_fitted
from loopwright.training.introspection import estimator_params, learning_curves, train_score


@pytest.fixture
def train(training_set: Any) -> Any:
    return read_training_set(training_set.path, training_set.feature_fields, training_set.label_field)


def test_curves_of_iterative_estimators_are_found(train: Any) -> None:
    boosting = GradientBoostingClassifier(n_estimators=4, random_state=0).fit(train.X, train.y)
    curves = dict(learning_curves(boosting))
    assert curves["train_score"] == pytest.approx(boosting.train_score_.tolist())
    stopped = HistGradientBoostingClassifier(max_iter=3, early_stopping=True, random_state=0).fit(train.X, train.y)
    assert set(dict(learning_curves(stopped))) == {"train_score", "validation_score"}
    network = make_pipeline(StandardScaler(), MLPClassifier((3,), max_iter=200, tol=0.1, random_state=0))
    assert "loss_curve" in dict(learning_curves(network.fit(train.X, train.y)))
    assert dict(learning_curves(LogisticRegression().fit(train.X, train.y))) == {}


def test_histories_of_boosters_are_found() -> None:
    class Booster:
        def evals_result(self) -> dict[str, dict[str, list[float]]]:
            return {"validation_0": {"logloss": [0.5, 0.25]}}

    assert dict(learning_curves(Booster())) == {"validation_0.logloss": [0.5, 0.25]}


def test_what_cannot_answer_is_recorded_with_less(train: Any) -> None:
    class Odd:
        train_score_ = "high"

        def get_params(self) -> None:
            raise ValueError

        def score(self, X: Any, y: Any) -> None:
            raise ValueError

        def evals_result(self) -> None:
            raise ValueError

    assert estimator_params(Odd()) == {}
    assert train_score(Odd(), train) is None
    assert train_score(object(), train) is None
    assert dict(learning_curves(Odd())) == {}


def test_params_of_a_pipeline_are_plain_values() -> None:
    params = estimator_params(make_pipeline(StandardScaler(), LogisticRegression(C=np.float64(2.0))))
    assert params["logisticregression__C"] == 2.0
    assert isinstance(params["steps"], str)


def test_fitted_estimators_are_told_from_unfitted_ones(train: Any) -> None:
    assert not is_fitted(LogisticRegression())
    assert is_fitted(LogisticRegression().fit(train.X, train.y))
    assert not is_fitted(make_pipeline(StandardScaler(), LogisticRegression()))
    assert is_fitted(object())
