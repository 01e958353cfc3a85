"""Reads table files (CSV, Parquet, JSON Lines, also compressed) in batches of bounded size."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from loopwright.data.sources.files import FilesSource, format_of
from loopwright.data.sources.jsonlines import read_json_lines
from loopwright.data.sources.unit import (
    BATCH_ROWS,
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

_HEAD_BYTES = 1 << 20
_Broken = tuple[int, str, str]  # row, reason, text


def read_file(path: Path, source: FilesSource) -> Iterator[pa.Table]:
    """Read a table file by its format.

    Raises:
        UnreadableUnitError: If the content is not what the format says.
        OSError: If the file cannot be opened.
    """
    kind = source.format or format_of(path.name)
    try:
        if kind == "parquet":
            yield from _read_parquet(path)
        elif kind == "jsonl":
            with _opened(path) as file:
                yield from read_json_lines(file, source.encoding)
        elif kind == "csv":
            yield from _read_csv(path, source)
        else:
            raise UnreadableUnitError(
                f"the extension of {path.name} names no known format; say format='csv', 'parquet' or 'jsonl'"
            )
    except (
        pa.ArrowInvalid,
        pa.ArrowKeyError,
        pa.ArrowNotImplementedError,
        UnicodeError,
        LookupError,
        csv.Error,
    ) as error:
        raise UnreadableUnitError(_first_line(error)) from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise UnreadableUnitError(f"the compressed file is damaged: {_first_line(error)}") from error


def is_text_format(path: Path, source: FilesSource) -> bool:
    """Tell whether the file's format gives every value as text."""
    return (source.format or format_of(path.name)) != "parquet"


def has_header_format(path: Path, source: FilesSource) -> bool:
    """Tell whether all rows of the file's format have the same columns."""
    return (source.format or format_of(path.name)) != "jsonl"


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:300] or type(error).__name__


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    name = path.name.lower()
    if name.endswith(".gz"):
        with gzip.open(path, "rb") as file:
            yield cast("BinaryIO", file)
    elif name.endswith(".bz2"):
        with bz2.open(path, "rb") as file:
            yield cast("BinaryIO", file)
    elif name.endswith(".zst"):
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as file:
            yield file
    else:
        with path.open("rb") as file:
            yield file


def _read_parquet(path: Path) -> Iterator[pa.Table]:
    if path.stat().st_size == 0:
        return
    first = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            yield numbered(pa.Table.from_batches([batch]), first)
            first += batch.num_rows
        if first == 0:
            yield numbered(file.schema_arrow.empty_table(), 0)


def _read_csv(path: Path, source: FilesSource) -> Iterator[pa.Table]:
    with _opened(path) as file:
        head = file.read(_HEAD_BYTES)
    if not head.strip():
        return
    text = head.decode(source.encoding, errors="replace").removeprefix("\ufeff")
    delimiter = source.delimiter or _delimiter(text, path)
    names = next(csv.reader(io.StringIO(text), delimiter=delimiter))
    check_header(names)
    if len(head) < _HEAD_BYTES and len(text.strip("\r\n").splitlines()) == 1:
        yield numbered(pa.table({name: pa.array([], pa.string()) for name in names}), 0)
        return
    broken: deque[_Broken] = deque()

    def note(row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        broken.append((row.number - 2, reason, row.text[:SHOWN_CHARACTERS]))
        return "skip"

    with _opened(path) as file:
        reader = pacsv.open_csv(
            pa.PythonFile(file, mode="r"),
            read_options=pacsv.ReadOptions(
                column_names=names, skip_rows=1, use_threads=False, block_size=BLOCK_BYTES, encoding=source.encoding
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
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            inside = _broken_inside(broken, position, batch.num_rows)
            yield _csv_batch(batch, position, inside)
            position += batch.num_rows + len(inside)
        if broken or position == 0:
            yield _csv_batch(reader.schema.empty_table(), position, list(broken))


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
    line = text.split("\n", 1)[0]
    counts = {sign: line.count(sign) for sign in ",;\t|"}
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] else ","
