"""The library form of a model: XGBoost or LightGBM asked in their shortest way, without their wrappers' checks.

It needs the library, as the native form does. It takes what a graph cannot say (splits on categories), and is the
faster one for many rows of XGBoost. Like the compiled form it is kept only if it answers as the native form does.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from loopwright.evaluation.outputs import Outputs
from loopwright.features.column_block import ColumnBlock
from loopwright.registry.rows import column_names, matrix, row_count
from loopwright.training.estimators.lightgbm_native import lightgbm_direct
from loopwright.training.estimators.xgboost_native import xgboost_direct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from loopwright.registry.rows import Rows
    from loopwright.registry.signature import Signature

HALF = 0.5


@dataclass(frozen=True)
class LibraryForm:
    """Record a library form that passed the parity gate.

    Attributes:
        library: Whose shortest way it is.
        rows_compared: How many rows the parity gate compared.
        largest_difference: The largest difference it found: of a probability (absolute) or a number (relative).
    """

    library: Literal["xgboost", "lightgbm"]
    rows_compared: int = 0
    largest_difference: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Give the record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LibraryForm:
        """Read what `to_json` wrote."""
        return cls(**document)


class LibraryModel:
    """Answer rows in the library's shortest way, one call at a time.

    Args:
        estimator: The model as it came out of training.
        signature: The signature of the model version.

    Attributes:
        library: Whose it is; None where the model is not one of XGBoost or LightGBM, and nothing can be asked.
    """

    def __init__(self, estimator: object, signature: Signature) -> None:
        self.library: Literal["xgboost", "lightgbm"] | None = None
        self._ask: Any = xgboost_direct(estimator)
        self._dtype: np.dtype[np.generic] = np.dtype(np.float32)
        if self._ask is not None:
            self.library = "xgboost"
        else:
            self._ask, self._dtype = lightgbm_direct(estimator), np.dtype(np.float64)
            self.library = None if self._ask is None else "lightgbm"
        self._fields = signature.inputs
        self._columns = column_names(signature.inputs)
        self._output = signature.output
        self._class_array = signature.output.class_array()
        flat = [field.dtype == "category" for field in signature.inputs for _ in range(field.width)]
        self._coded = np.flatnonzero(flat)
        self._lock = threading.Lock()

    def predict(self, rows: Rows) -> Outputs:
        """Answer n rows.

        Raises:
            InvalidRequestError: When a column is missing or of the wrong type.
        """
        if isinstance(rows, ColumnBlock) and rows.names == self._columns:
            given: NDArray[np.generic] = np.ascontiguousarray(rows.matrix, dtype=self._dtype)
        else:
            given = matrix(rows, self._fields, self._columns, self._dtype)
        if len(self._coded):
            given = given.copy()
            codes = given[:, self._coded].astype(np.float64)
            given[:, self._coded] = np.where(codes < 0, np.nan, codes)  # a missing category
        with self._lock:
            found: NDArray[Any] = np.asarray(self._ask(given), dtype=np.float64)
        if self._class_array is None:
            return Outputs("regression", found.reshape(-1))
        if found.ndim == 1:
            winners = (found > HALF).astype(np.intp)
            found = np.column_stack([1 - found, found])
        else:
            winners = found.argmax(axis=1)
        return Outputs(self._output.kind, self._class_array[winners], found, self._output.classes)

    def carries(self, rows: Rows) -> NDArray[np.bool_]:
        """Say row by row whether the form can answer it, shape (n,): always."""
        return np.ones(row_count(rows), dtype=np.bool_)
