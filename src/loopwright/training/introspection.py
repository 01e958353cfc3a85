"""What a fitted estimator says of itself: its parameters, its learning curves, its score on its own training rows.

Nothing here may fail a training: an estimator that answers oddly is recorded with less.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.features.examples import TrainingSet

MAX_POINTS = 10_000
MAX_SCORED_ROWS = 5_000
MAX_TEXT = 200
CURVES = ("train_score_", "validation_score_", "loss_curve_", "validation_scores_", "scores_")
"""Attributes under which scikit-learn's iterative estimators keep one number per iteration."""
_logger = logging.getLogger(__name__)


def estimator_params(model: object) -> dict[str, Any]:
    """Return ``get_params()`` as JSON values; objects among them by their short text."""
    try:
        params = model.get_params()  # type: ignore[attr-defined]  # checked by the except below
        return {str(name): _plain(value) for name, value in sorted(params.items())}
    except Exception:
        _logger.debug("get_params of %s failed", type(model).__name__, exc_info=True)
        return {}


def learning_curves(model: object) -> Iterator[tuple[str, list[float]]]:
    """Yield the name and the points of every learning curve that the estimator, or its last step, keeps."""
    for part in _parts(model):
        for attribute in CURVES:
            values = _numbers(getattr(part, attribute, None))
            if len(values) > 1:
                yield attribute.rstrip("_"), values
        for data_name, metrics in _evaluations(part).items():
            for metric_name, points in metrics.items():
                values = _numbers(points)
                if values:
                    yield f"{data_name}.{metric_name}", values


def train_score(model: object, train: TrainingSet) -> float | None:
    """Return the estimator's own ``score`` on up to 5,000 evenly spaced rows of the training part; None without one.

    It says how well the model remembers, not how good it is: that is for the holdout.
    """
    if not hasattr(model, "score"):
        return None
    try:
        part = train
        if len(train) > MAX_SCORED_ROWS:
            part = train.take(np.linspace(0, len(train) - 1, MAX_SCORED_ROWS).astype(np.int64))
        return float(model.score(part.X, part.y))
    except Exception:
        _logger.debug("score of %s failed", type(model).__name__, exc_info=True)
        return None


def _parts(model: object) -> Iterator[object]:
    seen: set[int] = set()
    part: object | None = model
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        yield part
        steps = getattr(part, "steps", None)
        part = steps[-1][1] if isinstance(steps, list) and steps else getattr(part, "best_estimator_", None)


def _evaluations(part: object) -> dict[str, dict[str, Any]]:
    """Return the evaluation history of XGBoost (a method) and LightGBM (an attribute)."""
    for name in ("evals_result_", "evals_result"):
        found: object = None
        with contextlib.suppress(Exception):  # XGBoost raises where there was no evaluation set
            found = getattr(part, name, None)
            found = found() if callable(found) else found
        if isinstance(found, dict) and all(isinstance(entry, dict) for entry in found.values()):
            return found
    return {}


def _numbers(values: object) -> list[float]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return []
    return [float(value) for value in array[:MAX_POINTS]] if array.ndim == 1 else []


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple) and all(isinstance(item, str | bool | int | float) for item in value):
        return list(value)
    text = " ".join(repr(value).split())
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
