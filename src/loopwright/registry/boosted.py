"""Models of XGBoost and LightGBM, alone or as a step of a scikit-learn pipeline, as ONNX graphs."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from loopwright.registry.cannot_compile import CannotCompileError
from loopwright.registry.lightgbm_trees import lightgbm_trees
from loopwright.registry.tree_ensemble import graph_nodes
from loopwright.registry.xgboost_trees import xgboost_trees
from loopwright.training.estimators.booster import BoosterModel

if TYPE_CHECKING:
    from loopwright.registry.tree_ensemble import FloatType, Trees

ESTIMATORS = {
    "xgboost": ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor", "LGBMRanker"),
}


_FLOAT, _DOUBLE = 1, 11  # of onnx.TensorProto


class _Variable(Protocol):
    full_name: str
    type: object


class _Operator(Protocol):
    raw_operator: object
    inputs: list[_Variable]
    outputs: list[_Variable]


class _Scope(Protocol):
    def get_unique_operator_name(self, seed: str, /) -> str: ...

    def get_unique_variable_name(self, seed: str, /) -> str: ...


class _Container(Protocol):
    def add_node(self, op_type: str, inputs: object, outputs: object, **attributes: object) -> None: ...


def library_of(model: object) -> str | None:
    """Say which library a model is of, ``xgboost`` or ``lightgbm``; None for anything else."""
    if isinstance(model, BoosterModel):
        return model.library
    kind = type(model)
    library = kind.__module__.partition(".")[0]
    return library if kind.__name__ in ESTIMATORS.get(library, ()) else None


def boosted_trees(model: object) -> Trees | None:
    """Read the trees of a model of XGBoost or LightGBM; None for anything else.

    Raises:
        CannotCompileError: When a graph cannot say what the model does.
    """
    library = library_of(model)
    if library is None:
        return None
    some = cast("Any", model)
    classifies = hasattr(some, "classes_") and some.classes_ is not None
    plain = isinstance(model, BoosterModel)
    if library == "lightgbm":
        return lightgbm_trees(some.booster if plain else some.booster_, classifies=classifies)
    if plain:
        return xgboost_trees(some.booster, classifies=classifies, best_only=False)
    missing = float("nan") if some.missing is None else float(some.missing)
    return xgboost_trees(some.get_booster(), classifies=classifies, best_only=True, missing=missing)


def register_converters() -> None:
    """Teach skl2onnx the estimators of those libraries that are loaded; a second call changes nothing."""
    from skl2onnx import update_registered_converter  # noqa: PLC0415  (1.5 s, and only registering needs it)
    from skl2onnx.common.shape_calculator import (  # noqa: PLC0415
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    for library, names in ESTIMATORS.items():
        if library not in sys.modules:
            continue
        module = importlib.import_module(library)
        for name in names:
            classifier = name.endswith("Classifier")
            shape = (
                calculate_linear_classifier_output_shapes if classifier else calculate_linear_regressor_output_shapes
            )
            update_registered_converter(
                getattr(module, name),
                f"Loopwright{name}",
                shape,
                _convert,
                options={"zipmap": [True, False, "columns"], "nocl": [True, False]} if classifier else None,
            )


def _convert(scope: _Scope, operator: _Operator, container: _Container) -> None:
    """Write a step's trees into the graph of its pipeline."""
    trees = boosted_trees(operator.raw_operator)
    if trees is None:
        raise CannotCompileError(f"{type(operator.raw_operator).__name__} has no trees that can be read")
    source = operator.inputs[0]
    kind = type(source.type).__name__
    dtype: FloatType = "float64" if kind == "DoubleTensorType" else "float32"
    name = source.full_name
    if kind not in {"DoubleTensorType", "FloatTensorType"}:
        name = scope.get_unique_variable_name("floats")
        container.add_node(
            "Cast", source.full_name, name, name=scope.get_unique_operator_name("Cast"), op_version=13, to=_FLOAT
        )
    outputs = [variable.full_name for variable in operator.outputs]
    if (
        type(operator.outputs[-1].type).__name__ == "DoubleTensorType"
    ):  # declared so where the input is; trees give floats
        floats = scope.get_unique_variable_name("answers")
        container.add_node(
            "Cast", floats, outputs[-1], name=scope.get_unique_operator_name("Cast"), op_version=13, to=_DOUBLE
        )
        outputs[-1] = floats
    for spec in graph_nodes(trees, name, outputs, dtype=dtype, labels=_labels(operator.raw_operator, trees)):
        container.add_node(
            spec.operator,
            list(spec.inputs),
            list(spec.outputs),
            name=scope.get_unique_operator_name(spec.operator),
            op_domain=spec.domain,
            op_version=spec.version,
            **spec.attributes,
        )


def _labels(model: object, trees: Trees) -> list[int] | list[str]:
    if not trees.classifies:
        return []
    classes = np.asarray(cast("Any", model).classes_)
    if classes.dtype.kind in "UO":
        return [str(label) for label in classes]
    if classes.dtype.kind in "iub":
        return [int(label) for label in classes]
    raise CannotCompileError(f"its classes are {classes.dtype}, and a graph knows texts and whole numbers")
