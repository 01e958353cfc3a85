"""Header fields of HTTP/2 (HPACK): read with its dynamic table and Huffman code; written without either.

Blocks that change nothing in the table are remembered: a caller sends the same few bytes with each call, and they are
read once. What is written is a handful of constant fields, for which the plain form is as good.

Source: RFC 7541.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

from loopwright.serving.grpc.hpack_tables import HUFFMAN_BYTES, STATIC_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

Fields = tuple[tuple[bytes, bytes], ...]
Made = TypeVar("Made")
TABLE_BYTES = 4096  # what a sender may use of our memory, unless told otherwise
MAX_FIELDS_BYTES = 16 * 1024
_FIELD_OVERHEAD = 32  # RFC 7541 section 4.1
_REMEMBERED_BLOCKS = 256
_STATIC = len(STATIC_FIELDS)


class HpackError(Exception):
    """A block that breaks the compression; the connection cannot go on."""


class TooManyFieldsError(Exception):
    """A block whose fields are longer than is accepted; the table is in order."""


class HpackReader(Generic[Made]):
    """Read the header blocks of one connection, in their order.

    Args:
        make: Turns a block's fields into what is wanted of them; called once for the blocks that are remembered.
    """

    def __init__(self, make: Callable[[Fields], Made]) -> None:
        self._make = make
        self._dynamic: deque[tuple[bytes, bytes]] = deque()  # the newest first
        self._bytes = 0
        self._capacity = TABLE_BYTES
        self._known: dict[bytes, Made] = {}

    def read(self, block: bytes) -> Made:
        """Return what is made of a block's fields.

        Raises:
            HpackError: When it is none.
            TooManyFieldsError: When its fields have more than 16 KiB together.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields, changed = self._read(block)
        except IndexError:
            raise HpackError("a header block is cut off") from None
        if sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in fields) > MAX_FIELDS_BYTES:
            raise TooManyFieldsError
        made = self._make(fields)
        if not changed:
            if len(self._known) >= _REMEMBERED_BLOCKS:
                self._known.clear()
            self._known[block] = made
        return made

    def _read(self, block: bytes) -> tuple[Fields, bool]:
        fields: list[tuple[bytes, bytes]] = []
        place, end, changed = 0, len(block), False
        while place < end:
            first = block[place]
            if first & 0x80:  # a field of a table
                index, place = _integer(block, place, 0x7F)
                fields.append(self._field(index))
            elif first & 0xE0 == 0x20:  # a new size of the table
                if fields:
                    raise HpackError("a table size stands behind a field")
                size, place = _integer(block, place, 0x1F)
                if size > TABLE_BYTES:
                    raise HpackError(f"a table of {size} bytes is more than was offered")
                self._capacity, changed = size, True
                self._evict()
            else:
                indexed = first & 0x40
                index, place = _integer(block, place, 0x3F if indexed else 0x0F)
                if index:
                    name = self._field(index)[0]
                else:
                    name, place = _text(block, place)
                value, place = _text(block, place)
                fields.append((name, value))
                if indexed:
                    self._add(name, value)
                    changed = True
        return tuple(fields), changed

    def _field(self, index: int) -> tuple[bytes, bytes]:
        if 0 < index <= _STATIC:
            return STATIC_FIELDS[index - 1]
        if not 0 < index - _STATIC <= len(self._dynamic):
            raise HpackError(f"there is no field {index}")
        return self._dynamic[index - _STATIC - 1]

    def _add(self, name: bytes, value: bytes) -> None:
        self._known.clear()  # every index moves
        self._dynamic.appendleft((name, value))
        self._bytes += len(name) + len(value) + _FIELD_OVERHEAD
        self._evict()

    def _evict(self) -> None:
        while self._bytes > self._capacity:
            self._known.clear()
            name, value = self._dynamic.pop()
            self._bytes -= len(name) + len(value) + _FIELD_OVERHEAD


def _integer(block: bytes, place: int, mask: int) -> tuple[int, int]:
    """Read an integer whose first bits share a byte; return it and where it ends (section 5.1)."""
    value = block[place] & mask
    place += 1
    if value < mask:
        return value, place
    shift = 0
    while True:
        byte = block[place]
        place += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 28:
            raise HpackError("an integer is too large")


def _text(block: bytes, place: int) -> tuple[bytes, int]:
    """Read a string; return it and where it ends (section 5.2)."""
    is_packed = block[place] & 0x80
    length, place = _integer(block, place, 0x7F)
    end = place + length
    if end > len(block):
        raise HpackError("a string is cut off")
    text = block[place:end]
    return (unpacked(text) if is_packed else text), end


def _codes() -> dict[tuple[int, int], int]:
    """Return the byte of each Huffman code, by its length and value."""
    codes: dict[tuple[int, int], int] = {}
    code = previous = 0
    for bits, symbols in sorted(HUFFMAN_BYTES.items()):
        code <<= bits - previous
        previous = bits
        for symbol in symbols:
            codes[bits, code] = symbol
            code += 1
    return codes


_CODES = _codes()


@lru_cache(maxsize=1024)
def unpacked(text: bytes) -> bytes:
    """Return what a Huffman-coded string says.

    Raises:
        HpackError: When it is not padded with up to 7 ones.

    >>> unpacked(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff"))
    b'www.example.com'
    """
    found = bytearray()
    code = bits = 0
    for byte in text:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            bits += 1
            symbol = _CODES.get((bits, code))
            if symbol is not None:
                found.append(symbol)
                code = bits = 0
            elif bits > 30:
                raise HpackError("a string has no such code")
    if bits > 7 or code != (1 << bits) - 1:
        raise HpackError("a string is not padded with ones")
    return bytes(found)


def written(fields: Fields) -> bytes:
    """Write fields that enter no table.

    >>> HpackReader(tuple).read(written(((b"grpc-status", b"0"),)))
    ((b'grpc-status', b'0'),)
    """
    return b"".join(b"\0" + _length(name) + name + _length(value) + value for name, value in fields)


def _length(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes((length,))
    rest, out = length - 0x7F, [0x7F]
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*out, rest))
