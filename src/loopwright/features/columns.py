"""Typed columns between Arrow, Python rows and what a model gets.

Training reads Arrow, serving reads Python rows; both meet here as NumPy arrays by field (``Columns``) and leave through
one function, ``model_input``, so that a model gets the same thing on both sides. In ``Columns`` a category is its code
(``int32``, -1 for missing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

    from loopwright.features.field import Field

Array = npt.NDArray[np.generic]
Columns = Mapping[str, Array]
ModelInput: TypeAlias = "pd.DataFrame | Array"

FULL_VECTOR_WIDTH = 64  # a served vector up to this length is kept whole in the prediction log

_ARROW = {
    "float64": pa.float64(),
    "float32": pa.float32(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "category": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def arrow_type(field: Field) -> pa.DataType:
    """Return the Arrow type in which a training table stores the field."""
    if field.is_vector:
        return pa.list_(_ARROW[field.dtype], field.width)
    return _ARROW[field.dtype]


def from_arrow(column: pa.ChunkedArray, field: Field) -> Array:
    """Return a stored column as the array that ``model_input`` takes; without a copy where Arrow's layout allows it."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # combine_chunks of an empty column
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=column.type)
    if field.is_vector:
        values = array.flatten().to_numpy(zero_copy_only=False)
        return cast("Array", values.reshape(len(array), *field.shape))
    if field.dtype == "category":
        indices = pc.index_in(array, value_set=pa.array(field.categories, type=pa.string()))
        return cast("Array", pc.fill_null(indices, -1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False))
    if field.dtype == "timestamp":
        return cast("Array", array.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False))
    if field.dtype == "string":
        return cast("Array", array.to_numpy(zero_copy_only=False))
    if array.null_count and field.dtype in {"float64", "float32"}:
        array = pc.fill_null(array, float("nan"))
    return cast("Array", array.to_numpy(zero_copy_only=False))


def to_arrow(values: Array, field: Field) -> pa.Array:
    """Return an array as the Arrow column in which a training table stores it; NaN and -1 codes become nulls."""
    kind = arrow_type(field)
    if field.is_vector:
        flat = np.ascontiguousarray(values, dtype=field.dtype).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), field.width)
    if field.dtype in {"float64", "float32"}:
        return pa.array(values, type=kind, from_pandas=True)
    if field.dtype == "category":
        return pa.array([field.categories[code] if code >= 0 else None for code in values.tolist()], type=kind)
    if field.dtype == "timestamp":
        return pa.array(values.astype("datetime64[us]"), type=pa.timestamp("us")).cast(kind)
    return pa.array(values, type=kind)


def model_input(columns: Columns, fields: Sequence[Field]) -> ModelInput:
    """Return what the model gets.

    If the only feature is an array, that array of shape ``(n, …)``; otherwise a pandas DataFrame with one column per
    scalar and one per element of an array (``pixels_0``, ``pixels_1`` …), where strings are ``str`` and categories are
    ``category`` with fixed categories.
    """
    if len(fields) == 1 and fields[0].is_vector:
        return columns[fields[0].name]
    import pandas as pd  # noqa: PLC0415 - a server whose models take plain columns never needs it

    if all(field.dtype == "float64" for field in fields):
        matrix = np.empty((len(columns[fields[0].name]), len(fields)), dtype=np.float64)
        for position, field in enumerate(fields):
            matrix[:, position] = columns[field.name]
        return pd.DataFrame(matrix, columns=[field.name for field in fields], copy=False)
    data: dict[str, object] = {}
    for field in fields:
        values = columns[field.name]
        if field.is_vector:
            flat = values.reshape(len(values), -1)
            data.update({name: flat[:, position] for position, name in enumerate(flat_names(field))})
        elif field.dtype == "category":
            data[field.name] = pd.Categorical.from_codes(cast("Any", values), dtype=cast("Any", _category_dtype(field)))
        elif field.dtype == "string":
            data[field.name] = pd.array(values, dtype="str")
        elif field.dtype == "timestamp":
            data[field.name] = pd.DatetimeIndex(values.astype("datetime64[us]")).tz_localize("UTC")
        else:
            data[field.name] = values
    return pd.DataFrame(data, copy=False)


def flat_names(field: Field) -> list[str]:
    """Return the data-frame column names of a field: its name, or one per element of an array."""
    return [f"{field.name}_{position}" for position in range(field.width)] if field.is_vector else [field.name]


def scalar_columns(columns: Columns, fields: Sequence[Field]) -> dict[str, Array]:
    """Return one array of scalars per monitored column, by name.

    A scalar is itself (a category as its text, None where missing); an array becomes ``name.mean``, ``name.std``,
    ``name.min`` and ``name.max``. Drift profiles are frozen from the training table with this function and fed from
    served rows with ``served_rows``.
    """
    result: dict[str, Array] = {}
    for field in fields:
        values = columns[field.name]
        if field.is_vector:
            flat = values.reshape(len(values), -1).astype(np.float64)
            result[f"{field.name}.mean"] = flat.mean(axis=1)
            result[f"{field.name}.std"] = flat.std(axis=1)
            result[f"{field.name}.min"] = flat.min(axis=1)
            result[f"{field.name}.max"] = flat.max(axis=1)
        elif field.dtype == "category":
            names = np.array([*field.categories, None], dtype=object)
            result[field.name] = names[values]
        else:
            result[field.name] = values
    return result


def served_rows(columns: Columns, fields: Sequence[Field]) -> list[dict[str, object]]:
    """Return the features of each row as plain values, as the prediction log keeps them.

    Arrays of up to 64 numbers are kept whole beside their four summary numbers, longer ones as the summary only. NaN
    becomes None.
    """
    by_name: dict[str, list[object]] = {}
    for field in fields:
        if field.is_vector and field.width <= FULL_VECTOR_WIDTH:
            flat = columns[field.name]
            by_name[field.name] = cast("list[object]", flat.reshape(len(flat), -1).tolist())
    for name, values in scalar_columns(columns, fields).items():
        by_name[name] = plain_values(values)
    names = list(by_name)
    return [dict(zip(names, row, strict=True)) for row in zip(*by_name.values(), strict=True)]


def plain_values(values: Array) -> list[object]:
    """Return an array as Python values; NaN and NaT become None, times are ISO text in UTC."""
    if values.dtype.kind == "f":
        return [None if value != value else value for value in values.tolist()]
    if values.dtype.kind == "M":
        texts = np.datetime_as_string(values.astype("datetime64[us]"), timezone="UTC")
        return [None if text == "NaT" else text for text in texts.tolist()]
    return cast("list[object]", values.tolist())


_DTYPES: dict[tuple[str, ...], pd.CategoricalDtype] = {}


def _category_dtype(field: Field) -> pd.CategoricalDtype:
    dtype = _DTYPES.get(field.categories)
    if dtype is None:
        import pandas as pd  # noqa: PLC0415 - as in model_input

        dtype = _DTYPES[field.categories] = pd.CategoricalDtype(pd.Index(list(field.categories), dtype="str"))
    return dtype
