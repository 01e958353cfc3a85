"""XGBoost's scikit-learn estimators in XGBoost's own UBJSON format.

XGBoost is an extra; this file imports it only when one of its models is saved or loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from loopwright.core.errors import MissingExtraError, UntrustedError
from loopwright.core.hashing import digest_file
from loopwright.training.estimators.model_file import ModelFile, class_name

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

CLASSES = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker")


class _Savable(Protocol):
    def save_model(self, fname: str) -> None: ...


class XgboostFormat:
    """Save XGBoost's scikit-learn estimators as ``<class>.ubj``."""

    name = "xgboost"

    def can_save(self, model: object) -> bool:
        """Say whether the model is one of XGBoost's own estimators (a subclass is not)."""
        return type(model).__module__.startswith("xgboost.") and type(model).__name__ in CLASSES

    def save(self, model: object, folder: Path) -> ModelFile:
        """Write the booster with the estimator's own ``save_model``."""
        path = folder / f"{type(model).__name__}.ubj"
        cast("_Savable", model).save_model(str(path))
        return ModelFile(self.name, path.name, digest_file(path), path.stat().st_size, class_name(model))

    def load(self, path: Path, record: ModelFile, trusted: Collection[str]) -> object:  # noqa: ARG002
        """Read the estimator back as the class on its record."""
        name = record.estimator_class.rpartition(".")[2]
        if name not in CLASSES:
            raise UntrustedError(
                f"{path.name} names the class {name!r}, which is none of XGBoost's estimators.",
                hint=f"Known classes: {', '.join(CLASSES)}.",
            )
        try:
            xgboost = importlib.import_module("xgboost")
        except ImportError:
            raise MissingExtraError("xgboost", extra="xgboost") from None
        model = getattr(xgboost, name)()
        model.load_model(bytearray(path.read_bytes()))
        return model
