"""Request bodies of ``/predict``: JSON rows in four forms, multipart files or one raw payload, turned into rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from python_multipart import MultipartParser
from python_multipart.multipart import parse_options_header

from loopwright.core.errors import InvalidRequestError, TooLargeError
from loopwright.features.request import PAYLOADS
from loopwright.serving.http_message import BadFieldError, decode_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.features.request import RequestField

MAX_ROWS = 100_000
_OBJECTS = frozenset({dict})


class RowsBody(msgspec.Struct, frozen=True):
    """The rows of a request and the caller's keys, when given."""

    rows: list[dict[str, object]]
    keys: list[str | None] | None = None


def read_rows(body: bytes, content_type: str | None, inputs: Sequence[RequestField]) -> RowsBody:
    """Read a body of ``/predict``.

    JSON may be ``{"rows": [{…}, …]}``, ``{"columns": […], "data": [[…], …]}``, a bare list of objects or of lists (in
    the order of the model's inputs), or one object that is a row itself; ``keys`` may stand beside ``rows`` and
    ``data``. Payload fields (images, audio) are base64 strings in JSON, and files in ``multipart/form-data``; a body
    of another media type is the only payload of one row.

    Raises:
        InvalidRequestError: When the body has none of these forms.
        TooLargeError: When there are more than 100,000 rows.
    """
    if content_type is None or content_type == "application/json":
        return _bounded(_json_rows(body, inputs))
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _bounded(_from_multipart(body, content_type, inputs))
    if kind.startswith(("image/", "audio/")) or kind == "application/octet-stream":
        payloads = [field.name for field in inputs if field.is_payload]
        if len(payloads) != 1:
            raise InvalidRequestError(
                f"A body of type {kind} needs a model with one payload input; this one has {len(payloads)}."
            )
        return RowsBody([{payloads[0]: body}])
    return _bounded(_json_rows(body, inputs))


def _json_rows(body: bytes, inputs: Sequence[RequestField]) -> RowsBody:
    parsed = _from_json(decode_json(body), inputs)
    if b'"data:' in body:
        for field in inputs:
            if field.is_payload:
                _strip_prefixes(parsed.rows, field.name)
    return parsed


def _bounded(parsed: RowsBody) -> RowsBody:
    count = len(parsed.rows)
    if count == 0:
        raise InvalidRequestError("The request has no rows.", hint='Send {"rows": [{…}]}.')
    if count > MAX_ROWS:
        raise TooLargeError(f"The request has {count} rows; at most {MAX_ROWS} are accepted.", hint="Send fewer rows.")
    if parsed.keys is not None and len(parsed.keys) != count:
        raise BadFieldError(f"There are {len(parsed.keys)} keys for {count} rows.", field="keys")
    return parsed


def _from_json(document: object, inputs: Sequence[RequestField]) -> RowsBody:
    if isinstance(document, list):
        return RowsBody(_listed(document, [field.name for field in inputs]))
    if not isinstance(document, dict):
        raise InvalidRequestError(f"The body must be an object or a list, got {_name_of(document)}.")
    if "rows" in document:
        rows = document["rows"]
        if not isinstance(rows, list):
            raise BadFieldError(f"'rows' must be a list, got {_name_of(rows)}.", field="rows")
        if _OBJECTS.issuperset(map(type, rows)):
            return RowsBody(rows, _keys(document))
        return RowsBody(_listed(rows, [field.name for field in inputs]), _keys(document))
    if "columns" in document and "data" in document:
        columns, data = document["columns"], document["data"]
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise BadFieldError("'columns' must be a list of names.", field="columns")
        if not isinstance(data, list):
            raise BadFieldError(f"'data' must be a list of rows, got {_name_of(data)}.", field="data")
        return RowsBody(_listed(data, columns), _keys(document))
    if "columns" in document and all(field.name != "columns" for field in inputs):
        hint = 'Send {"columns": ["a"], "data": [[1], [2]]}.'
        raise BadFieldError("'columns' needs the rows beside it.", field="data", hint=hint)
    return RowsBody([document])


