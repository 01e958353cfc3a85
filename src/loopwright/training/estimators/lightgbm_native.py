"""LightGBM boosters in LightGBM's own text format.

LightGBM is an extra; this file imports it only when one of its models is saved or loaded. Its scikit-learn wrappers
hold label encoders and parameters beside the booster that its text format does not keep: they are saved by skops,
which knows them. This format keeps the plain ``lightgbm.Booster``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from loopwright.core.errors import MissingExtraError
from loopwright.core.hashing import digest_file
from loopwright.training.estimators.model_file import ModelFile, class_name

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


class _Savable(Protocol):
    def save_model(self, filename: str, *, num_iteration: int) -> object: ...


class LightgbmFormat:
    """Save a ``lightgbm.Booster`` as ``booster.lgb.txt``."""

    name = "lightgbm"

    def can_save(self, model: object) -> bool:
        """Say whether the model is LightGBM's booster."""
        return class_name(model) == "lightgbm.basic.Booster"

    def save(self, model: object, folder: Path) -> ModelFile:
        """Write the booster's text form, all of its trees."""
        path = folder / "booster.lgb.txt"
        cast("_Savable", model).save_model(str(path), num_iteration=-1)
        return ModelFile(self.name, path.name, digest_file(path), path.stat().st_size, class_name(model))

    def load(self, path: Path, record: ModelFile, trusted: Collection[str]) -> object:  # noqa: ARG002
        """Read the booster back."""
        try:
            lightgbm = importlib.import_module("lightgbm")
        except ImportError:
            raise MissingExtraError("lightgbm", extra="lightgbm") from None
        booster: object = lightgbm.Booster(model_file=str(path))
        return booster
