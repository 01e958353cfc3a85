"""A plain booster of XGBoost or LightGBM, asked as an estimator is.

``xgboost.train`` and ``lightgbm.train`` return boosters. XGBoost's takes matrices of its own, and both answer numbers
whatever the objective was. `BoosterModel` takes frames and arrays, and says of a booster that was trained on classes
which classes they are: 0 and 1, or 0 to k - 1, as both libraries require of the labels. Neither library is imported
here but by the adapters that hand it in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from loopwright.training.estimators.model_file import class_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

Library: TypeAlias = Literal["xgboost", "lightgbm"]


class Scores(Protocol):
    """A booster's answers: shape (n,), or (n, classes) for several classes."""

    def __call__(self, rows: object, /) -> NDArray[np.floating[Any]]:
        """Answer a frame or an array."""


class BoosterModel:
    """Answer rows with a booster as a scikit-learn estimator would.

    Args:
        library: Which library made it.
        booster: An ``xgboost.Booster`` or a ``lightgbm.Booster``.
        classes: How many classes it was trained on; 0 for numbers.
        scores: Its answers: a number, the probability of the second class, or one of each class.

    Attributes:
        classes_: The classes in the order of the probabilities; None for numbers.
    """

    def __init__(self, library: Library, booster: Any, classes: int, scores: Scores) -> None:  # noqa: ANN401
        self.library = library
        self.booster = booster
        self.classes_ = np.arange(classes) if classes else None
        self._scores = scores

    def predict(self, rows: object) -> NDArray[Any]:
        """Answer a number or a class per row."""
        if self.classes_ is None:
            return np.asarray(self._scores(rows))
        probabilities = self.predict_proba(rows)
        if len(self.classes_) == 2:  # as both libraries' estimators decide: the second class above one half
            return np.asarray(self.classes_[(probabilities[:, 1] > 0.5).astype(np.intp)])
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def predict_proba(self, rows: object) -> NDArray[Any]:
        """Answer one probability per row and class."""
        scores = np.asarray(self._scores(rows))
        return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores


def booster_library(model: object) -> Library | None:
    """Say which library a plain booster is of; None for anything else.

    >>> booster_library(3) is None
    True
    """
    name = class_name(model)
    return "xgboost" if name == "xgboost.core.Booster" else "lightgbm" if name == "lightgbm.basic.Booster" else None