def _listed(rows: list[object], names: list[str]) -> list[dict[str, object]]:
    result: list[dict[str, object]] = []
    for number, row in enumerate(rows):
        if isinstance(row, dict):
            result.append(row)
        elif isinstance(row, list):
            if len(row) != len(names):
                raise BadFieldError(f"Row {number} has {len(row)} values for {len(names)} columns.", row=number)
            result.append(dict(zip(names, row, strict=True)))
        else:
            raise BadFieldError(f"Row {number} must be an object or a list, got {_name_of(row)}.", row=number)
    return result


def _keys(document: dict[str, object]) -> list[str | None] | None:
    keys = document.get("keys")
    if keys is None:
        return None
    if not isinstance(keys, list):
        raise BadFieldError(f"'keys' must be a list, got {_name_of(keys)}.", field="keys")
    return [None if key is None else str(key) for key in keys]


def _strip_prefixes(rows: list[dict[str, object]], name: str) -> None:
    """Take the ``data:image/png;base64,`` off payloads; the assembly decodes the rest."""
    for row in rows:
        value = row.get(name)
        if isinstance(value, str) and value.startswith("data:"):
            row[name] = value.partition(",")[2]


def _from_multipart(body: bytes, content_type: str, inputs: Sequence[RequestField]) -> RowsBody:
    """Read form fields and files: repeated parts are rows, a part that is there once counts for all rows."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidRequestError("multipart/form-data needs a boundary.")
    columns = _parts(body, boundary, {field.name: field.type for field in inputs})
    count = max((len(values) for values in columns.values()), default=0)
    for name, values in columns.items():
        if len(values) not in (1, count):
            raise BadFieldError(f"There are {len(values)} parts named '{name}' for {count} rows.", field=name)
    keys = columns.pop("__key__", None)
    rows = [
        {name: values[0] if len(values) == 1 else values[number] for name, values in columns.items()}
        for number in range(count)
    ]
    return RowsBody(rows, None if keys is None else [str(key) for key in keys * (count if len(keys) == 1 else 1)])


def _parts(body: bytes, boundary: bytes, types: dict[str, str]) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {}
    header = bytearray()
    value = bytearray()
    disposition: list[bytes] = []
    data = bytearray()

    def on_part_begin() -> None:
        disposition.clear()
        data.clear()

    def on_header_field(chunk: bytes, start: int, end: int) -> None:
        header.extend(chunk[start:end])

    def on_header_value(chunk: bytes, start: int, end: int) -> None:
        value.extend(chunk[start:end])

    def on_header_end() -> None:
        if bytes(header).lower() == b"content-disposition":
            disposition.append(bytes(value))
        header.clear()
        value.clear()

    def on_part_data(chunk: bytes, start: int, end: int) -> None:
        data.extend(chunk[start:end])

    def on_part_end() -> None:
        options = parse_options_header(disposition[0])[1] if disposition else {}
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if not name:
            raise InvalidRequestError("A part of the form has no name.")
        is_file = b"filename" in options or types.get(name) in PAYLOADS
        columns.setdefault(name, []).append(bytes(data) if is_file else _form_value(bytes(data), types.get(name)))

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": on_part_begin,
            "on_header_field": on_header_field,
            "on_header_value": on_header_value,
            "on_header_end": on_header_end,
            "on_part_data": on_part_data,
            "on_part_end": on_part_end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except InvalidRequestError:
        raise
    except Exception as error:
        raise InvalidRequestError(f"The form cannot be read: {error}.") from error
    return columns


def _form_value(data: bytes, type_name: str | None) -> object:
    text = data.decode("utf-8", "replace")
    if type_name in ("string", "category", "text", "timestamp", "date"):
        return text
    try:
        return cast("object", msgspec.json.decode(data))
    except msgspec.DecodeError:
        return text


def _name_of(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
