"""Reads table files in batches of bounded size: chooses the reader of a format, and reads CSV."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from loopwright.data.sources.avro import read_avro
from loopwright.data.sources.columnar import read_arrow, read_orc, read_parquet
from loopwright.data.sources.compression import opened
from loopwright.data.sources.files import TABLES, FilesSource, format_of
from loopwright.data.sources.jsonlines import read_json_lines
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

_COLUMNAR = {"parquet": read_parquet, "arrow": read_arrow, "orc": read_orc, "avro": read_avro}
_HEAD_BYTES = 1 << 20
_QUOTED = re.compile(r'"[^"]*"')
_Broken = tuple[int, str, str]  # row, reason, text


def read_file(path: Path, source: FilesSource) -> Iterator[pa.Table]:
    """Read a table file by its format.

    Raises:
        UnreadableUnitError: If the content is not what the format says, with the row up to which it could be read.
        OSError: If the file cannot be opened.
    """
    rows = 0
    try:
        for batch in _by_format(path, source):
            rows += batch.num_rows
            yield batch
    except UnreadableUnitError as error:
        raise UnreadableUnitError(_after(rows, str(error))) from error
    except (pa.ArrowException, UnicodeError, LookupError, csv.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the machine; a decoder's has no number
            raise
        what = "" if is_text_format(path, source) else "the file is damaged or not complete: "
        raise UnreadableUnitError(_after(rows, what + _first_line(error))) from error


def is_text_format(path: Path, source: FilesSource) -> bool:
    """Tell whether the file's format gives every value as text."""
    return (source.format or format_of(path.name)) in {"csv", "jsonl"}


def has_header_format(path: Path, source: FilesSource) -> bool:
    """Tell whether all rows of the file's format have the same columns."""
    return (source.format or format_of(path.name)) != "jsonl"


def _by_format(path: Path, source: FilesSource) -> Iterator[pa.Table]:
    kind = source.format or format_of(path.name)
    if kind not in TABLES:
        known = ", ".join(f"'{name}'" for name in TABLES)
        raise UnreadableUnitError(f"the extension of {path.name} names no table format; say format= {known}")
    if path.stat().st_size == 0:
        return
    if kind == "csv":
        yield from _read_csv(path, source)
    elif kind == "jsonl":
        with opened(path) as file:
            yield from read_json_lines(file, source.encoding)
    else:
        first = 0
        for batch in _COLUMNAR[kind](path):
            yield _checked(numbered(batch, first))
            first += batch.num_rows


def _checked(batch: pa.Table) -> pa.Table:
    """Refuse a batch whose buffers contradict each other; a text that is not valid UTF-8 makes its row a defect.

    Neither is checked by the readers, and both end in a crash elsewhere.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        defects: dict[int, str] = {}
        for index, (name, column) in enumerate(zip(batch.column_names, batch.columns, strict=True)):
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                large = pa.types.is_large_string(column.type)
                raw = column.cast(pa.large_binary() if large else pa.binary())
                raw.validate(full=True)
                batch = batch.set_column(index, name, _decoded(name, raw, defects))
        batch.validate(full=True)
        reasons = pa.array([defects.get(index) for index in range(batch.num_rows)], pa.string())
        batch = batch.append_column(DEFECT, reasons).append_column(TEXT, pa.nulls(batch.num_rows, pa.string()))
    return batch


def _after(rows: int, reason: str) -> str:
    return f"{reason} (after row {rows - 1}; nothing of the file was taken)" if rows else reason


def _first_line(error: BaseException) -> str:
    text = str(error).split("\n", 1)[0][:300] or type(error).__name__
    if "straddl" in text:
        return f"a line, or a value in quotes, is longer than {BLOCK_BYTES >> 20} MiB; is a quote not closed?"
    return text


def _read_csv(path: Path, source: FilesSource) -> Iterator[pa.Table]:
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
    broken: deque[_Broken] = deque()

    def note(row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        broken.append((row.number - 2 - blank_lines, reason, row.text[:SHOWN_CHARACTERS]))
        return "skip"

    with opened(path) as file:
        reader = pacsv.open_csv(
            pa.PythonFile(file, mode="r"),
            read_options=pacsv.ReadOptions(
                column_names=names,
                skip_rows=blank_lines,
                skip_rows_after_names=1,
                use_threads=False,
                block_size=BLOCK_BYTES,
                encoding=encoding,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note, ignore_empty_lines=True
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
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
            yield _csv_batch(batch, position, inside)
            position += batch.num_rows + len(inside)
            if batch.num_rows:
                last = _shown(batch.column(batch.num_columns - 1)[-1].as_py())
        if broken or position == 0:
            last = broken[-1][2] if broken else last
            yield _csv_batch(reader.schema.empty_table(), position, list(broken))
        _refuse_open_quote(path, last, position + len(broken) - 1)


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
    columns = [_decoded(name, batch.column(name), defects) for name in batch.schema.names]
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


def _decoded(name: str, values: pa.Array | pa.ChunkedArray, defects: dict[int, str]) -> pa.Array | pa.ChunkedArray:
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
