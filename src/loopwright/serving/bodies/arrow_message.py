"""How large an Arrow IPC message becomes: read from its metadata, before anything is allocated for it.

A compressed buffer begins with its length when unpacked, and Arrow allocates that much before it looks further. So a
body from outside is asked first. What is not compressed lies in the body itself and costs nothing.

Source: the Arrow columnar format, ``Message.fbs`` and "IPC: buffer compression"; the FlatBuffers binary format.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_MOST_BUFFERS = 1_000_000


def unpacked_bytes(metadata: bytes, body: memoryview) -> tuple[int, int]:
    """Return how many bytes the compressed buffers of a message become, and its rows (0 for a dictionary).

    Args:
        metadata: The message's FlatBuffer.
        body: The message's body.

    Raises:
        ValueError: If the metadata points outside itself or the body, or a length is negative.
    """
    try:
        return _unpacked(metadata, body)
    except struct.error as error:
        raise ValueError("the metadata of a message points outside of it") from error


def _unpacked(metadata: bytes, body: memoryview) -> tuple[int, int]:
    message = _Table(metadata, _u32(metadata, 0))
    kind = message.byte(1)
    batch = message.table(2)
    if kind == _DICTIONARY_BATCH and batch is not None:
        batch = batch.table(1)
    if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH) or batch is None:
        return 0, 0
    rows = batch.i64(0) if kind == _RECORD_BATCH else 0
    if rows < 0:
        raise ValueError("a batch has a negative number of rows")
    if batch.table(3) is None:  # not compressed
        return 0, rows
    total = 0
    for offset, length in batch.buffers(2):
        if offset < 0 or length < 0 or offset + length > len(body):
            raise ValueError("a buffer lies outside of its message")
        if length == 0:
            continue
        (unpacked,) = struct.unpack_from("<q", body, offset)
        if unpacked < -1:
            raise ValueError("a buffer has a negative length")
        total += max(unpacked, 0)
    return total, rows


class _Table:
    """One table of a FlatBuffer: fields by their number."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._fields = position - _i32(data, position)
        if self._fields < 0:
            raise ValueError("the metadata of a message points outside of it")
        self._size = _u16(data, self._fields)

    def _at(self, field: int) -> int | None:
        """Return where a field lies, or None where it is not set."""
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        offset = _u16(self._data, self._fields + entry)
        return self._position + offset if offset else None

    def byte(self, field: int) -> int:
        at = self._at(field)
        return 0 if at is None else int(struct.unpack_from("<B", self._data, at)[0])

    def i64(self, field: int) -> int:
        at = self._at(field)
        return 0 if at is None else int(struct.unpack_from("<q", self._data, at)[0])

    def table(self, field: int) -> _Table | None:
        at = self._at(field)
        return None if at is None else _Table(self._data, at + _u32(self._data, at))

    def buffers(self, field: int) -> Iterator[tuple[int, int]]:
        """Yield the pairs (offset, length) of a vector of buffers."""
        at = self._at(field)
        if at is None:
            return
        begin = at + _u32(self._data, at)
        count = _u32(self._data, begin)
        if count > _MOST_BUFFERS:
            raise ValueError("a message has too many buffers")
        for number in range(count):
            yield struct.unpack_from("<qq", self._data, begin + 4 + 16 * number)


def _u16(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<H", data, at)[0])


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _i32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<i", data, at)[0])
