"""Reads CSV: any delimiter, quotes after RFC 4180, any encoding; each value comes as text.

A line with another number of fields than the header comes as a defect with its text, and so does a row with bytes that
are not in the encoding; the rows around them come as they are. A quote that is opened and never closed refuses the
file, since the rest of it would be one value.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from loopwright.data.sources.compression import opened
from loopwright.data.sources.unit import (
    BLOCK_BYTES,
    DEFECT,
    ROW,
    SHOWN_CHARACTERS,
    TEXT,
    UnreadableUnitError,
    check_header,
    numbered,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.data.sources.files import FilesSource

_HEAD_BYTES = 1 << 20
_QUOTED = re.compile(r'"[^"]*"')
_Broken = tuple[int, str, str]  # row, reason, text


def read_csv(path: Path, source: FilesSource) -> Iterator[pa.Table]:
    """Read a CSV file in blocks of 8 MiB.

    Raises:
        UnreadableUnitError: If its header cannot be used, or a quote is never closed.
    """
    with opened(path) as file:
        head = file.read(_HEAD_BYTES)
    if not head.strip():
        return
    encoding = encoding_of(head, source.encoding)
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    lines = io.StringIO(text.lstrip("\r\n"), newline=None)
    blank_lines = len(text[: len(text) - len(text.lstrip("\r\n"))].splitlines())
    delimiter = source.delimiter or _delimiter(text.lstrip("\r\n"), path)
    names = next(csv.reader(lines, delimiter=delimiter))
    check_header(names)
    if len(head) < _HEAD_BYTES and not lines.read().strip("\n"):
        yield numbered(pa.table({name: pa.array([], pa.string()) for name in names}), 0)
        return
    plain = _Layout(names, delimiter, blank_lines, encoding)
    taken = 0
    try:
        for batch in _csv_batches(path, plain):
            yield batch
            taken = pc.max(batch[ROW]).as_py() + 1 if batch.num_rows else taken
    except _UndecodableError:
        for batch in _csv_batches(path, replace(plain, is_bytewise=True)):
            yield batch.filter(pc.greater_equal(batch[ROW], taken))


@dataclass(frozen=True)
class _Layout:
    """How a CSV file is taken apart.

    Attributes:
        is_bytewise: Whether it has bytes that its encoding has not, and is read byte by byte: each as the sign of
            Latin-1 that it would be, and back to bytes afterwards.
    """

    names: list[str]
    delimiter: str
    blank_lines: int
    encoding: str
    is_bytewise: bool = False


class _UndecodableError(Exception):
    """A file has bytes that are not in its encoding."""


class _Watched(io.RawIOBase):
    """A file of UTF-8 that stops at the first byte that is none.

    The parser takes such bytes as they are, but not in a row with the wrong number of fields: there it gives up.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        try:
            self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise _UndecodableError(str(error)) from error
        return data


