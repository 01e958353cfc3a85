"""CSV as a request body: one header row, the values typed by the model's fields, an empty cell is a missing value."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from loopwright.core.error_text import short_text
from loopwright.core.errors import InvalidRequestError
from loopwright.serving.bodies.table_body import check_names
from loopwright.serving.http.message import BadFieldError

if TYPE_CHECKING:
    from collections.abc import Collection

    from loopwright.serving.bodies.table_columns import Values

_LONGEST_HEADER = 1 << 20
_ROW = re.compile(r"Row #(\d+)")
_TRUTHS: dict[str | None, bool | None] = {"true": True, "1": True, "false": False, "0": False, "": None, None: None}


def read_csv(body: bytes, names: Collection[str]) -> tuple[pa.Table, list[str]]:
    """Read the named columns of a CSV file in UTF-8 as texts, and say which others it has.

    Args:
        body: A header row and the rows: commas, double quotes, line ends within quotes. An empty cell is a missing
            value, an empty text is written ``""``.
        names: The columns that are wanted.

    Raises:
        InvalidRequestError: When it is no such file; says in which row, where it can.
        TooLargeError: When it has more than 10,000 columns.
    """
    present = _header(body)
    check_names(present)
    wanted = [name for name in present if name in names]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(body),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(body) + 1024),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted or present[:1],
                column_types=dict.fromkeys(wanted or present[:1], pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = short_text(error)
        numbered = _ROW.search(said)
        row = None if numbered is None else max(0, int(numbered[1]) - 2)  # the header is Arrow's first row
        raise BadFieldError(f"The body cannot be read as CSV: {said}.", row=row) from error
    return table, [name for name in present if name not in names]


def _header(body: bytes) -> list[str]:
    head = body[:_LONGEST_HEADER].decode("utf-8-sig", "replace")
    try:
        names = next(csv.reader(io.StringIO(head, newline="")), None)
    except csv.Error as error:
        raise InvalidRequestError(f"The header row cannot be read: {error}.") from error
    if not names:
        raise InvalidRequestError("The body has no header row.", hint="Begin with the names of the columns.")
    return names


def typed_texts(name: str, kind: str, column: pa.ChunkedArray) -> Values:
    """Return a column of texts as the values of a field.

    Args:
        name: The field's name.
        kind: Its declared type; times, texts and payloads stay what they are.
        column: The texts; None where a cell was empty.

    Raises:
        BadFieldError: When a text is no value of the type; says in which row.
    """
    match kind:
        case "float" | "int":
            return _numbers(name, column, whole=kind == "int")
        case "bool":
            texts = cast("list[str | None]", column.to_pylist())
            truths = [_TRUTHS.get(text if text is None else text.strip().lower(), text) for text in texts]
            for row, truth in enumerate(truths):
                if isinstance(truth, str):
                    raise _wrong(row, name, "true or false", truth)
            return cast("list[object]", truths)
        case "timestamp" | "date":
            return [text or None for text in column.to_pylist()]
        case _:
            return cast("list[object]", column.to_pylist())


def _numbers(name: str, column: pa.ChunkedArray, *, whole: bool) -> Values:
    trimmed = pc.utf8_trim_whitespace(column)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    try:
        numbers = trimmed.cast(pa.int64() if whole else pa.float64())
    except pa.ArrowInvalid:
        return [_number(row, name, text, whole=whole) for row, text in enumerate(trimmed.to_pylist())]
    if numbers.null_count:
        return cast("list[object]", numbers.to_pylist())
    return cast("Values", numbers.to_numpy())


def _number(row: int, name: str, text: str | None, *, whole: bool) -> int | float | None:
    if text is None:
        return None
    try:
        if whole:
            digits, _, fraction = text.partition(".")
            if not fraction.strip("0"):  # 5.0 is what a table with gaps makes of 5
                return int(digits)
        if "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise _wrong(row, name, "a whole number" if whole else "a number", text)


def _wrong(row: int, name: str, expected: str, text: str) -> BadFieldError:
    shown = repr(text if len(text) <= 60 else text[:59] + "…")
    return BadFieldError(f"Row {row}: the field '{name}' must be {expected}, got {shown}.", field=name, row=row)
