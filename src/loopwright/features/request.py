"""Request fields: what a client must send, and how it becomes arrays.

A request is a list of rows as JSON gives them. Every value is checked against the declared type; the first wrong one is
reported with its row, field, expected type and value.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import numpy as np

from loopwright.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from loopwright.features.columns import Array

ValueType = Literal["float", "int", "bool", "string", "category", "timestamp", "date", "image", "audio", "text"]
Row = Mapping[str, object]

PAYLOADS: frozenset[str] = frozenset({"image", "audio"})
LARGEST_EXACT = 2**53 - 1
"""Above it a 64-bit float may stand for a whole number that was rounded."""
_MISSING = object()
_EXPECTED = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "a text",
    "category": "a text",
    "timestamp": "a time such as 2026-01-31T12:00:00Z",
    "date": "a date such as 2026-01-31",
    "image": "bytes, or base64 text",
    "audio": "bytes, or base64 text",
    "text": "a text",
}


@dataclass(frozen=True)
class RequestField:
    """One field that a request row has.

    Attributes:
        name: Its name in the row.
        type: Its declared column type.
        required: Whether a row without it, or with null, is refused.
        hidden: What the dataset holds in its place: ``hash`` for pseudonyms, ``mask`` for outlines, None for the value.
        shape: Empty for one value per row; otherwise the shape of each row's array of numbers or booleans.
    """

    name: str
    type: ValueType
    required: bool = True
    hidden: Literal["hash", "mask"] | None = None
    shape: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """How many values one row has (1 for a scalar)."""
        return math.prod(self.shape)

    @property
    def is_payload(self) -> bool:
        """Whether the value is bytes (an image, audio)."""
        return self.type in PAYLOADS

    def to_json(self) -> dict[str, object]:
        """Return the field as plain JSON values."""
        plain = {"name": self.name, "type": self.type, "required": self.required, "hidden": self.hidden}
        return {**plain, "shape": list(self.shape)} if self.shape else plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RequestField:
        """Read a field as ``to_json`` wrote it."""
        shape = tuple(value.get("shape", ()))
        return cls(value["name"], value["type"], value["required"], value.get("hidden"), shape)


def read_field(rows: Sequence[Row], field: RequestField) -> Array | list[bytes | None]:
    """Return one field of all rows as an array, or as a list of bytes for a payload.

    Missing numbers are NaN, missing texts None, missing times NaT. Whole numbers that may be missing are floats, as in
    training.

    Raises:
        InvalidRequestError: If a required value is missing or a value has the wrong type.
    """
    name = field.name
    values = [row.get(name) for row in rows]
    if field.required and None in values:
        _missing(rows, field)
    return read_values(values, field)


def missing_column(field: RequestField) -> InvalidRequestError:
    """Return the refusal of rows that all lack a required field."""
    return _lacking(0, field, "is missing")


def read_values(values: list[object], field: RequestField) -> Array | list[bytes | None]:
    """Return one field's values, one per row, as ``read_field`` does.

    Raises:
        InvalidRequestError: If a required value is None or a value has the wrong type.
    """
    if field.required and None in values:
        raise _lacking(values.index(None), field, "is null")
    if field.shape:
        return _read_arrays(values, field)
    if field.is_payload:
        return [_payload(value, index, field) for index, value in enumerate(values)]
    match field.type:
        case "float":
            return _numbers(values, field, whole=False)
        case "int":
            numbers = _numbers(values, field, whole=True)
            return numbers.astype(np.int64) if field.required else numbers.astype(np.float64)
        case "bool":
            _check_all(values, field, (bool, np.bool_))
            if field.required:
                return np.array(values, dtype=np.bool_)
            return np.array(
                [np.nan if value is None else float(cast("bool", value)) for value in values], dtype=np.float64
            )
        case "timestamp" | "date":
            return np.array(
                [_moment(value, index, field) for index, value in enumerate(values)], dtype="datetime64[us]"
            )
        case _:
            _check_all(values, field, (str,))
            result = np.empty(len(values), dtype=object)
            result[:] = values
            return result


def _numbers(values: list[object], field: RequestField, *, whole: bool) -> Array:
    kinds = set(map(type, values))
    if not kinds <= {int, float, type(None)}:
        for index, value in enumerate(values):
            if value is not None and (
                isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number)
            ):
                _wrong(index, field, value)
    if whole and kinds != {int}:
        for index, value in enumerate(values):
            if isinstance(value, float | np.floating) and not float(value).is_integer():
                _wrong(index, field, value)
    try:
        if whole and kinds == {int}:
            numbers = np.array(cast("Any", values), dtype=np.int64)
            if not field.required:  # it becomes floats, as in training
                _check_exact(values, numbers, field)
            return numbers
        numbers = np.array(cast("Any", values), dtype=np.float64)
    except OverflowError as error:
        raise _too_large(field) from error
    if kinds != {float}:
        _check_exact(values, numbers, field)
    if whole and field.required and (np.abs(numbers) >= 2.0**63).any():  # it becomes an integer of 64 bits
        raise _too_large(field)
    return numbers


def _too_large(field: RequestField) -> InvalidRequestError:
    hint = "Send numbers within 64 bits."
    return InvalidRequestError(f"Field '{field.name}': a number is too large.", field=field.name, hint=hint)


def _check_exact(values: list[object], numbers: Array, field: RequestField) -> None:
    """Refuse whole numbers that a float would round."""
    beyond = (numbers > LARGEST_EXACT) | (numbers < -LARGEST_EXACT)  # type: ignore[operator]
    for index in np.flatnonzero(beyond).tolist():
        value = values[index]
        if isinstance(value, int | np.integer) and int(float(value)) != int(value):
            raise InvalidRequestError(
                f"Row {index}: the field '{field.name}' is {value}, which a 64-bit float does not hold exactly.",
                field=field.name,
                row=index,
                hint="Whole numbers are exact up to 2^53; names and ids beyond it are texts.",
            )


def _read_arrays(values: list[object], field: RequestField) -> Array:
    """Return one array of the field's shape per row, from lists (nested or flat)."""
    one = RequestField(field.name, field.type)
    rows: list[object] = []
    for index, value in enumerate(values):
        flat = [value]
        while flat and all(isinstance(item, list) for item in flat):
            flat = [inner for item in flat for inner in cast("list[object]", item)]
        if len(flat) != field.width or not isinstance(value, list) or None in flat:
            message = f"Row {index}: the field '{field.name}' must be a list of {field.width} values without null."
            raise InvalidRequestError(message, field=field.name, row=index)
        try:
            rows.append(read_values(flat, one))
        except InvalidRequestError:
            _wrong(index, field, value)
    return cast("Array", np.array(rows).reshape(len(values), *field.shape))


