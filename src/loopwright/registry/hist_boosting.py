"""Converters of scikit-learn's histogram gradient boosting that work with current protobuf.

skl2onnx writes ``missing_go_to_left`` and ``False`` into a list of integers of the tree node; protobuf 7 refuses
booleans there ("Expected an int, got a boolean", which skl2onnx reports as "Unable to create node"). Here its own
converters run against a container that turns such lists into integers, and nothing else of skl2onnx is changed.

Thresholds: the estimator compares float64 numbers, the graph float32 ones. Features that are float32 themselves are
decided exactly when a threshold is rounded down to the nearest float32 (for a float32 x: x <= t if and only if
x <= floor32(t)). Features that are float64 are rounded on the way in, and thresholds are rounded the same way, so that
a value equal to a threshold stays on its side; only a value above a threshold by less than one part in 10^7 can change
sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from loopwright.registry.cannot_compile import CannotCompileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class _BoostedTrees(Protocol):
    """What is read of a fitted model."""

    _predictors: list[list[_Tree]]
    _preprocessor: object
    is_categorical_: object
    _loss: _Loss


class _Loss(Protocol):
    link: object


class _Scope(Protocol):
    def get_unique_variable_name(self, seed: str, /) -> str: ...

    def get_unique_operator_name(self, seed: str, /) -> str: ...


class _Tree(Protocol):
    nodes: NDArray[np.void]


class _Operator(Protocol):
    raw_operator: _BoostedTrees


class _Container(Protocol):
    def add_node(self, op_type: str, inputs: object, outputs: object, **attributes: object) -> None: ...


def converters(*, float32_features: bool) -> dict[type, Callable[..., None]]:
    """Give the converters of both estimators, for `convert_sklearn(custom_conversion_functions=…)`."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor  # noqa: PLC0415

    kinds = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    return {kind: _converter(kind, float32_features=float32_features) for kind in kinds}


def _converter(kind: type, *, float32_features: bool) -> Callable[..., None]:
    from skl2onnx._supported_operators import sklearn_operator_name_map  # noqa: PLC0415
    from skl2onnx.common._registration import get_converter  # noqa: PLC0415

    original = get_converter(sklearn_operator_name_map[kind])

    def convert(scope: _Scope, operator: _Operator, container: _Container) -> None:
        model = operator.raw_operator
        if model._preprocessor is not None or model.is_categorical_ is not None:  # noqa: SLF001
            raise CannotCompileError("it splits on categories, which ONNX tree nodes cannot")
        thresholds = floor32(split_thresholds(model)) if float32_features else None
        logarithm = None
        if type(model._loss.link).__name__ == "LogLink":  # noqa: SLF001
            logarithm = (scope.get_unique_variable_name("logarithm"), scope.get_unique_operator_name("Exp"))
        original(scope, operator, _IntegerContainer(container, thresholds, logarithm))

    return convert


class _IntegerContainer:
    """Hand everything on to skl2onnx's container, with booleans in lists made integers.

    Args:
        container: What skl2onnx collects nodes in.
        thresholds: The thresholds of all nodes, where they replace the converter's.
        logarithm: Where the trees sum to a logarithm (Poisson and gamma losses): a name for it, and one for the node
            that turns it into the prediction, which skl2onnx leaves out.
    """

    def __init__(
        self, container: _Container, thresholds: NDArray[np.float32] | None, logarithm: tuple[str, str] | None
    ) -> None:
        self._container = container
        self._thresholds = thresholds
        self._logarithm = logarithm

    def __getattr__(self, name: str) -> object:
        return getattr(self._container, name)

    def add_node(self, op_type: str, inputs: object, outputs: object, **attributes: object) -> None:
        for name, values in attributes.items():
            if isinstance(values, list) and values and isinstance(values[0], bool | np.bool_ | np.integer):
                attributes[name] = [int(value) for value in values]
        if self._thresholds is not None and "nodes_values" in attributes:
            attributes["nodes_values"] = self._thresholds
        if self._logarithm is None or op_type != "TreeEnsembleRegressor":
            self._container.add_node(op_type, inputs, outputs, **attributes)
            return
        name, node = self._logarithm
        self._container.add_node(op_type, inputs, name, **attributes)
        self._container.add_node("Exp", name, outputs, name=node, op_version=13)


def split_thresholds(model: _BoostedTrees) -> NDArray[np.float64]:
    """Read the thresholds of all nodes, tree by tree in the order of the graph; 0 for a leaf."""
    trees = [tree.nodes for iteration in model._predictors for tree in iteration]  # noqa: SLF001
    return np.concatenate([np.where(nodes["is_leaf"], 0.0, nodes["num_threshold"]) for nodes in trees])


def floor32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round each number down to the nearest float32.

    >>> float(floor32(np.array([0.1]))[0]) <= 0.1
    True
    """
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded).astype(np.float32)
