"""How large the pages of a Parquet column become: read from their headers, before anything is allocated for them.

The file's footer says so too, but nobody checks that it tells the truth; a page's own header is what the reader
allocates by. Two encodings can grow far beyond their page (`DELTA_BYTE_ARRAY` repeats prefixes, a dictionary may say
any number of entries); the first is refused, the second is held to what its page can hold.

Source: Apache Parquet's ``parquet.thrift`` (``PageHeader``) and the Thrift compact protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.serving.bodies.thrift_compact import CompactReader

if TYPE_CHECKING:
    from loopwright.serving.bodies.thrift_compact import Record

DELTA_BYTE_ARRAY = 7
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 5, 7, 8  # fields of PageHeader
_ENCODING = {_DATA_PAGE: 2, _DATA_PAGE_V2: 4}  # the field of each that names the encoding


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
        reader = CompactReader(data, start, end)
        header = reader.struct()
        unpacked, packed = header.get(2), header.get(3)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
            raise ValueError("a page has no size")
        _check_page(header, unpacked, most_values)
        start = reader.at + packed
        if start > end:
            raise ValueError("a page is longer than its column")
        total += unpacked
        if total > most:
            break
    return total


def _check_page(header: Record, unpacked: int, most_values: int) -> None:
    for kind in (_DATA_PAGE, _DATA_PAGE_V2, _DICTIONARY_PAGE):
        page = header.get(kind)
        if not isinstance(page, dict):
            continue
        values = page.get(1)
        allowed = unpacked if kind == _DICTIONARY_PAGE else most_values
        if not isinstance(values, int) or not 0 <= values <= allowed:
            raise ValueError(f"a page says that it has {values!r} values")
        if kind in _ENCODING and page.get(_ENCODING[kind]) == DELTA_BYTE_ARRAY:
            raise ValueError("the encoding DELTA_BYTE_ARRAY is not read")
