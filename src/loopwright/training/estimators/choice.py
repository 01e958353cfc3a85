"""Which format saves a model, and the one way to save and load: `save_model`, `load_model`.

Safe formats come first; the pickle is last and only by explicit trust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import StoreCorruptError, UnknownNameError, UntrustedError
from loopwright.core.hashing import digest_file
from loopwright.training.estimators.booster import booster_library
from loopwright.training.estimators.lightgbm_native import LightgbmFormat, lightgbm_booster
from loopwright.training.estimators.model_file import ModelFile, class_name
from loopwright.training.estimators.pickled import PickledFormat
from loopwright.training.estimators.sklearn_skops import SkopsFormat, UnsavableError
from loopwright.training.estimators.torch_export import TorchFormat, TorchModel, is_torch_module
from loopwright.training.estimators.xgboost_native import XgboostFormat, xgboost_booster

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from loopwright.training.estimators.format import EstimatorFormat

PICKLED = PickledFormat()
SAFE_FORMATS: tuple[EstimatorFormat, ...] = (XgboostFormat(), LightgbmFormat(), TorchFormat(), SkopsFormat())
FORMATS: dict[str, EstimatorFormat] = {entry.name: entry for entry in (*SAFE_FORMATS, PICKLED)}


def save_model(model: object, folder: Path, *, trust: bool = False) -> ModelFile:
    """Write a fitted model into a folder in the safest format that can hold it.

    Args:
        model: The fitted estimator.
        folder: An existing folder on this machine.
        trust: The model's declaration allows a pickle where no safe format fits.

    Raises:
        UntrustedError: Only a pickle could hold the model, and ``trust`` was not given.
        UnsavableError: Nothing could hold it.
    """
    refusal: UnsavableError | None = None
    for candidate in SAFE_FORMATS:
        if not candidate.can_save(model):
            continue
        try:
            return candidate.save(model, folder)
        except UnsavableError as error:
            refusal = error
            break
    if trust:
        return PICKLED.save(model, folder)
    if refusal is not None:
        raise refusal
    raise UntrustedError(
        f"{class_name(model)} is no estimator that a safe format can hold (skops, XGBoost, LightGBM, PyTorch).",
        hint="Return a scikit-learn compatible estimator, or declare the model with trust_pickle=True.",
    )


def askable(model: object, example: object) -> object:
    """Give what a training function returned as something with scikit-learn's ``predict``.

    Plain boosters of XGBoost and LightGBM are made a `BoosterModel`, a PyTorch module a `TorchModel`; anything else is
    returned as it is.

    Args:
        model: What the function returned.
        example: Some rows, at least one, as the model gets them.
    """
    if is_torch_module(model) and not hasattr(model, "predict"):
        return TorchModel.of_module(model, example)
    library = booster_library(model)
    if library == "xgboost":
        return xgboost_booster(model)
    return lightgbm_booster(model) if library == "lightgbm" else model


def load_model(model_file: ModelFile, path: Path, *, trusted: Collection[str] = ()) -> object:
    """Read a saved model back after checking its digest.

    Args:
        model_file: The record written when it was saved.
        path: Where the file is on this machine, or the folder that holds it under its own name.
        trusted: Type names, and ``pickle``, that the caller vouches for. A workspace that wrote the file itself passes
            ``model_file.trusted_types``; for a file from elsewhere a person names them.

    Raises:
        StoreCorruptError: The file's bytes are not the ones that were saved.
        UntrustedError: The file needs something that is neither safe nor trusted.
        UnknownNameError: The record names a format that this version does not know.
    """
    if path.is_dir():
        path = path / model_file.file_name
    digest = digest_file(path)
    if digest != model_file.digest:
        raise StoreCorruptError(
            f"the model file {path.name} has digest {digest[:12]}…, its record says {model_file.digest[:12]}….",
            hint="Fetch it again from the store, or reproduce the model from its run.",
        )
    if model_file.format not in FORMATS:
        raise UnknownNameError("model format", model_file.format, FORMATS)
    return FORMATS[model_file.format].load(path, model_file, trusted)
