"""Columns as they lie in files, read as a request's fields: whole columns at a time, bad cells found and not raised.

What a cell may be is what a request's value may be (`loopwright.features.request`), and a text in a column that is no
text is read as what the field is: files of texts have nothing else. A cell that cannot be read makes its row a fault.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.features.request import RequestField
    from loopwright.features.row_batch import Column

_NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[nN][aA][nN]|[iI][nN][fF](inity)?)\s*$"
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")
_EXPECTED = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "timestamp": "a time such as 2026-01-31T12:00:00Z",
    "date": "a date such as 2026-01-31",
    "image": "bytes, or base64 text",
    "audio": "bytes, or base64 text",
}
_SHOWN = 80


@dataclass(frozen=True)
class Fault:
    """Why a row cannot be scored; ``field`` is None where no single one is the reason."""

    field: str | None
    reason: str


@dataclass(frozen=True)
class ReadColumn:
    """A column as a `RowBatch` takes it, and where it cannot be taken.

    Attributes:
        values: One per row; a bad cell holds a missing value.
        bad: Which cells cannot be read, shape (rows,); None where all can.
        missing: Which cells are missing, shape (rows,); None where none is.
    """

    values: Column
    bad: NDArray[np.bool_] | None = None
    missing: NDArray[np.bool_] | None = None


def read_column(column: pa.Array, field: RequestField) -> ReadColumn:
    """Read one column as a field."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if field.shape:
        return _arrays(column, field)
    missing = _mask(pc.is_null(column)) if column.null_count else None
    if pa.types.is_null(column.type):
        return ReadColumn([None] * len(column), None, missing)
    match field.type:
        case "float":
            return _floats(column, missing)
        case "int":
            return _whole(column, missing)
        case "bool":
            return _truths(column, missing)
        case "timestamp" | "date":
            return _times(column, missing)
        case "image" | "audio":
            return _payloads(column, missing)
        case _:
            return _texts(column, missing)


def find_faults(batch: pa.RecordBatch, fields: tuple[RequestField, ...]) -> tuple[dict[str, Column], dict[int, Fault]]:
    """Read the fields that a batch has, and say which rows cannot be scored, and why: of several reasons, the first."""
    columns: dict[str, Column] = {}
    faults: dict[int, Fault] = {}
    there = set(batch.schema.names)
    for field in fields:
        if field.name not in there:
            if field.required:
                absent = Fault(field.name, f"The field '{field.name}' is missing; {_expected(field)} is expected.")
                faults = {row: faults.get(row, absent) for row in range(batch.num_rows)}
            continue
        column = batch.column(field.name)
        read = read_column(column, field)
        columns[field.name] = read.values
        if field.required and read.missing is not None:
            for row in np.flatnonzero(read.missing).tolist():
                faults.setdefault(row, Fault(field.name, f"The field '{field.name}' is missing."))
        if read.bad is not None:
            for row in np.flatnonzero(read.bad).tolist():
                shown = "" if field.hidden else f", got {_shown(column[row])}"
                faults.setdefault(row, Fault(field.name, f"'{field.name}' must be {_expected(field)}{shown}."))
    return columns, faults


def kept(columns: dict[str, Column], places: NDArray[np.intp]) -> dict[str, Column]:
    """Return some rows of columns."""
    chosen = places.tolist()
    return {
        name: [values[place] for place in chosen] if isinstance(values, list) else values[places]
        for name, values in columns.items()
    }


def _expected(field: RequestField) -> str:
    return _EXPECTED.get(field.type, "a text")


def _shown(value: pa.Scalar) -> str:
    try:
        text = repr(value.as_py())
    except (ValueError, OverflowError):  # a time beyond Python's years
        text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _mask(values: pa.Array) -> NDArray[np.bool_]:
    return cast("NDArray[np.bool_]", values.to_numpy(zero_copy_only=False))