def _csv_batches(path: Path, layout: _Layout) -> Iterator[pa.Table]:
    broken: deque[_Broken] = deque()
    is_utf8 = codecs.lookup(layout.encoding).name in {"utf-8", "utf-8-sig", "ascii"}

    def note(row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        text = row.text.encode("latin-1").decode("utf-8", errors="replace") if layout.is_bytewise else row.text
        broken.append((row.number - 2 - layout.blank_lines, reason, text[:SHOWN_CHARACTERS]))
        return "skip"

    with opened(path) as file:
        reader = pacsv.open_csv(
            pa.PythonFile(_Watched(file) if is_utf8 and not layout.is_bytewise else file, mode="r"),
            read_options=pacsv.ReadOptions(
                column_names=layout.names,
                skip_rows=layout.blank_lines,
                skip_rows_after_names=1,
                use_threads=False,
                block_size=BLOCK_BYTES,
                encoding="latin-1" if layout.is_bytewise else layout.encoding,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=note, ignore_empty_lines=True
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(layout.names, pa.binary()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        position = 0
        last = ""  # the end of the file's last row, which an open quote makes run to the end of the file
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            inside = _broken_inside(broken, position, batch.num_rows)
            yield _csv_batch(_as_bytes(batch) if layout.is_bytewise else batch, position, inside)
            position += batch.num_rows + len(inside)
            if batch.num_rows:
                last = _shown(batch.column(batch.num_columns - 1)[-1].as_py())
        if broken or position == 0:
            last = broken[-1][2] if broken else last
            yield _csv_batch(reader.schema.empty_table(), position, list(broken))
        _refuse_open_quote(path, last, position + len(broken) - 1)


def _as_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give values that were read as Latin-1 their bytes back."""
    columns = [
        pa.array([None if one is None else one.decode().encode("latin-1") for one in values.to_pylist()], pa.binary())
        for values in batch.columns
    ]
    return pa.record_batch(columns, names=batch.schema.names)


def encoding_of(head: bytes, declared: str) -> str:
    """Return the encoding that a byte order mark tells, else the declared one.

    >>> encoding_of("a".encode("utf-16"), "utf-8"), encoding_of(b"a", "latin-1")
    ('utf-16', 'latin-1')
    """
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else declared


def _shown(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", errors="replace")


def _refuse_open_quote(path: Path, last: str, row: int) -> None:
    """Refuse a file whose last row holds line ends and whose quotes do not come in pairs."""
    if "\n" not in last and "\r" not in last:
        return
    quotes = 0
    with opened(path) as file:
        while block := file.read(BLOCK_BYTES):
            quotes += block.count(b'"')
    if quotes % 2:
        raise UnreadableUnitError(f"row {row}: a quote is opened and never closed, so the rest would be one value")


def _broken_inside(broken: deque[_Broken], position: int, rows: int) -> list[_Broken]:
    """Take the broken rows that lie among the ``rows`` good ones from ``position`` on; the reader is blocks ahead."""
    end = position + rows
    inside = []
    while broken and broken[0][0] < end:
        inside.append(broken.popleft())
        end += 1
    return inside


def _csv_batch(batch: pa.RecordBatch | pa.Table, position: int, broken: list[_Broken]) -> pa.Table:
    """Decode a block and give its rows the numbers they have in the file, broken ones counted."""
    defects: dict[int, str] = {}
    columns = [decoded(name, batch.column(name), defects) for name in batch.schema.names]
    total = batch.num_rows + len(broken)
    rows = np.arange(position, position + total, dtype=np.int64)
    if broken:
        rows = rows[~np.isin(rows, [number for number, _, _ in broken])]
    table = pa.table([*columns, pa.array(rows)], names=[*batch.schema.names, ROW])
    if not broken and not defects:
        return table
    reasons: list[str | None] = [defects.get(index) for index in range(table.num_rows)]
    texts = [None] * table.num_rows
    table = table.append_column(DEFECT, pa.array(reasons, pa.string()))
    table = table.append_column(TEXT, pa.array(texts, pa.string()))
    if not broken:
        return table
    extra = pa.table(
        {
            ROW: pa.array([number for number, _, _ in broken], pa.int64()),
            DEFECT: pa.array([f"csv: {reason}" for _, reason, _ in broken], pa.string()),
            TEXT: pa.array([text for _, _, text in broken], pa.string()),
        }
    )
    return pa.concat_tables([table, extra], promote_options="default")


def decoded(name: str, values: pa.Array | pa.ChunkedArray, defects: dict[int, str]) -> pa.Array | pa.ChunkedArray:
    """Turn bytes into texts; note the rows whose bytes are not UTF-8, with the reason."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        for index, value in enumerate(values.to_pylist()):
            try:
                texts.append(None if value is None else value.decode("utf-8"))
            except UnicodeDecodeError:
                texts.append(value.decode("utf-8", errors="replace"))
                defects[index] = f"encoding: {name} is not valid UTF-8"
        return pa.array(texts, pa.string())


def _delimiter(text: str, path: Path) -> str:
    if ".tsv" in path.name.lower():
        return "\t"
    line = _QUOTED.sub("", text).split("\n", 1)[0]
    counts = {sign: line.count(sign) for sign in ",;\t|"}
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] else ","
