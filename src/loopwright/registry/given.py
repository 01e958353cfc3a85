"""A candidate made of a finished estimator and some rows of its input: for a model that no training here produced.

The rows say what the model takes: one column per input, of one value or one array per row. The first of them become the
golden rows. An estimator that takes several arrays gets them as training would give them: a data frame with one column
per element (``name_0``, ``name_1`` …).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.core.errors import DeclarationError
from loopwright.core.hashing import digest_bytes
from loopwright.core.ref import Ref
from loopwright.features.assembly import FeatureAssembly, assembly_to_bytes
from loopwright.features.columns import to_arrow
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.registry.candidate import Candidate
from loopwright.registry.golden import rows_of
from loopwright.training.estimators.choice import askable, save_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from loopwright.features.field import DType
    from loopwright.features.request import ValueType

_OWN: dict[str, tuple[DType, ValueType]] = {
    "float64": ("float64", "float"),
    "float32": ("float32", "float"),
    "int64": ("int64", "int"),
    "int32": ("int32", "int"),
    "bool": ("bool", "bool"),
}
_WIDER: dict[str, tuple[DType, ValueType]] = {
    "f": ("float64", "float"),
    "i": ("int64", "int"),
    "u": ("int64", "int"),
    "M": ("timestamp", "timestamp"),
    "O": ("string", "text"),
    "U": ("string", "text"),
}


def given_candidate(
    model: str,
    estimator: object,
    rows: Mapping[str, ArrayLike],
    folder: Path,
    *,
    trust: bool = False,
    description: str = "",
) -> Candidate:
    """Make a candidate of a finished estimator; `Registry.register` makes it a version.

    Args:
        model: Name of the model.
        estimator: Anything with ``predict``. It answers one value per row, or a mapping from the names of several
            outputs to arrays of shape (n, …).
        rows: Example rows by input, arrays of shape (n,) or (n, …) with n of at least 1. A column with NaN or None may
            lack values in requests too.
        folder: An existing folder, in which the estimator is saved.
        trust: Allow a pickle where no safe format holds the estimator.
        description: What the model is for.

    Raises:
        DeclarationError: When the rows are none, differ in number, or hold what no model takes.
        UntrustedError: When only a pickle could hold the estimator, and ``trust`` was not given.
    """
    arrays = {name: np.asarray(values) for name, values in rows.items()}
    counts = {name: array.shape[:1] for name, array in arrays.items()}
    if not counts or len(set(counts.values())) != 1 or next(iter(counts.values())) in ((), (0,)):
        raise DeclarationError(f"example rows need one value or one array per row and input, got {counts}")
    made = [_input(name, array) for name, array in arrays.items()]
    fields = tuple(field for field, _ in made)
    table = pa.table({field.name: to_arrow(_typed(arrays[field.name], field), field) for field in fields})
    record = save_model(askable(estimator, rows_of(table.slice(0, 2), fields)), folder, trust=trust)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    digest = digest_bytes(bytes(sink.getvalue()))
    return Candidate(
        model=model,
        run_id=f"given-{digest_bytes(f'{record.digest} {digest}'.encode())[:20]}",
        model_file=record,
        model_path=folder,
        fields=fields,
        assembly=assembly_to_bytes(FeatureAssembly(tuple(given for _, given in made), fields)),
        training_set=Ref("training_set", f"given-{digest[:20]}"),
        training_rows=table,
        description=description,
    )


def _input(name: str, array: NDArray[np.generic]) -> tuple[Field, RequestField]:
    """Return one input as the model's field and as the request's."""
    types = _OWN.get(array.dtype.name) or _WIDER.get(array.dtype.kind)
    shape = array.shape[1:]
    if types is None or (shape and types[0] in ("string", "timestamp")):
        raise DeclarationError(f"the input '{name}' holds {array.dtype} of shape {shape}, which no model takes")
    dtype, kind = types
    lacks = bool(np.isnat(array).any()) if array.dtype.kind == "M" else _lacks_values(array)
    if shape and lacks:
        raise DeclarationError(f"the input '{name}' has arrays with missing numbers")
    return Field(name, dtype, shape=shape, nullable=lacks), RequestField(name, kind, required=not lacks, shape=shape)


def _lacks_values(array: NDArray[np.generic]) -> bool:
    if array.dtype.kind == "O":
        return any(value is None for value in array.tolist())
    return array.dtype.kind == "f" and bool(np.isnan(array.astype(np.float64)).any())


def _typed(array: NDArray[np.generic], field: Field) -> NDArray[np.generic]:
    """Return the values in the field's type."""
    return (
        array.astype(object)
        if field.dtype == "string"
        else array
        if field.dtype == "timestamp"
        else array.astype(field.dtype)
    )
