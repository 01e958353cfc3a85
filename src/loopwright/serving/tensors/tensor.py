"""Tensors of the Open Inference Protocol: every datatype, as raw bytes and as NumPy arrays.

Raw bytes are little-endian and row-major without padding. An element of BYTES is its length in four bytes and then
that many bytes. BF16 is held as float32, which has all its values. `loopwright.serving.tensors.tensor_values` has the
JSON form.

Everything that does not fit is an `InvalidRequestError` with the tensor's name in ``field``.

Sources: ``inference_rest.md`` of kserve/open-inference-protocol; the extension "binary tensor data" of the same
protocol.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from loopwright.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Kind: TypeAlias = Literal["bool", "int", "float", "bytes"]
MAX_ELEMENTS = 1 << 31
MAX_RANK = 32


@dataclass(frozen=True)
class Datatype:
    """One datatype of the protocol.

    Attributes:
        name: Its name, such as ``FP32``.
        kind: What its values are.
        dtype: The NumPy type in which the values are held.
        size: Bytes of a raw element; 0 for BYTES, whose elements have their own length.
        json: Whether it has a JSON form.
    """

    name: str
    kind: Kind
    dtype: np.dtype[Any]
    size: int
    json: bool = True


DATATYPES: dict[str, Datatype] = {
    one.name: one
    for one in (
        Datatype("BOOL", "bool", np.dtype(np.bool_), 1),
        *(
            Datatype(f"{sign.upper()}INT{8 * size}", "int", np.dtype(f"<{sign or 'i'}{size}"), size)
            for sign in ("u", "")
            for size in (1, 2, 4, 8)
        ),
        Datatype("FP16", "float", np.dtype("<f2"), 2, json=False),
        Datatype("BF16", "float", np.dtype("<f4"), 2, json=False),
        Datatype("FP32", "float", np.dtype("<f4"), 4),
        Datatype("FP64", "float", np.dtype("<f8"), 8),
        Datatype("BYTES", "bytes", np.dtype(object), 0),
    )
}
_OF_ARRAY = {one.dtype: one for one in DATATYPES.values() if one.name not in {"BF16", "BYTES"}}


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A named array with a datatype of the protocol.

    Attributes:
        array: The values in ``shape``. BYTES holds ``bytes``, ``str`` or None.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    array: NDArray[Any]

    @classmethod
    def of(cls, name: str, array: NDArray[Any]) -> Tensor:
        """Return an array as a tensor of the datatype that holds it; what is no number becomes BYTES.

        >>> Tensor.of("x", np.zeros((2, 3), np.int32)).datatype.name, Tensor.of("y", np.array(["a"])).datatype.name
        ('INT32', 'BYTES')
        """
        datatype = _OF_ARRAY.get(array.dtype)
        if datatype is None:
            datatype = DATATYPES["BYTES"]
            flat = np.empty(array.size, dtype=object)
            flat[:] = [
                value if value is None or isinstance(value, bytes) else str(value)
                for value in array.reshape(-1).tolist()
            ]
            array = flat.reshape(array.shape)
        return cls(name, datatype, array.shape, array)


def datatype_named(name: str, datatype: object) -> Datatype:
    """Return the datatype that a tensor names.

    Raises:
        InvalidRequestError: When there is no such datatype.
    """
    if not isinstance(datatype, str):
        raise InvalidRequestError(f"The tensor '{name}' needs a 'datatype'.", field=name)
    found = DATATYPES.get(datatype.upper())
    if found is None:
        known = ", ".join(DATATYPES)
        message = f"The tensor '{name}' has the unknown datatype {datatype[:50]!r}. Known: {known}."
        raise InvalidRequestError(message, field=name)
    return found


def checked_shape(name: str, shape: Sequence[object]) -> tuple[int, ...]:
    """Return a tensor's shape as it was given.

    Raises:
        InvalidRequestError: When it is empty, a size is negative or no whole number, or the elements are too many to
            count.
    """
    if not shape or not all(type(size) is int and size >= 0 for size in shape):
        raise InvalidRequestError(f"The tensor '{name}' needs a 'shape' of whole numbers, 0 or more.", field=name)
    sizes = cast("tuple[int, ...]", tuple(shape))
    if len(sizes) > MAX_RANK or math.prod(size or 1 for size in sizes) > MAX_ELEMENTS:
        raise InvalidRequestError(
            f"The tensor '{name}' has too large a shape; {MAX_RANK} dimensions and {MAX_ELEMENTS} elements are the "
            "most.",
            field=name,
        )
    return sizes


def from_raw(name: str, datatype: Datatype, shape: Sequence[object], data: bytes | memoryview) -> Tensor:
    r"""Read a tensor's raw bytes; numbers are not copied, and cannot be written to.

    Raises:
        InvalidRequestError: When the bytes are not those of the shape.

    >>> from_raw("x", DATATYPES["INT16"], [2], b"\x01\x00\xff\xff").array.tolist()
    [1, -1]
    """
    sizes = checked_shape(name, shape)
    count = math.prod(sizes)
    if datatype.kind == "bytes":
        array: NDArray[Any] = _elements(name, data, count, sizes)
    else:
        if len(data) != count * datatype.size:
            raise InvalidRequestError(
                f"The tensor '{name}' has {len(data)} bytes; the shape {list(sizes)} of {datatype.name} needs "
                f"{count * datatype.size}.",
                field=name,
            )
        if datatype.kind == "bool":
            array = np.frombuffer(data, dtype=np.uint8) != 0
        elif datatype.name == "BF16":
            array = (np.frombuffer(data, dtype="<u2").astype("<u4") << 16).view("<f4")
        else:
            array = np.frombuffer(data, dtype=datatype.dtype)
    return Tensor(name, datatype, sizes, array.reshape(sizes))


def _elements(name: str, data: bytes | memoryview, count: int, sizes: tuple[int, ...]) -> NDArray[Any]:
    """Read the elements of BYTES."""
    data, place, end = bytes(data), 0, len(data)
    values: list[bytes] = []
    while place < end:
        start = place + 4
        place = start + int.from_bytes(data[start - 4 : start], "little")
        if start > end or place > end:
            raise InvalidRequestError(f"The tensor '{name}': element {len(values)} of BYTES is cut off.", field=name)
        values.append(data[start:place])
    if len(values) != count:
        raise wrong_count(name, len(values), sizes)
    array = np.empty(count, dtype=object)
    array[:] = values
    return array


def to_raw(tensor: Tensor) -> bytes:
    r"""Write a tensor's raw bytes; missing texts become empty, and what BF16 cannot hold goes to the nearest even.

    >>> to_raw(Tensor("x", DATATYPES["BYTES"], (2,), np.array(["a", b"bc"], dtype=object)))
    b'\x01\x00\x00\x00a\x02\x00\x00\x00bc'
    """
    if tensor.datatype.kind == "bytes":
        texts = tensor.array.reshape(-1).tolist()
        encoded = [b"" if text is None else text.encode() if isinstance(text, str) else text for text in texts]
        return b"".join(chain.from_iterable((struct.pack("<I", len(text)), text) for text in encoded))
    if tensor.datatype.name == "BF16":
        bits = np.ascontiguousarray(tensor.array, dtype="<f4").view("<u4")
        rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
        return np.where(np.isnan(tensor.array), (bits >> 16) | 0x40, rounded).astype("<u2").tobytes()
    return tensor.array.astype(tensor.datatype.dtype, copy=False).tobytes()


def wrong_count(name: str, count: int, sizes: tuple[int, ...]) -> InvalidRequestError:
    """Return the refusal of as many elements as the shape does not have."""
    return InvalidRequestError(
        f"The tensor '{name}' has {count} elements; the shape {list(sizes)} needs {math.prod(sizes)}.", field=name
    )