def _either(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _all_bad(column: pa.Array, missing: NDArray[np.bool_] | None) -> ReadColumn:
    bad = np.ones(len(column), dtype=np.bool_)
    return ReadColumn([None] * len(column), bad if missing is None else ~missing, missing)


def _floats(column: pa.Array, missing: NDArray[np.bool_] | None) -> ReadColumn:
    bad = None
    if _is_text(column.type):
        blank = pc.equal(pc.utf8_trim_whitespace(column), "")
        readable = pc.fill_null(pc.match_substring_regex(column, _NUMBER), fill_value=False)
        missing = _either(missing, _mask(pc.fill_null(blank, fill_value=True)))
        unread = ~_mask(readable)
        bad = unread if missing is None else unread & ~missing
        column = pc.cast(pc.utf8_trim_whitespace(pc.if_else(readable, column, None)), pa.float64())
        bad = bad if bad.any() else None
    elif not _is_number(column.type):
        return _all_bad(column, missing)
    elif column.type != pa.float64():
        column = pc.cast(column, pa.float64(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, float("nan"))
    values = cast("NDArray[np.float64]", column.to_numpy(zero_copy_only=False))
    lacking = np.isnan(values)
    if lacking.any():
        missing = _either(missing, lacking if bad is None else lacking & ~bad)
    return ReadColumn(cast("Column", values), bad, missing)


def _whole(column: pa.Array, missing: NDArray[np.bool_] | None) -> ReadColumn:
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type) and missing is None:
        return ReadColumn(column.cast(pa.int64()).to_numpy(zero_copy_only=False))
    read = _floats(column, missing)
    if isinstance(read.values, list):
        return read
    numbers = cast("NDArray[np.float64]", read.values)
    with np.errstate(invalid="ignore"):
        odd = ~np.isnan(numbers) & ((np.floor(numbers) != numbers) | (np.abs(numbers) >= 2.0**63))
    bad = _either(read.bad, odd if odd.any() else None)
    if read.missing is None and bad is None and not pa.types.is_integer(column.type):
        return ReadColumn(cast("Column", numbers.astype(np.int64)))
    if pa.types.is_integer(column.type):  # exact beyond 2^53
        whole = column.to_pylist()
    else:
        whole = [int(one) if np.isfinite(one) and one == np.floor(one) else None for one in numbers.tolist()]
    return ReadColumn(cast("Column", whole), bad, read.missing)


def _truths(column: pa.Array, missing: NDArray[np.bool_] | None) -> ReadColumn:
    if pa.types.is_boolean(column.type):
        if missing is None:
            return ReadColumn(column.to_numpy(zero_copy_only=False))
        return ReadColumn(cast("Column", column.to_pylist()), None, missing)
    if not _is_text(column.type):
        return _all_bad(column, missing)
    texts = [None if one is None else one.strip().lower() for one in column.to_pylist()]
    values = [True if one in _TRUE else False if one in _FALSE else None for one in texts]
    missing = np.array([not one for one in texts], dtype=np.bool_)
    bad = np.array([value is None for value in values], dtype=np.bool_) & ~missing
    return ReadColumn(cast("Column", values), bad if bad.any() else None, missing if missing.any() else None)


def _times(column: pa.Array, missing: NDArray[np.bool_] | None) -> ReadColumn:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        values = column.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
        return ReadColumn([None if np.isnat(one) else one for one in values], None, missing)
    if not _is_text(kind):
        return _all_bad(column, missing)
    values, bad = [], np.zeros(len(column), dtype=np.bool_)
    blank = np.zeros(len(column), dtype=np.bool_)
    for row, text in enumerate(column.to_pylist()):
        value = None
        if text is None or not text.strip():
            blank[row] = True
        else:
            try:
                parsed = datetime.fromisoformat(text.strip())
                value = parsed if parsed.tzinfo is None else parsed.astimezone(UTC).replace(tzinfo=None)
            except (ValueError, OverflowError):
                bad[row] = True
        values.append(value)
    return ReadColumn(cast("Column", values), bad if bad.any() else None, blank if blank.any() else None)


def _payloads(column: pa.Array, missing: NDArray[np.bool_] | None) -> ReadColumn:
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return ReadColumn(cast("Column", column.to_pylist()), None, missing)
    if not _is_text(column.type):
        return _all_bad(column, missing)
    values, bad = [], np.zeros(len(column), dtype=np.bool_)
    for row, text in enumerate(column.to_pylist()):
        value = None
        if text is not None:
            try:
                value = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                bad[row] = True
        values.append(value)
    return ReadColumn(cast("Column", values), bad if bad.any() else None, missing)


def _texts(column: pa.Array, missing: NDArray[np.bool_] | None) -> ReadColumn:
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    elif not _is_text(column.type):
        return _all_bad(column, missing)
    return ReadColumn(cast("Column", column.to_pylist()), None, missing)


def _arrays(column: pa.Array, field: RequestField) -> ReadColumn:
    """Read a column of lists: each row as many numbers as the field's shape takes."""
    kind = column.type
    missing = _mask(pc.is_null(column)) if column.null_count else None
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list:
        return _all_bad(column, missing)
    wrong = _mask(pc.not_equal(pc.fill_null(pc.list_value_length(column), field.width), field.width))
    if missing is None and not wrong.any() and column.flatten().null_count == 0:
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return ReadColumn(flat.reshape(len(column), *field.shape))
    values = [None if one is None else np.asarray(one, dtype=object).reshape(-1).tolist() for one in column.to_pylist()]
    return ReadColumn(cast("Column", values), wrong if wrong.any() else None, missing)
