"""The rows a model is asked about, in the three forms in which they come.

A model that was trained on one vector feature takes a 2-D array. A model that was trained on a frame takes a pandas
frame, or the same columns as a plain mapping of names to arrays, which costs a one-row request far less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from loopwright.core.errors import InvalidRequestError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from loopwright.features.field import Field

Rows: TypeAlias = "NDArray[np.generic] | pd.DataFrame | Mapping[str, NDArray[np.generic]]"


def row_count(rows: Rows) -> int:
    """Count the rows."""
    if isinstance(rows, Mapping):
        return len(next(iter(rows.values()), ()))
    return len(rows)


def matrix(rows: Rows, names: tuple[str, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Give the rows as one contiguous array of shape (n, width) and type `dtype`.

    Raises:
        InvalidRequestError: When a named column is missing or cannot be read as a number.
    """
    try:
        if isinstance(rows, np.ndarray):
            return np.ascontiguousarray(rows, dtype=dtype)
        if isinstance(rows, Mapping):
            filled = np.empty((row_count(rows), len(names)), dtype=dtype)
            for position, name in enumerate(names):
                filled[:, position] = rows[name]
            return filled
        if list(rows.columns) != list(names):
            rows = rows[list(names)]
        return np.ascontiguousarray(rows.to_numpy(dtype=dtype))
    except KeyError as error:
        raise InvalidRequestError(f"the column {error} is missing; the model takes {', '.join(names)}") from error
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"the rows cannot be read as {dtype}: {error}") from error


def column(rows: Rows, name: str) -> NDArray[np.generic]:
    """Give one column of a frame or a mapping, shape (n,).

    Raises:
        InvalidRequestError: When there is no such column.
    """
    if isinstance(rows, np.ndarray):
        raise InvalidRequestError("the model takes named columns; a plain array has none")
    if name not in rows:
        raise InvalidRequestError(f"the column '{name}' is missing")
    values = rows[name]
    return values if isinstance(values, np.ndarray) else np.asarray(values)


def frame(columns: Mapping[str, NDArray[np.generic]], fields: tuple[Field, ...]) -> pd.DataFrame:
    """Make the frame that the model was trained on from plain columns: same order, same types, same categories.

    Raises:
        InvalidRequestError: When a column is missing or of the wrong type.
    """
    import pandas as pd  # noqa: PLC0415  (0.3 s that a compiled model never pays)

    made: dict[str, object] = {}
    for field in fields:
        values = column(columns, field.name)
        try:
            if field.dtype == "category":
                made[field.name] = pd.Categorical(values, categories=list(field.categories))
            elif field.is_numeric:
                made[field.name] = np.asarray(values).astype(field.dtype)
            else:
                made[field.name] = values
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"the column '{field.name}' cannot be read as {field.dtype}: {error}") from error
    return pd.DataFrame(made)
