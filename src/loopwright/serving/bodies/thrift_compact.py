"""The Thrift compact protocol, as far as Parquet's metadata needs it: structs as mappings from field numbers to values.

The reader reads what comes from outside: every length is held to what is there, and nesting to a depth.

Source: Apache Thrift's "compact protocol" specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DEEPEST = 12

Value: TypeAlias = "int | bytes | list[Value] | Record"
Encoded: TypeAlias = tuple[int, bytes]
"""A value with the number of its kind."""


class Record(dict[int, Value]):
    """A struct: its values by the numbers of their fields.

    Attributes:
        raw: The struct as it was written.
    """

    raw: bytes = b""


class CompactReader:
    """Reads one struct after another.

    Args:
        data: What is read.
        at: Where to begin.
        end: Where to stop.
    """

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self.at = at
        self._end = end

    def struct(self, depth: int = 0) -> Record:
        """Return the next struct; maps and doubles are passed over.

        Raises:
            ValueError: If it is cut off, nested too deep, or none.
        """
        if depth > _DEEPEST:
            raise ValueError("metadata is nested too deep")
        found = Record()
        start = self.at
        number = 0
        while (first := self._byte()) != 0:
            delta, kind = first >> 4, first & 15
            number = number + delta if delta else self._zigzag()
            value = int(kind == _TRUE) if kind in (_TRUE, _FALSE) else self._value(kind, depth)
            if value is not None:
                found[number] = value
        found.raw = self._data[start : self.at]
        return found

    def _value(self, kind: int, depth: int) -> Value | None:
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind in (_BYTE, _TRUE, _FALSE):
            return self._byte()
        if kind == _DOUBLE:
            self._take(8)
            return None
        if kind == _MAP and self._byte() == 0:
            return None
        raise ValueError("metadata holds what it cannot hold")

    def _list(self, depth: int) -> list[Value]:
        first = self._byte()
        count, kind = first >> 4, first & 15
        if count == 15:
            count = self._varint()
        if count > self._end - self.at:  # each element has at least one byte
            raise ValueError("metadata is cut off")
        if depth > _DEEPEST:
            raise ValueError("metadata is nested too deep")
        values = [self._value(kind, depth) for _ in range(count)]
        return [value for value in values if value is not None]

    def _byte(self) -> int:
        if self.at >= self._end:
            raise ValueError("metadata is cut off")
        self.at += 1
        return self._data[self.at - 1]

    def _take(self, count: int) -> bytes:
        if count > self._end - self.at:
            raise ValueError("metadata is cut off")
        self.at += count
        return self._data[self.at - count : self.at]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("metadata holds an endless number")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def i32(value: int) -> Encoded:
    """Write a number of 32 bits."""
    return _I32, _varint_of(_zigzag_of(value))


def i64(value: int) -> Encoded:
    """Write a number of 64 bits."""
    return _I64, _varint_of(_zigzag_of(value))


def text(value: bytes) -> Encoded:
    """Write bytes."""
    return _BINARY, _varint_of(len(value)) + value


def nested(raw: bytes) -> Encoded:
    """Write a struct that is written already."""
    return _STRUCT, raw


def list_of(values: Sequence[bytes], *, of: int = _STRUCT) -> Encoded:
    """Write a list of values that are written already, all of one kind."""
    count = len(values)
    header = bytes([count << 4 | of]) if count < 15 else bytes([0xF0 | of]) + _varint_of(count)
    return _LIST, header + b"".join(values)


def struct(values: Mapping[int, Encoded]) -> bytes:
    """Write a struct: its values by the numbers of their fields, which are below 16.

    >>> CompactReader(data := struct({1: i32(-7), 4: text(b"name")}), 0, len(data)).struct()
    {1: -7, 4: b'name'}
    """
    parts: list[bytes] = []
    last = 0
    for number, (kind, content) in sorted(values.items()):
        parts += [bytes([(number - last) << 4 | kind]), content]
        last = number
    return b"".join([*parts, b"\0"])


def _zigzag_of(value: int) -> int:
    return (value << 1) ^ (value >> 63)


def _varint_of(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
