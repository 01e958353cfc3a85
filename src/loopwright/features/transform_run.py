"""Run an on-demand transform over arrays in batches, holding it to what it returned first.

The first batch pins type and shape; every later batch, in training and in serving, must match. Numbers of a
one-dimensional result keep their type (``float64``, ``int64``, ``bool``; ``float32`` stays); arrays are stored and
served as ``float32``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from loopwright.core.error_text import short_text
from loopwright.core.errors import FeatureError
from loopwright.features.field import DType, Field

if TYPE_CHECKING:
    from loopwright.features.columns import Array

Inputs = Sequence["Array | list[bytes | None]"]

_KINDS: dict[str, DType] = {"f": "float64", "i": "int64", "u": "int64", "b": "bool", "U": "string"}
_NUMPY: dict[str, type[np.generic]] = {
    "float64": np.float64,
    "float32": np.float32,
    "int64": np.int64,
    "bool": np.bool_,
}


def run_batch(
    name: str, function: Callable[..., object], inputs: Inputs, *, first_row: int, rows: int, pinned: Field | None
) -> tuple[Array, Field]:
    """Call a transform once and return its checked result with its field.

    Args:
        name: The transform's name, for messages and the field.
        function: The transform.
        inputs: One array (or list of bytes) per argument, each of length ``rows``.
        first_row: The position of the batch's first row, for messages.
        rows: The number of rows.
        pinned: The field that earlier batches had; None for the first.

    Raises:
        FeatureError: If the function raises, or returns another length, type or shape than it must.
    """
    where = f"The transform '{name}', rows {first_row} to {first_row + rows - 1}:"
    try:
        returned = function(*inputs)
    except Exception as error:
        raise FeatureError(
            f"{where} it raised {type(error).__name__}: {short_text(error)}.",
            hint="Fix the function, or let the contract quarantine the rows that it cannot take.",
        ) from error
    values = _as_array(returned, where)
    if values.ndim == 0 or len(values) != rows:
        got = "a single value" if values.ndim == 0 else f"{len(values)} rows"
        raise FeatureError(
            f"{where} it got {rows} rows and returned {got}.",
            hint="Return one value or array per row, in the same order.",
        )
    field = _field(name, values, where)
    if pinned is not None:
        _check(field, pinned, where)
        field = pinned
    if field.dtype == "string":
        return values.astype(object), field
    return values.astype(_NUMPY[field.dtype], copy=False), field


def run_in_batches(
    name: str,
    function: Callable[..., object],
    inputs: Inputs,
    *,
    rows: int,
    batch_rows: int,
    pinned: Field | None,
    first_row: int = 0,
) -> tuple[Array, Field]:
    """Call a transform over all rows in batches of at most ``batch_rows`` and return one array with its field.

    Raises:
        FeatureError: As ``run_batch``.
    """
    if rows <= batch_rows:
        return run_batch(name, function, inputs, first_row=first_row, rows=rows, pinned=pinned)
    parts: list[Array] = []
    field = pinned
    for start in range(0, rows, batch_rows):
        piece = [values[start : start + batch_rows] for values in inputs]
        count = min(batch_rows, rows - start)
        part, field = run_batch(name, function, piece, first_row=first_row + start, rows=count, pinned=field)
        parts.append(part)
    return np.concatenate(parts), cast("Field", field)


def _as_array(returned: object, where: str) -> Array:
    if returned is None:
        raise FeatureError(f"{where} it returned nothing.", hint="Return an array with one entry per row.")
    try:
        values = np.asarray(returned)
    except ValueError as error:
        raise FeatureError(
            f"{where} it returned rows of different shapes.", hint="Return arrays of one shape."
        ) from error
    if values.dtype.kind == "O" and values.ndim == 1 and all(isinstance(value, str) for value in values.tolist()):
        return values.astype(np.str_)
    return cast("Array", values)


def _field(name: str, values: Array, where: str) -> Field:
    kind = values.dtype.kind
    if kind not in _KINDS or (kind == "U" and values.ndim > 1):
        raise FeatureError(
            f"{where} it returned values of type {values.dtype} and shape {values.shape}.",
            hint="Return numbers, booleans or a list of strings.",
        )
    shape = tuple(int(size) for size in values.shape[1:])
    if 0 in shape:
        raise FeatureError(
            f"{where} it returned arrays without elements, shape {values.shape}.",
            hint="Return at least one number per row.",
        )
    dtype: DType = "float32" if shape or values.dtype == np.float32 else _KINDS[kind]
    return Field(name, dtype, shape=shape, nullable=dtype in {"float64", "float32"}, origin="transform", source=name)


def _check(field: Field, pinned: Field, where: str) -> None:
    widened = pinned.dtype in {"float64", "float32"} and field.is_numeric  # an all-integer batch of a float transform
    if field.shape != pinned.shape or not (field.dtype == pinned.dtype or widened):
        raise FeatureError(
            f"{where} it returned {field.dtype} of shape {field.shape} per row, and {pinned.dtype} of shape "
            f"{pinned.shape} before.",
            hint="A transform must return the same type and shape for every batch.",
        )
