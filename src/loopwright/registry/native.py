"""The native form of a model: the estimator itself, as it came out of training.

It is the reference that the compiled form is measured against, and the fallback where there is none. scikit-learn
does not document its estimators as safe under threads, so one call runs at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.evaluation.outputs import Outputs
from loopwright.features.columns import model_input
from loopwright.registry.rows import category_codes
from loopwright.registry.signature import named_spec, output_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.features.field import Field
    from loopwright.registry.rows import Rows
    from loopwright.registry.signature import OutputSpec


@runtime_checkable
class Predicts(Protocol):
    """What a training function returns."""

    def predict(self, X: object, /) -> object:  # noqa: N803  (scikit-learn's name)
        """Answer one value per row, or one array per name of an output."""


class NativeModel:
    """Answer rows with the estimator itself, one call at a time.

    Args:
        estimator: A fitted estimator.
        fields: The features in the order of training, to make a frame of plain columns.
        output: What the model answers; read from the estimator at the first call when it is not given.
    """

    def __init__(self, estimator: Predicts, fields: tuple[Field, ...], output: OutputSpec | None = None) -> None:
        self.estimator = estimator
        self._fields = fields
        self._output = output
        self._lock = threading.Lock()

    def predict(self, rows: Rows) -> Outputs:
        """Answer n rows; plain columns are first made what the model got in training."""
        if isinstance(rows, Mapping):
            rows = model_input(self._coded(rows), self._fields)
        with self._lock:
            answered = self.estimator.predict(rows)
            if isinstance(answered, Mapping):
                return self._named(answered)
            values = np.asarray(answered)
            output = self._output or output_spec(self.estimator, values)
            probabilities = (
                np.asarray(self.estimator.predict_proba(rows), dtype=np.float64)  # type: ignore[attr-defined]
                if output.probabilities
                else None
            )
            self._output = output
        if output.kind == "regression":
            return Outputs("regression", values.reshape(-1).astype(np.float64))
        dtype = cast("NDArray[np.generic]", output.class_array()).dtype
        return Outputs(output.kind, values.reshape(-1).astype(dtype), probabilities, output.classes)

    def _coded(self, columns: Mapping[str, NDArray[np.generic]]) -> Mapping[str, NDArray[np.generic]]:
        """Give categories as codes, where the rows come as their texts."""
        texts = [field for field in self._fields if field.dtype == "category" and columns[field.name].dtype.kind == "O"]
        return {**columns, **{field.name: category_codes(columns[field.name], field) for field in texts}}

    def _named(self, answered: Mapping[str, object]) -> Outputs:
        """Answer with several outputs; a version's are always the same, in the same order and of the same type."""
        named: dict[str, NDArray[np.generic]] = {name: np.asarray(values) for name, values in answered.items()}
        if self._output is None:
            self._output = named_spec(named)
        known = {one.name: one for one in self._output.named}
        if known.keys() != named.keys():
            raise DeclarationError(f"the outputs are {', '.join(named)}, and were {', '.join(known)}")
        for name, one in known.items():
            values = named[name]
            if values.shape[1:] != one.shape:
                raise DeclarationError(f"the output '{name}' has the shape {values.shape[1:]}, and had {one.shape}")
            named[name] = values if one.dtype == "str" else _as_before(name, values, np.dtype(one.dtype))
        return Outputs.of_named({name: named[name] for name in known})

    @property
    def output(self) -> OutputSpec | None:
        """Say what the model answers; None before its first call."""
        return self._output


def _as_before(name: str, values: NDArray[np.generic], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return an output in the type that it had at registration, if that holds its values."""
    if values.dtype == dtype:
        return values
    if not np.can_cast(values.dtype, dtype, "same_kind"):
        raise DeclarationError(f"the output '{name}' is {values.dtype}, and was {dtype}")
    cast_values = values.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast_values, values):
        raise DeclarationError(f"the output '{name}' has a number that {dtype} cannot hold")
    return cast_values