def _check_all(values: list[object], field: RequestField, kinds: tuple[type, ...]) -> None:
    if not set(map(type, values)) <= {*kinds, type(None)}:
        for index, value in enumerate(values):
            if value is not None and not isinstance(value, kinds):
                _wrong(index, field, value)


def _moment(value: object, index: int, field: RequestField) -> np.datetime64:
    if value is None:
        return np.datetime64("NaT", "us")
    try:
        if isinstance(value, np.datetime64):
            return cast("np.datetime64", value.astype("datetime64[us]"))
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return np.datetime64(moment, "us")
        if isinstance(value, date):
            return np.datetime64(value, "us")
    except (ValueError, OverflowError):
        pass
    _wrong(index, field, value)
    return None


def _payload(value: object, index: int, field: RequestField) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    _wrong(index, field, value)
    return None


def _missing(rows: Sequence[Row], field: RequestField) -> NoReturn:
    for index, row in enumerate(rows):
        value = row.get(field.name, _MISSING)
        if value is None or value is _MISSING:
            raise _lacking(index, field, "is null" if value is None else "is missing")
    raise AssertionError("a missing value was seen and not found")


def _lacking(row: int, field: RequestField, state: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Row {row}: the field '{field.name}' {state}; expected {_EXPECTED[field.type]}.",
        field=field.name,
        row=row,
        hint="Send it, or declare the column with required=False.",
    )


def _wrong(index: int, field: RequestField, value: object) -> NoReturn:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "…"
    raise InvalidRequestError(
        f"Row {index}: the field '{field.name}' must be {_EXPECTED[field.type]}, got {type(value).__name__} {shown}.",
        field=field.name,
        row=index,
    )
