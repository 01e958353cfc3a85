"""LightGBM boosters in LightGBM's own text format, and the shortest way to ask one.

LightGBM is an extra; this file imports it only when one of its models is saved or loaded. Its scikit-learn wrappers
hold label encoders and parameters beside the booster that its text format does not keep: they are saved by skops,
which knows them. This format keeps the plain ``lightgbm.Booster``.

The shortest way: the booster on a float64 matrix with one thread. For one row and 50 trees it takes 20 µs where the
wrapper takes 300 to 500 µs (LightGBM 4.7), so there is nothing to win by calling its C interface ourselves.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loopwright.core.errors import MissingExtraError
from loopwright.core.hashing import digest_file
from loopwright.training.estimators.booster import BoosterModel, booster_library
from loopwright.training.estimators.model_file import ModelFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from numpy.typing import NDArray

BOOSTER_CLASS = "lightgbm.basic.Booster"


class LightgbmFormat:
    """Save a ``lightgbm.Booster`` as ``booster.lgb.txt``."""

    name = "lightgbm"

    def can_save(self, model: object) -> bool:
        """Say whether the model is LightGBM's booster."""
        return _plain(model) is not None

    def save(self, model: object, folder: Path) -> ModelFile:
        """Write the booster's text form, all of its trees."""
        path = folder / "booster.lgb.txt"
        _plain(model).save_model(str(path), num_iteration=-1)
        return ModelFile(self.name, path.name, digest_file(path), path.stat().st_size, BOOSTER_CLASS)

    def load(self, path: Path, record: ModelFile, trusted: Collection[str]) -> object:  # noqa: ARG002
        """Read the booster back, as a `BoosterModel`."""
        try:
            lightgbm = importlib.import_module("lightgbm")
        except ImportError:
            raise MissingExtraError("lightgbm", extra="lightgbm") from None
        return lightgbm_booster(lightgbm.Booster(model_file=str(path)))


def lightgbm_booster(booster: Any) -> BoosterModel:  # noqa: ANN401  (a ``lightgbm.Booster``)
    """Ask a booster as an estimator."""
    objective = next(
        (line for line in booster.model_to_string(num_iteration=1).split("\n") if "objective=" in line), ""
    )
    name = objective.partition("=")[2].partition(" ")[0]
    classes = 2 if name == "binary" else 0
    if name in {"multiclass", "multiclassova"}:
        classes = int(booster.num_model_per_iteration())
    return BoosterModel("lightgbm", booster, classes, booster.predict)


def lightgbm_direct(model: object) -> Callable[[NDArray[np.float64]], NDArray[Any]] | None:
    """Give the shortest way to ask LightGBM's own model about a matrix of float64; None for other models.

    It answers a number, the probability of the second class, or one of each class; one thread.
    """
    booster: Any = model.booster if isinstance(model, BoosterModel) else None
    if booster is None and type(model).__module__ == "lightgbm.sklearn":
        booster = cast("Any", model).booster_
    if booster is None or booster_library(booster) != "lightgbm":
        return None

    def answer(rows: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(booster.predict(rows, num_threads=1))

    return answer


def _plain(model: object) -> Any:  # noqa: ANN401  (a ``lightgbm.Booster``)
    plain = model.booster if isinstance(model, BoosterModel) else model
    return plain if booster_library(plain) == "lightgbm" else None
