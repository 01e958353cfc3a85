"""What a Parquet file says of its columns, read and written anew before the file's reader sees it.

A footer from outside may lie, and some lies end the process that believes them: a C++ exception where none may be. So
it is read here first, and the reader gets a footer with nothing in it but the flat columns that are wanted: no
statistics, no indexes, no metadata of others.

Source: Apache Parquet's ``parquet.thrift`` (``FileMetaData`` and what it holds).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.serving.bodies.thrift_compact import CompactReader, Record, i32, i64, list_of, nested, struct, text

if TYPE_CHECKING:
    from collections.abc import Collection

    from loopwright.serving.bodies.thrift_compact import Encoded, Value

MAGIC = b"PAR1"
_LONGEST_FOOTER = 1 << 20
_LONGEST_FIXED = 16
_REPEATED, _BYTE_ARRAY, _FIXED = 2, 6, 7
# Fields of a schema element.
_TYPE, _LENGTH, _REPETITION, _NAME, _CHILDREN, _LOGICAL = 1, 2, 3, 4, 5, 10
_KEPT_OF_ELEMENT = (_TYPE, _LENGTH, _REPETITION, 6, 7, 8)  # and the converted type, scale and precision
# Fields of a column chunk's metadata.
_ENCODINGS, _CODEC, _VALUES, _UNPACKED, _PACKED, _DATA_AT, _DICTIONARY_AT = 2, 4, 5, 6, 7, 9, 11


@dataclass(frozen=True)
class Chunk:
    """Where one column of one row group lies.

    Attributes:
        start: Where its pages begin.
        length: Their bytes.
    """

    start: int
    length: int


@dataclass(frozen=True)
class ParquetFooter:
    """The footer of a file, as far as its flat columns go.

    Attributes:
        names: The columns of the file, nested ones too, in order.
        wanted: The flat ones that are wanted.
        texts: Those of them that hold texts or bytes.
        rows: The rows of the file.
        chunks: The wanted columns in each row group.
        content: The footer with nothing else in it.
        start: Where the footer begins in the file.
    """

    names: list[str]
    wanted: list[str]
    texts: list[str]
    rows: int
    chunks: list[Chunk]
    content: bytes
    start: int

    def replaced(self, body: bytes) -> bytes:
        """Return the file with this footer in the place of its own."""
        return b"".join([body[: self.start], self.content, len(self.content).to_bytes(4, "little"), MAGIC])


@dataclass(frozen=True)
class _Column:
    """A column at the top of the schema; ``leaf`` is its place in a row group, None where it is nested."""

    name: str
    element: Record
    leaf: int | None


def read_footer(body: bytes, names: Collection[str]) -> ParquetFooter:
    """Read the footer of a file.

    Args:
        body: The file.
        names: The columns that are wanted.

    Raises:
        ValueError: If there is none, or it says what cannot be.
    """
    length = int.from_bytes(body[-8:-4], "little")
    start = len(body) - 8 - length
    if not (body.startswith(MAGIC) and body.endswith(MAGIC)) or start < len(MAGIC):
        raise ValueError("the marks of Parquet at its ends are missing")
    if length > _LONGEST_FOOTER:
        raise ValueError(f"its footer has {length} bytes; at most {_LONGEST_FOOTER} are read")
    document = CompactReader(body, start, len(body) - 8).struct()
    columns = _columns([_record(element) for element in _list(document.get(2))])
    wanted = [column for column in columns if column.name in names and column.leaf is not None]
    groups: list[bytes] = []
    chunks: list[Chunk] = []
    rows = 0
    for group in map(_record, _list(document.get(4))):
        count = _int(group, 3)
        if count < 0:
            raise ValueError("a row group has a negative number of rows")
        rows += count
        found = [(column, _chunk_of(group, column.leaf or 0)) for column in wanted]
        chunks += [_place(chunk, column.name, count) for column, chunk in found]
        written = [_written_chunk(column.name, chunk) for column, chunk in found]
        groups.append(struct({1: list_of(written), 2: i64(0), 3: i64(count)}))
    root = struct({_NAME: text(b"schema"), _CHILDREN: i32(len(wanted))})
    schema = [root, *map(_written_element, wanted)]
    content = struct({1: i32(2), 2: list_of(schema), 3: i64(rows), 4: list_of(groups)})
    texts = [column.name for column in wanted if column.element.get(_TYPE) == _BYTE_ARRAY]
    present = [column.name for column in columns]
    return ParquetFooter(present, [column.name for column in wanted], texts, rows, chunks, content, start)


def _columns(elements: list[Record]) -> list[_Column]:
    """Return the columns at the top of a schema, which lists a tree's nodes from the top, each before its children."""
    columns: list[_Column] = []
    place, leaf = 1, 0
    while place < len(elements):
        element = elements[place]
        is_flat = not _int(element, _CHILDREN) and element.get(_REPETITION) != _REPEATED
        columns.append(_Column(_name(element), element, leaf if is_flat else None))
        open_nodes = 1
        while open_nodes > 0:  # pass over what is below it
            if place >= len(elements):
                raise ValueError("its schema is cut off")
            below = _int(elements[place], _CHILDREN)
            if below < 0:
                raise ValueError("its schema has a negative number of columns")
            leaf += below == 0
            open_nodes += below - 1
            place += 1
    return columns


