"""A converter of scikit-learn's `SimpleImputer` for float64 numbers.

skl2onnx writes an ``Imputer`` node, and ONNX Runtime has that for float32 only. Beside a scaler, float32 moves numbers
across the thresholds of the trees behind it. Here missing numbers are replaced by ``Where(IsNaN(x), statistics, x)``,
which both types have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_DOUBLE = 11  # of onnx.TensorProto


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

    def add_initializer(self, name: str, kind: int, shape: list[int], values: object) -> None: ...


def imputer_converter() -> dict[type, Callable[..., None]]:
    """Give the converter, for `convert_sklearn(custom_conversion_functions=…)`."""
    from skl2onnx._supported_operators import sklearn_operator_name_map  # noqa: PLC0415  (1.5 s; registering only)
    from skl2onnx.common._registration import get_converter  # noqa: PLC0415
    from sklearn.impute import SimpleImputer  # noqa: PLC0415

    original = get_converter(sklearn_operator_name_map[SimpleImputer])

    def convert(scope: _Scope, operator: _Operator, container: _Container) -> None:
        imputer = cast("Any", operator.raw_operator)
        statistics = np.asarray(imputer.statistics_)
        plain = (
            len(operator.inputs) == 1
            and type(operator.inputs[0].type).__name__ == "DoubleTensorType"
            and isinstance(imputer.missing_values, float)
            and np.isnan(imputer.missing_values)
            and not imputer.add_indicator
            and statistics.dtype.kind == "f"
            and not np.isnan(statistics).any()  # a column without a number is left out by the imputer
        )
        if not plain:
            original(scope, operator, container)
            return
        source, missing = operator.inputs[0].full_name, scope.get_unique_variable_name("missing")
        filled = scope.get_unique_variable_name("statistics")
        container.add_initializer(filled, _DOUBLE, [1, len(statistics)], statistics.tolist())
        container.add_node("IsNaN", source, missing, name=scope.get_unique_operator_name("IsNaN"), op_version=13)
        container.add_node(
            "Where",
            [missing, filled, source],
            operator.outputs[0].full_name,
            name=scope.get_unique_operator_name("Where"),
            op_version=16,
        )

    return {SimpleImputer: convert}
