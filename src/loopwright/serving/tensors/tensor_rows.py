"""From a request's tensors to rows: each input of a model has a tensor of its name, whose first dimension is the rows.

A single tensor of another name and of shape ``[n, fields]`` is taken by position where every field is one value. Text
comes as BYTES (UTF-8); images and audio as BYTES, or as UINT8 of shape ``[n, bytes]``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loopwright.core.errors import InvalidRequestError
from loopwright.features.column_block import ColumnBlock
from loopwright.features.row_batch import RowBatch
from loopwright.serving.bodies.row_bounds import check_rows
from loopwright.serving.tensors.tensor import Tensor, from_raw

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from loopwright.features.request import RequestField
    from loopwright.features.row_batch import Column
    from loopwright.serving.tensors.tensor import Datatype

_NUMBERS = frozenset({"float", "int", "bool"})
_NO_NAMES: frozenset[str] = frozenset()


def row_batch(
    tensors: Sequence[Tensor], inputs: Sequence[RequestField], known: Collection[str] = _NO_NAMES
) -> RowBatch:
    """Turn tensors into rows by column.

    Args:
        tensors: The request's tensors.
        inputs: The fields of a request row.
        known: Names that a request may carry beside them, which are left aside.

    Raises:
        InvalidRequestError: When a tensor is no input of the model, is there twice, has another number of rows than the
            others or a shape or datatype that its field does not take; names the tensor.
        TooLargeError: When there are more than 100,000 rows.
    """
    if not tensors:
        raise InvalidRequestError("The request has no tensors.", field="inputs")
    rows = _rows(tensors)
    fields = {field.name: field for field in inputs}
    if len(tensors) == 1 and tensors[0].name not in fields and _is_matrix(tensors[0], inputs):
        return _by_position(tensors[0], inputs, rows)
    columns: dict[str, Column] = {}
    for tensor in tensors:
        field = fields.get(tensor.name)
        if tensor.name in columns:
            raise InvalidRequestError(f"The tensor '{tensor.name}' is there twice.", field=tensor.name)
        if field is not None:
            columns[tensor.name] = _column(tensor, field)
        elif tensor.name not in known:
            takes = ", ".join(fields)
            message = f"The model has no input '{tensor.name}'. It takes: {takes[:400]}."
            raise InvalidRequestError(message, field=tensor.name)
    return RowBatch(columns, rows)


def _rows(tensors: Sequence[Tensor]) -> int:
    rows = tensors[0].shape[0]
    for tensor in tensors:
        if tensor.shape[0] != rows:
            counts = {tensor.name: tensor.shape[0] for tensor in tensors[:20]}
            message = f"The tensors have different numbers of rows: {counts}."
            raise InvalidRequestError(message, field=tensor.name)
    if rows == 0:
        raise InvalidRequestError("The request has no rows.", field=tensors[0].name)
    check_rows(rows)
    return rows


def _is_matrix(tensor: Tensor, inputs: Sequence[RequestField]) -> bool:
    return len(tensor.shape) == 2 and tensor.shape[1] == len(inputs) and not any(field.shape for field in inputs)


def _by_position(tensor: Tensor, inputs: Sequence[RequestField], rows: int) -> RowBatch:
    if tensor.datatype.kind in ("float", "int") and all(field.type == "float" for field in inputs):
        names = tuple(field.name for field in inputs)
        return RowBatch(ColumnBlock(names, cast("NDArray[np.float64]", tensor.array)), rows)
    columns: dict[str, Column] = {}
    for position, field in enumerate(inputs):
        one = Tensor(tensor.name, tensor.datatype, (rows,), tensor.array[:, position])
        columns[field.name] = _column(one, field)
    return RowBatch(columns, rows)


def _column(tensor: Tensor, field: RequestField) -> Column:
    """Return one field's values; raises for what the field can never take."""
    rows, kind, width = tensor.shape[0], tensor.datatype.kind, math.prod(tensor.shape[1:])
    if field.is_payload and tensor.datatype.name == "UINT8":
        return [row.tobytes() for row in tensor.array.reshape(rows, -1)]
    if (field.type in _NUMBERS) == (kind == "bytes"):
        takes = f"takes {field.type}" if field.type in _NUMBERS else "takes BYTES"
        message = f"The input '{field.name}' {takes}; the tensor '{tensor.name}' is {tensor.datatype.name}."
        raise InvalidRequestError(message, field=field.name)
    if width != field.width:
        expected = [-1, *field.shape]
        message = f"The tensor '{tensor.name}' has the shape {list(tensor.shape)}; '{field.name}' takes {expected}."
        raise InvalidRequestError(message, field=field.name)
    if kind != "bytes":
        return tensor.array.reshape(rows, *field.shape)
    values: list[object] = tensor.array.reshape(-1).tolist()
    if field.is_payload:
        return values
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        message = f"The tensor '{tensor.name}' holds bytes that are no UTF-8 text."
        raise InvalidRequestError(message, field=field.name) from None


def raw_input(body: bytes, inputs: Sequence[RequestField], datatype: Datatype) -> Tensor:
    """Read a body that is nothing but the raw bytes of a model's only input; the rows follow from its length.

    A body of BYTES is one element as it is, without a length before it.

    Raises:
        InvalidRequestError: When the model has several inputs, or the bytes are no whole rows.
    """
    if len(inputs) != 1:
        raise InvalidRequestError(
            f"A body without a JSON header needs a model with one input; this one has {len(inputs)}.",
            hint="Send Inference-Header-Content-Length and name the tensors.",
        )
    field = inputs[0]
    if datatype.kind == "bytes":
        element: NDArray[Any] = np.empty(1, dtype=object)
        element[0] = body
        return Tensor(field.name, datatype, (1,), element)
    row_bytes = field.width * datatype.size
    if row_bytes == 0 or len(body) % row_bytes:
        message = f"The body has {len(body)} bytes; a row of '{field.name}' ({datatype.name}) has {row_bytes}."
        raise InvalidRequestError(message, field=field.name)
    return from_raw(field.name, datatype, [len(body) // row_bytes, *field.shape], body)
