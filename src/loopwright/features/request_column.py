"""Request fields read from a `RowBatch`: whole columns, checked at once.

What a column of the right type needs is vectorised; whatever else comes (a list, another type, a missing value where
none may be) is read as rows are, and the words for what is wrong are those of `loopwright.features.request`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from loopwright.core.errors import InvalidRequestError
from loopwright.features.column_block import ColumnBlock
from loopwright.features.columns import Array, plain_values
from loopwright.features.request import LARGEST_EXACT, RequestField, missing_column, read_values

if TYPE_CHECKING:
    from loopwright.features.field import Field
    from loopwright.features.row_batch import RowBatch

_INT64 = np.iinfo(np.int64)


def read_column(batch: RowBatch, field: RequestField) -> Array | list[bytes | None]:
    """Return one field of all rows, as `loopwright.features.request.read_field` does for rows.

    Raises:
        InvalidRequestError: If a required value is missing (NaN is missing) or a value has the wrong type.
    """
    values = batch.columns.get(field.name)
    if values is None:
        if field.required:
            raise missing_column(field)
        return read_values([None] * len(batch), field)
    if isinstance(values, list):
        return read_values(values, field)
    if field.shape:
        return _arrays(values, field)
    if values.ndim != 1:
        shape = list(values.shape[1:])
        message = f"The field '{field.name}' takes one value per row, got arrays of shape {shape}."
        raise InvalidRequestError(message, field=field.name)
    read = _vectorised(values, field)
    return read_values(plain_values(values), field) if read is None else read


def _vectorised(values: Array, field: RequestField) -> Array | None:
    """Return a column that is all right, or None."""
    kind = values.dtype.kind
    match field.type:
        case "float" if kind in "fiu":
            numbers = values.astype(np.float64)
            if kind != "f" and _may_round(numbers):
                return None
            return None if field.required and np.isnan(numbers).any() else cast("Array", numbers)
        case "int" if kind in "iu":
            if kind == "u" and values.dtype.itemsize == 8 and bool((values > _INT64.max).any()):  # type: ignore[operator]
                return None
            if field.required:
                return values.astype(np.int64)
            numbers = values.astype(np.float64)
            return None if _may_round(numbers) else numbers
        case "bool" if kind == "b":
            return values if field.required else values.astype(np.float64)
        case _:
            return None


def _may_round(numbers: Array) -> bool:
    """Return whether a whole number among floats is so large that it may have been rounded."""
    return bool(((numbers > LARGEST_EXACT) | (numbers < -LARGEST_EXACT)).any())  # type: ignore[operator]


def _arrays(values: Array, field: RequestField) -> Array:
    """Return a column of arrays in the field's shape; one row after the other where the batch has them flat."""
    rows = len(values)
    kinds = {"float": "fiu", "int": "iu", "bool": "b"}[field.type]
    if values.dtype.kind not in kinds or values.size != rows * field.width:
        shape = list(values.shape[1:])
        wanted = f"arrays of {field.type} of shape {list(field.shape)}"
        message = f"The field '{field.name}' takes {wanted}, got {values.dtype} of shape {shape}."
        raise InvalidRequestError(message, field=field.name)
    if field.required and values.dtype.kind == "f":
        lacking = np.isnan(values.reshape(rows, -1)).any(axis=1)
        if lacking.any():
            row = int(lacking.argmax())
            message = f"Row {row}: the field '{field.name}' has a missing number."
            raise InvalidRequestError(message, field=field.name, row=row)
    return values.reshape(rows, *field.shape)


def as_field(values: Array, field: Field) -> Array:
    """Return a request field's numbers in the type of the model's field, where that is an array's or a narrower one.

    Raises:
        InvalidRequestError: If a number is too large for it.
    """
    if values.dtype == field.dtype or not (field.is_vector or field.dtype in ("int32", "float32")):
        return values
    if field.dtype == "int32" and values.dtype.kind in "iu":
        limits = np.iinfo(np.int32)
        if values.size and (values.min() < limits.min or values.max() > limits.max):
            message = f"The field '{field.name}' takes whole numbers of 32 bits."
            raise InvalidRequestError(message, field=field.name)
    with np.errstate(over="ignore"):
        narrow = values.astype(field.dtype)
    if narrow.dtype.kind == "f" and bool((np.isinf(narrow) & np.isfinite(values)).any()):
        message = f"The field '{field.name}' takes numbers of 32 bits, and one is too large."
        raise InvalidRequestError(message, field=field.name)
    return narrow


def read_block(batch: RowBatch, names: tuple[str, ...], known: frozenset[str]) -> ColumnBlock | None:
    """Return a batch as one matrix of required floats, or None where it is not exactly that.

    Args:
        batch: The rows.
        names: The fields, in the order of the matrix.
        known: Names that the batch may have beside them.
    """
    columns = batch.columns
    if isinstance(columns, ColumnBlock) and columns.names == names:
        matrix = np.array(columns.matrix, dtype=np.float64)
    else:
        if not columns.keys() <= known.union(names) or not columns.keys() >= set(names):
            return None
        matrix = np.empty((len(batch), len(names)), dtype=np.float64)
        for position, name in enumerate(names):
            values = columns[name]
            if isinstance(values, list) or values.ndim != 1 or values.dtype.kind not in "fiu":
                return None
            matrix[:, position] = values
            if values.dtype.kind != "f" and _may_round(matrix[:, position]):
                return None
    return None if np.isnan(matrix).any() else ColumnBlock(names, matrix)
