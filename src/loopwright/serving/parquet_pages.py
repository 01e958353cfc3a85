"""How large the pages of a Parquet column become: read from their headers, before anything is allocated for them.

The file's footer says so too, but nobody checks that it tells the truth; a page's own header is what the reader
allocates by. Two encodings can grow far beyond their page (`DELTA_BYTE_ARRAY` repeats prefixes, a dictionary may say
any number of entries); the first is refused, the second is held to what its page can hold.

Source: Apache Parquet's ``parquet.thrift`` (``PageHeader``) and the Thrift compact protocol.
"""

from __future__ import annotations

from typing import TypeAlias

DELTA_BYTE_ARRAY = 7
_BOOLEAN_TRUE, _BOOLEAN_FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DEEPEST = 8
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 5, 7, 8  # fields of PageHeader
_ENCODING = {_DATA_PAGE: 2, _DATA_PAGE_V2: 4}  # the field of each that names the encoding

Struct: TypeAlias = "dict[int, int | Struct]"


def unpacked_bytes(data: bytes, start: int, length: int, *, most: int, most_values: int) -> int:
    """Return how many bytes the pages of one column chunk become.

    Args:
        data: The file.
        start: Where the chunk begins.
        length: Its bytes.
        most: Stop counting above so many.
        most_values: Values that a page may have.

    Raises:
        ValueError: If a page lies outside the file, says something impossible, or has an encoding that is refused.
    """
    end = start + length
    if start < 0 or length < 0 or end > len(data):
        raise ValueError("a column lies outside of the file")
    total = 0
    while start < end:
        header, body = _Compact(data, start, end).struct(0)
        unpacked, packed = header.get(2), header.get(3)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
            raise ValueError("a page has no size")
        _check_page(header, unpacked, most_values)
        start = body + packed
        if start > end:
            raise ValueError("a page is longer than its column")
        total += unpacked
        if total > most:
            break
    return total


def _check_page(header: Struct, unpacked: int, most_values: int) -> None:
    for kind in (_DATA_PAGE, _DATA_PAGE_V2, _DICTIONARY_PAGE):
        page = header.get(kind)
        if not isinstance(page, dict):
            continue
        values = page.get(1)
        allowed = unpacked if kind == _DICTIONARY_PAGE else most_values
        if not isinstance(values, int) or not 0 <= values <= allowed:
            raise ValueError(f"a page says that it has {values} values")
        if kind in _ENCODING and page.get(_ENCODING[kind]) == DELTA_BYTE_ARRAY:
            raise ValueError("the encoding DELTA_BYTE_ARRAY is not read")


class _Compact:
    """Reads structs of the Thrift compact protocol; what is no number or struct is skipped."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self._at = at
        self._end = end

    def struct(self, depth: int) -> tuple[Struct, int]:
        """Return the fields of a struct by their numbers, and where it ends."""
        if depth > _DEEPEST:
            raise ValueError("a page header is nested too deep")
        found: Struct = {}
        number = 0
        while (first := self._byte()) != 0:
            delta, kind = first >> 4, first & 15
            number = number + delta if delta else self._zigzag()
            value = self._value(kind, depth)
            if value is not None:
                found[number] = value
        return found, self._at

    def _value(self, kind: int, depth: int) -> int | Struct | None:
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct(depth + 1)[0]
        if kind in (_BOOLEAN_TRUE, _BOOLEAN_FALSE):
            return int(kind == _BOOLEAN_TRUE)
        if kind == _BYTE:
            return self._byte()
        if kind == _DOUBLE:
            self._skip(8)
        elif kind == _BINARY:
            self._skip(self._varint())
        else:  # lists, sets and maps: a page header has none
            raise ValueError("a page header holds what it cannot hold")
        return None

    def _byte(self) -> int:
        if self._at >= self._end:
            raise ValueError("a page header is cut off")
        self._at += 1
        return self._data[self._at - 1]

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > self._end:
            raise ValueError("a page header is cut off")

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a page header holds an endless number")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
