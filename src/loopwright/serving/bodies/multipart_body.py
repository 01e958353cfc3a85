"""Forms with files as request bodies: repeated parts are rows, a part that is there once counts for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from python_multipart import MultipartParser
from python_multipart.multipart import parse_options_header

from loopwright.core.errors import InvalidRequestError, RequestError, TooLargeError
from loopwright.features.request import PAYLOADS
from loopwright.serving.bodies.row_bounds import check_rows
from loopwright.serving.http.media_type import JSON, media_type
from loopwright.serving.http.message import BadFieldError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.features.request import RequestField

KEY_PART = "__key__"
_MOST_PARTS = 100_000
_MOST_CELLS = 4_000_000  # a part that is there once is in every row: a small form may name a great many cells
_TEXTS = frozenset({"string", "category", "text", "timestamp", "date"})


def read_form(
    body: bytes, content_type: str, inputs: Sequence[RequestField]
) -> tuple[list[dict[str, object]], list[str | None] | None]:
    """Read the rows of a form, and their keys.

    A file, or the part of a payload field, is bytes. Other parts are values: texts where the field is one, otherwise
    as JSON spells them. A part of type ``application/json`` under another name than a field's brings several fields:
    an object for all rows, or a list of objects, one per row.

    Raises:
        InvalidRequestError: When it is no such form, or its parts do not come to rows.
        TooLargeError: When there are more than 100,000 rows.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidRequestError("multipart/form-data needs a boundary.")
    columns = _Form({field.name: field.type for field in inputs}).read(body, boundary)
    count = max((len(values) for values in columns.values()), default=0)
    check_rows(count)
    _check_cells(count * len(columns))
    for name, values in columns.items():
        if len(values) not in (1, count):
            raise BadFieldError(f"There are {len(values)} parts named '{name}' for {count} rows.", field=name)
    keys = columns.pop(KEY_PART, None)
    rows = [
        {
            name: value
            for name, values in columns.items()
            if (value := values[0] if len(values) == 1 else values[number]) is not _ABSENT
        }
        for number in range(count)
    ]
    return rows, None if keys is None else [str(key) for key in keys * (count if len(keys) == 1 else 1)]


def _check_cells(count: int) -> None:
    if count > _MOST_CELLS:
        raise TooLargeError(
            f"The form has {count} values; at most {_MOST_CELLS} are accepted.", hint="Send fewer rows."
        )


_ABSENT = object()  # a row of a JSON part lacks the field that another row has


class _Form:
    """Collects the parts of a form by name."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = types
        self._columns: dict[str, list[object]] = {}
        self._field = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()
        self._parts = 0

    def read(self, body: bytes, boundary: bytes) -> dict[str, list[object]]:
        """Return the values by name."""
        try:
            parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda chunk, start, end: self._field.extend(chunk[start:end]),
                    "on_header_value": lambda chunk, start, end: self._value.extend(chunk[start:end]),
                    "on_header_end": self._header_end,
                    "on_part_data": lambda chunk, start, end: self._data.extend(chunk[start:end]),
                    "on_part_end": self._end,
                },
            )
            parser.write(body)
            parser.finalize()
        except RequestError:
            raise
        except Exception as error:
            raise InvalidRequestError(f"The form cannot be read: {error}.") from error
        return self._columns

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise InvalidRequestError(f"The form has more than {_MOST_PARTS} parts.")
        self._headers.clear()
        self._data.clear()

    def _header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _end(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if not name:
            raise InvalidRequestError("A part of the form has no name.")
        data = bytes(self._data)
        said = self._headers.get(b"content-type", b"").decode("latin-1")
        if said and media_type(said) == JSON and "json" in said.lower() and name not in self._types:
            self._several(name, data)
            return
        is_file = b"filename" in options or self._types.get(name) in PAYLOADS
        self._add(name, data if is_file else _form_value(data, self._types.get(name)))

    def _several(self, name: str, data: bytes) -> None:
        """Take the fields of a JSON part."""
        try:
            given = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFieldError(f"The part '{name}' is not valid JSON: {error}.", field=name) from error
        rows = given if isinstance(given, list) else [given]
        if not all(isinstance(row, dict) for row in rows):
            raise BadFieldError(f"The part '{name}' must be an object with fields, or a list of them.", field=name)
        fields = dict.fromkeys(field for row in rows for field in row)
        _check_cells(len(rows) * len(fields))
        for field in fields:
            for row in rows:
                self._add(field, row.get(field, _ABSENT))

    def _add(self, name: str, value: object) -> None:
        self._columns.setdefault(name, []).append(value)


def _form_value(data: bytes, type_name: str | None) -> object:
    text = data.decode("utf-8", "replace")
    if type_name in _TEXTS:
        return text
    try:
        return cast("object", msgspec.json.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text
