"""Reads table files in batches of bounded size, each format by its reader."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.data.sources.avro import read_avro
from loopwright.data.sources.columnar import read_arrow, read_orc, read_parquet
from loopwright.data.sources.compression import opened
from loopwright.data.sources.csv_file import decoded, read_csv
from loopwright.data.sources.files import TABLES, format_of
from loopwright.data.sources.jsonlines import read_json_lines
from loopwright.data.sources.unit import BLOCK_BYTES, DEFECT, TEXT, UnreadableUnitError, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.data.sources.files import FilesSource

_COLUMNAR = {"parquet": read_parquet, "arrow": read_arrow, "orc": read_orc, "avro": read_avro}


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
        yield from read_csv(path, source)
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
                batch = batch.set_column(index, name, decoded(name, raw, defects))
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
