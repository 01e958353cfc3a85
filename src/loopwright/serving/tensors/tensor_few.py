"""A few rows of JSON tensors in their usual form, without an array for each tensor.

A request for one row spends more time on making arrays than on anything else. This reader assumes nothing: whatever it
does not expect (another datatype, parameters, a wrong count, a value of another type) makes it return None, and
`loopwright.serving.doors.open_inference` reads the request tensor by tensor, which finds the right words for what is
wrong.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.features.request import RequestField

FEW = 32
_KEYS = {"name", "shape", "datatype", "data"}
_EXACT = 1 << 53
_LIMITS = {"INT32": (-(1 << 31), (1 << 31) - 1), "INT64": (-(1 << 63), (1 << 63) - 1)}
_FLOATS = frozenset({float})
_NUMBERS = frozenset({float, int})
_INTS = frozenset({int})
_TEXTS = frozenset({str})
_SINGLE_MOST = 3.4e38


def few_rows(given: Sequence[Any], inputs: Sequence[RequestField]) -> list[dict[str, object]] | None:
    """Return the rows of a request of at most 32, or None where its tensors are not of the usual form.

    Args:
        given: The request's ``inputs``.
        inputs: The fields of a request row.

    >>> from loopwright.features.request import RequestField
    >>> few_rows([{"name": "x", "shape": [2], "datatype": "FP64", "data": [1, 2.5]}], [RequestField("x", "float")])
    [{'x': 1}, {'x': 2.5}]
    """
    if len(given) != len(inputs):
        return _of_matrix(given[0], inputs) if len(given) == 1 else None
    fields = {field.name: field for field in inputs}
    columns: dict[str, list[Any]] = {}
    rows = 0
    for item in given:
        if type(item) is not dict or item.keys() != _KEYS:
            return None
        name = item["name"]
        field = fields.pop(name, None) if type(name) is str else None
        data, shape = item["data"], item["shape"]
        if field is None or field.shape or field.is_payload or type(data) is not list:
            return None
        count = len(data)
        if not 0 < count <= FEW or count != (rows or count) or shape not in ([count], [count, 1]):
            return None
        rows = count
        values = _values(data, item["datatype"], field.type) if type(shape[0]) is int else None
        if values is None:
            return None
        columns[name] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _of_matrix(item: Any, inputs: Sequence[RequestField]) -> list[dict[str, object]] | None:  # noqa: ANN401 - JSON
    """Read one tensor of shape ``[rows, fields]``."""
    if type(item) is not dict or item.keys() != _KEYS or any(field.type != "float" or field.shape for field in inputs):
        return None
    data, shape, width = item["data"], item["shape"], len(inputs)
    if type(shape) is not list or len(shape) != 2 or type(data) is not list or not data:
        return None
    if type(data[0]) is list:
        if any(type(row) is not list or len(row) != width for row in data):
            return None
        data = [value for row in data for value in row]
    rows = len(data) // width
    if shape != [rows, width] or type(shape[0]) is not int or not 0 < rows <= FEW or len(data) != rows * width:
        return None
    names = [field.name for field in inputs]
    if item["name"] in names:
        return None
    values = _values(data, item["datatype"], "float")
    if values is None:
        return None
    return [dict(zip(names, values[start : start + width], strict=True)) for start in range(0, len(data), width)]


def _values(data: list[Any], datatype: object, kind: str) -> list[Any] | None:
    """Return the values of one tensor as a row holds them, or None."""
    types = set(map(type, data))
    if kind == "float":
        if not types <= _NUMBERS or (types != _FLOATS and not all(-_EXACT <= value <= _EXACT for value in data)):
            return None
        if datatype == "FP64":
            return data
        if datatype == "FP32" and all(-_SINGLE_MOST < value < _SINGLE_MOST for value in data):
            return array("f", data).tolist()
        return None
    if kind == "int":
        limits = _LIMITS.get(datatype) if type(datatype) is str else None
        fits = types == _INTS and limits is not None and limits[0] <= min(data) and max(data) <= limits[1]
        return data if fits else None
    return data if datatype == "BYTES" and types == _TEXTS and kind != "bool" else None