def _written_element(column: _Column) -> bytes:
    element = column.element
    if element.get(_TYPE) == _FIXED and not 0 < _int(element, _LENGTH) <= _LONGEST_FIXED:
        raise ValueError(f"the column '{column.name}' has values of {_int(element, _LENGTH)} bytes")
    kept: dict[int, Encoded] = {number: i32(_int(element, number)) for number in _KEPT_OF_ELEMENT if number in element}
    kept[_NAME] = text(column.name.encode())
    logical = element.get(_LOGICAL)
    if isinstance(logical, Record):
        kept[_LOGICAL] = nested(logical.raw)
    return struct(kept)


def _chunk_of(group: Record, leaf: int) -> Record:
    listed = _list(group.get(1))
    if leaf >= len(listed):
        raise ValueError("a row group lacks a column")
    return _record(_record(listed[leaf]).get(3))


def _place(chunk: Record, name: str, rows: int) -> Chunk:
    if _int(chunk, _VALUES) != rows:
        raise ValueError(f"the column '{name}' has {_int(chunk, _VALUES)} values in {rows} rows")
    start = _int(chunk, _DATA_AT)
    if _DICTIONARY_AT in chunk and 0 < _int(chunk, _DICTIONARY_AT) < start:
        start = _int(chunk, _DICTIONARY_AT)
    return Chunk(start, _int(chunk, _PACKED))


def _written_chunk(name: str, chunk: Record) -> bytes:
    encodings = [i32(value)[1] for value in _list(chunk.get(_ENCODINGS)) if isinstance(value, int)]
    kept: dict[int, Encoded] = {
        1: i32(_int(chunk, 1)),
        _ENCODINGS: list_of(encodings, of=i32(0)[0]),
        3: list_of([text(name.encode())[1]], of=text(b"")[0]),
        _CODEC: i32(_int(chunk, _CODEC)),
        **{number: i64(_int(chunk, number)) for number in (_VALUES, _UNPACKED, _PACKED, _DATA_AT)},
    }
    if _DICTIONARY_AT in chunk:
        kept[_DICTIONARY_AT] = i64(_int(chunk, _DICTIONARY_AT))
    return struct({2: i64(0), 3: nested(struct(kept))})


def _record(value: Value | None) -> Record:
    if not isinstance(value, Record):
        raise ValueError("its metadata lacks a part")  # noqa: TRY004 - the content is wrong
    return value


def _list(value: Value | None) -> list[Value]:
    return value if isinstance(value, list) else []


def _int(record: Record, number: int) -> int:
    value = record.get(number, 0)
    if not isinstance(value, int):
        raise ValueError("its metadata has a text for a number")  # noqa: TRY004 - the content is wrong
    return value


def _name(element: Record) -> str:
    name = element.get(_NAME)
    if not isinstance(name, bytes):
        raise ValueError("a column has no name")  # noqa: TRY004 - the content is wrong
    return name.decode()
