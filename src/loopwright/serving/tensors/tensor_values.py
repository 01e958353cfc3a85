"""The values of a tensor as lists: its JSON form, and the typed contents of other transports.

Null is the missing value of a float (NaN) and of a text (None); missing integers and booleans are refused. Integers
are exact to their full width. FP16 and BF16 have no JSON form. Neither have NaN and the infinities: an answer has null
in their place, and clients that make arrays of it read NaN. Whoever needs infinities apart asks for binary data.

Source: ``inference_rest.md`` of kserve/open-inference-protocol, "Tensor Data".
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.tensors.tensor import MAX_RANK, Datatype, Tensor, checked_shape, wrong_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_EXACT = 1 << 53  # integers up to here have their own float
_ASK_BINARY = "Ask for it as binary data."


def from_values(name: str, datatype: Datatype, shape: Sequence[object], data: object) -> Tensor:
    """Read a tensor's values from a list, flat or nested as the shape is.

    Raises:
        InvalidRequestError: When they are not of the datatype, or not as many as the shape needs.

    >>> from loopwright.serving.tensors.tensor import DATATYPES
    >>> from_values("x", DATATYPES["UINT64"], [1, 2], [[1, 2**64 - 1]]).array.tolist()
    [[1, 18446744073709551615]]
    """
    sizes = checked_shape(name, shape)
    if not isinstance(data, list):
        raise InvalidRequestError(f"The tensor '{name}' needs 'data' as a list.", field=name)
    if not datatype.json:
        raise InvalidRequestError(
            f"The tensor '{name}': {datatype.name} has no JSON form.", field=name, hint="Send FP32, or binary data."
        )
    values = _flat(name, data, sizes)
    if len(values) != math.prod(sizes):
        raise wrong_count(name, len(values), sizes)
    array = _typed(name, datatype, values)
    return Tensor(name, datatype, sizes, array.reshape(sizes))


def _flat(name: str, data: list[object], sizes: tuple[int, ...]) -> list[object]:
    nesting = [len(data)]
    while data and type(data[0]) is list:
        rows = cast("list[list[object]]", data)
        widths = set(map(len, rows)) if set(map(type, rows)) == {list} else {-1, -2}
        if len(widths) != 1 or len(nesting) > MAX_RANK:
            message = f"The data of the tensor '{name}' is nested unevenly or too deep."
            raise InvalidRequestError(message, field=name)
        nesting.append(widths.pop())
        data = list(chain.from_iterable(rows))
    if data and len(nesting) > 1 and [size for size in nesting if size != 1] != [size for size in sizes if size != 1]:
        raise InvalidRequestError(
            f"The data of the tensor '{name}' is nested as {nesting}; its shape is {list(sizes)}.", field=name
        )
    return data


def _typed(name: str, datatype: Datatype, values: list[object]) -> NDArray[Any]:
    kinds = set(map(type, values))
    if datatype.kind == "bytes":
        if not kinds <= {str, bytes, type(None)}:
            raise _wrong(name, datatype, values, (str, bytes, type(None)))
        texts = np.empty(len(values), dtype=object)
        texts[:] = values
        return texts
    if datatype.kind == "bool":
        if not kinds <= {bool, int} or not all(value in (0, 1) for value in values):
            raise _wrong(name, datatype, values, (bool,))
        return np.array(values, dtype=np.bool_)
    allowed: set[type] = {int} if datatype.kind == "int" else {int, float, type(None)}
    if not kinds <= allowed:
        raise _wrong(name, datatype, values, tuple(allowed))
    try:
        with np.errstate(over="raise"):  # a double that is too large for a float32
            array: NDArray[Any] = np.array(cast("Any", values), dtype=datatype.dtype)
    except (OverflowError, FloatingPointError):
        raise InvalidRequestError(
            f"The tensor '{name}' holds a value that is no {datatype.name}: a number is too large or too small.",
            field=name,
        ) from None
    if datatype.kind == "float" and int in kinds:
        _refuse_inexact(name, datatype, values)
    return array


def _refuse_inexact(name: str, datatype: Datatype, values: list[object]) -> None:
    """Refuse whole numbers that a double cannot hold: rounding an id silently would make it another one."""
    for value in values:
        if type(value) is int and not -_EXACT <= value <= _EXACT and int(float(value)) != value:
            message = f"The tensor '{name}' holds {value}, which {datatype.name} cannot hold exactly."
            raise InvalidRequestError(message, field=name, hint="Send INT64.")


def _wrong(name: str, datatype: Datatype, values: list[object], allowed: tuple[type, ...]) -> InvalidRequestError:
    wrong = next((value for value in values if type(value) not in allowed and value not in (0, 1)), None)
    found = next((value for value in values if type(value) not in allowed), None) if wrong is None else wrong
    shown = "null" if found is None else repr(found)[:80]
    return InvalidRequestError(f"The tensor '{name}' holds a value that is no {datatype.name}: {shown}.", field=name)


def to_values(tensor: Tensor) -> list[object]:
    """Write a tensor's values as a flat list for JSON; NaN and infinities stay, for the encoder to make null.

    Raises:
        InvalidRequestError: When the datatype has no JSON form, or bytes are no UTF-8 text.
    """
    if not tensor.datatype.json:
        message = f"The output '{tensor.name}' is {tensor.datatype.name}, which has no JSON form."
        raise InvalidRequestError(message, field=tensor.name, hint=_ASK_BINARY)
    values: list[object] = tensor.array.reshape(-1).tolist()
    if tensor.datatype.kind != "bytes":
        return values
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        message = f"The output '{tensor.name}' holds bytes that are no UTF-8 text."
        raise InvalidRequestError(message, field=tensor.name, hint=_ASK_BINARY) from None
