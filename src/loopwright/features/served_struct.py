"""The features of many rows as served, in one Arrow structure: what the prediction log keeps of a large request.

Row by row the log keeps a JSON object (`loopwright.features.columns.served_rows`). For thousands of rows the columns
are put into the log as they are, and become the same objects when the log is brought into the lake, outside the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from loopwright.features.columns import FULL_VECTOR_WIDTH, plain_values, scalar_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.features.columns import Array, Columns
    from loopwright.features.field import Field


def served_struct(columns: Columns, fields: Sequence[Field]) -> pa.StructArray:
    """Lay the features of n rows out as a structure of shape (n,), with the members that `served_rows` names.

    Numbers that JSON has no form for (NaN, infinities) are null, moments are ISO text in UTC.

    >>> from loopwright.features.field import Field
    >>> served_struct({"x": np.array([1.5, float("nan")])}, (Field("x", "float64"),)).to_pylist()
    [{'x': 1.5}, {'x': None}]
    """
    members: dict[str, pa.Array] = {}
    for field in fields:
        if field.is_vector and field.width <= FULL_VECTOR_WIDTH:
            members[field.name] = _vectors(columns[field.name], field.width)
    for name, values in scalar_columns(columns, fields).items():
        members[name] = _scalars(values)
    return pa.StructArray.from_arrays(list(members.values()), names=list(members))


def _scalars(values: Array) -> pa.Array:
    if values.dtype.kind == "f":
        return _numbers(values)
    if values.dtype.kind == "M":
        return pa.array(plain_values(values), pa.string())
    return pa.array(values) if values.dtype.kind in "biu" else pa.array(values.tolist())


def _numbers(values: Array) -> pa.Array:
    numbers = np.ascontiguousarray(cast("np.ndarray[tuple[int], np.dtype[np.floating]]", values), dtype=np.float64)
    finite = np.isfinite(numbers)
    return pa.array(numbers) if finite.all() else pa.array(numbers, mask=~finite)


def _vectors(values: Array, width: int) -> pa.Array:
    flat = values.reshape(-1)
    offsets = np.arange(0, len(flat) + 1, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), _numbers(flat) if flat.dtype.kind == "f" else pa.array(flat))
