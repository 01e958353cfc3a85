"""Model files: the port `EstimatorFormat`, its adapters, and the one way to save and load.

Nothing here imports scikit-learn, skops, XGBoost, LightGBM or PyTorch until a model of theirs is saved or loaded.
"""

from __future__ import annotations

from loopwright.training.estimators.choice import load_model, save_model
from loopwright.training.estimators.format import EstimatorFormat
from loopwright.training.estimators.model_file import PICKLE_TRUST, ModelFile
from loopwright.training.estimators.sklearn_skops import UnsavableError

__all__ = ["PICKLE_TRUST", "EstimatorFormat", "ModelFile", "UnsavableError", "load_model", "save_model"]
