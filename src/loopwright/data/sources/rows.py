"""Rows as a server hands them over, in Python's values, and how they become Arrow columns without losing a value.

==============================  ========================================================================================
integers                        int64; one beyond 64 bits makes its column text
decimals                        as declared (``NUMERIC(12, 2)`` is decimal(12, 2)); with none, exact text, which a
                                contract's ``float`` or ``int`` reads
floats, booleans, bytes, dates  as they are
times                           microseconds in UTC; without a zone they are taken to be UTC
JSON, arrays, documents         JSON text
UUIDs, times of day, intervals  text
values that do not fit          the column of that batch becomes text, and the contract judges it cell by cell
==============================  ========================================================================================
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MOMENT = pa.timestamp("us", tz="UTC")
_DIGEST_BYTES = 12
_INFERRED: dict[frozenset[type], pa.DataType] = {
    frozenset({bool}): pa.bool_(),
    frozenset({int}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({int, float}): pa.float64(),
    frozenset({str}): pa.string(),
    frozenset({bytes}): pa.binary(),
    frozenset({datetime}): MOMENT,
    frozenset({date}): pa.date32(),
}

Row = tuple[object, ...]


@dataclass(frozen=True)
class Rows:
    """Some rows of a server.

    Attributes:
        names: The columns.
        values: The rows, each as long as ``names``.
        types: The columns' types where the server says them, else None.
    """

    names: tuple[str, ...]
    values: Sequence[Row]
    types: tuple[pa.DataType | None, ...]

    def to_table(self, *, keeps_empty: bool = True) -> pa.Table:
        """Return the rows as a table.

        Args:
            keeps_empty: Whether a column without a type and without a value stays.
        """
        columns = list(zip(*self.values, strict=True)) if self.values else [()] * len(self.names)
        made = {name: _array(column, kind) for name, column, kind in zip(self.names, columns, self.types, strict=True)}
        if not keeps_empty:
            made = {name: array for name, array in made.items() if not pa.types.is_null(array.type)}
            if not made and self.values:
                made = {self.names[0]: pa.nulls(len(self.values), pa.string())}
        return pa.table(made)

    def digest(self, row: Row, among: Collection[str] | None = None) -> str:
        """Return a digest of one row's values, 16 characters; nulls and columns not ``among`` do not count."""
        content = {
            name: value
            for name, value in zip(self.names, row, strict=True)
            if value is not None and (among is None or name in among)
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_told)
        return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()).decode()


def text_of(value: object) -> str:
    """Return a value as text, exactly.

    >>> text_of(Decimal("1E+3")), text_of(True), text_of({"a": [1, None]})
    ('1000', 'true', '{"a": [1, null]}')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", errors="backslashreplace")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=text_of)
    return str(value)


def _told(value: object) -> str:
    return f"{type(value).__name__}:{text_of(value)}"


def _array(values: Sequence[object], kind: pa.DataType | None) -> pa.Array:
    found = {type(value) for value in values if value is not None}
    if memoryview in found or bytearray in found:
        values = [bytes(one) if isinstance(one, (memoryview, bytearray)) else one for one in values]
        found = {type(value) for value in values if value is not None}
    if kind is None:
        kind = _INFERRED.get(frozenset(found)) if found else pa.null()
    if kind is not None:
        try:
            return pa.array(_fitting(values, kind, found), kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError, OverflowError):
            pass
    return pa.array([None if value is None else text_of(value) for value in values], pa.string())


def _fitting(values: Sequence[object], kind: pa.DataType, found: set[type]) -> Sequence[object]:
    """Bring values that mean the type, such as SQLite's texts for times, into it.

    Raises:
        ValueError: If one does not mean it; Arrow would take a number for a time without a word.
    """
    if pa.types.is_timestamp(kind):
        if found <= {datetime}:
            return values
        return [None if one is None else _moment(one) for one in values]
    if pa.types.is_date(kind):
        if found <= {date}:
            return values
        return [None if one is None else _day(one) for one in values]
    if pa.types.is_boolean(kind):
        if not all(one is None or one in (0, 1) for one in values):
            raise ValueError("a value is no truth value")
        return [None if one is None else bool(one) for one in values]
    if bool in found and not pa.types.is_string(kind):
        raise ValueError("a truth value is no number")
    if pa.types.is_string(kind) and not found <= {str}:
        return [None if one is None else text_of(one) for one in values]
    return values


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return datetime.fromisoformat(value.strip())
    raise ValueError("a value is no time")


def _day(value: object) -> date:
    if type(value) is date:
        return value
    if isinstance(value, str):
        return date.fromisoformat(value.strip())
    raise ValueError("a value is no day")
