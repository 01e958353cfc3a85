"""The rows a model is asked about, in the forms in which they come.

A model whose only feature is an array takes that array. Any other model was trained on a frame; it takes a pandas
frame, or the same features as plain arrays by field (`loopwright.features.columns.Columns`, categories as codes),
which costs a one-row request far less than a frame does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from loopwright.core.errors import InvalidRequestError
from loopwright.features.columns import flat_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from loopwright.features.columns import Array
    from loopwright.features.field import Field

Rows: TypeAlias = "Array | pd.DataFrame | Mapping[str, Array]"


def row_count(rows: Rows) -> int:
    """Count the rows."""
    return len(next(iter(rows.values()), ())) if isinstance(rows, Mapping) else len(rows)


def count_rows(rows: Rows) -> int:
    """Count the rows; of columns that lie in one matrix, without looking one up."""
    block = getattr(rows, "matrix", None)
    return row_count(rows) if block is None else len(block)


def column_names(fields: Sequence[Field]) -> tuple[str, ...]:
    """Name the columns of the frame: one per scalar, one per element of an array."""
    return tuple(name for field in fields for name in flat_names(field))


def matrix(rows: Rows, fields: tuple[Field, ...], names: tuple[str, ...], dtype: np.dtype[np.generic]) -> Array:
    """Give the rows as one contiguous array of shape (n, width) and type `dtype`; a category is its code.

    Args:
        rows: The rows.
        fields: The features, in the order of training.
        names: Their columns, as `column_names` gives them.
        dtype: The type to give.

    Raises:
        InvalidRequestError: When a column is missing or cannot be read as a number.
    """
    try:
        if isinstance(rows, np.ndarray):
            return np.ascontiguousarray(rows, dtype=dtype)
        if not isinstance(rows, Mapping) and any(field.categories for field in fields):
            rows = {name: _column(rows, name) for name in names}
            fields = tuple(flat for field in fields for flat in _scalar_fields(field))
        if isinstance(rows, Mapping):
            return _stacked(rows, fields, len(names), dtype)
        if list(rows.columns) != list(names):
            rows = rows[list(names)]
        return np.ascontiguousarray(rows.to_numpy(dtype=dtype))
    except KeyError as error:
        raise InvalidRequestError(f"the column {error} is missing; the model takes {', '.join(names[:20])}") from error
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"the rows cannot be read as {dtype}: {error}") from error


def scalars(rows: Rows, fields: tuple[Field, ...]) -> dict[str, Array]:
    """Give the rows as one array of shape (n,) per column of the frame; a category as its text, None where missing.

    Raises:
        InvalidRequestError: When a column is missing, or the rows are a plain array.
    """
    if isinstance(rows, np.ndarray):
        raise InvalidRequestError("the model takes named columns; a plain array has none")
    found: dict[str, Array] = {}
    for field in fields:
        if isinstance(rows, Mapping) and field.is_vector:
            flat = _column(rows, field.name).reshape(row_count(rows), -1)
            found.update({name: flat[:, position] for position, name in enumerate(flat_names(field))})
            continue
        for name in flat_names(field):
            values = _column(rows, name)
            if field.dtype == "category" and values.dtype.kind in "iu":
                values = np.array([*field.categories, None], dtype=object)[values.astype(np.intp)]
            found[name] = values
    return found


def category_codes(values: Array, field: Field) -> Array:
    """Give a category column as its codes, -1 where missing or unknown; codes come back as they are.

    >>> from loopwright.features.field import Field
    >>> category_codes(
    ...     np.array(["Oslo", None, "Rome"], dtype=object), Field("city", "category", categories=("Bergen", "Oslo"))
    ... ).tolist()
    [1, -1, -1]
    """
    if values.dtype.kind in "iu":
        return values
    known = {category: code for code, category in enumerate(field.categories)}
    return np.array([known.get(value, -1) if isinstance(value, str) else -1 for value in values], dtype=np.int32)


def _scalar_fields(field: Field) -> tuple[Field, ...]:
    return tuple(replace(field, name=name, shape=()) for name in flat_names(field)) if field.is_vector else (field,)


def _stacked(rows: Mapping[str, Array], fields: tuple[Field, ...], width: int, dtype: np.dtype[np.generic]) -> Array:
    if len(fields) == 1 and fields[0].is_vector:
        return np.ascontiguousarray(rows[fields[0].name], dtype=dtype)
    filled = np.empty((row_count(rows), width), dtype=dtype)
    position = 0
    for field in fields:
        if field.is_vector:
            filled[:, position : position + field.width] = rows[field.name].reshape(len(filled), -1)
        else:
            values = rows[field.name]
            filled[:, position] = values if field.dtype != "category" else category_codes(values, field)
        position += field.width
    return filled


def _column(rows: Mapping[str, Array] | pd.DataFrame, name: str) -> Array:
    if name not in rows:
        raise InvalidRequestError(f"the column '{name}' is missing")
    return cast("Array", np.asarray(rows[name]))
