"""Request bodies of ``/predict``, turned into rows: JSON in five forms, tables, forms with files, one raw payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, cast

import msgspec

from loopwright.core.errors import InvalidRequestError, UnsupportedMediaError
from loopwright.features.row_batch import RowBatch
from loopwright.serving.bodies.json_rows import columnar_rows, listed_rows, name_of
from loopwright.serving.bodies.multipart_body import read_form
from loopwright.serving.bodies.row_bounds import check_rows
from loopwright.serving.bodies.rows_table import KEY_COLUMN, read_table
from loopwright.serving.http.media_type import (
    ARROW_FILE,
    ARROW_STREAM,
    BYTES,
    CSV,
    JSON,
    MULTIPART,
    PARQUET,
    TABLES,
    media_type,
)
from loopwright.serving.http.message import BadFieldError, decode_json

if TYPE_CHECKING:
    from loopwright.features.request import RequestField

_OBJECTS = frozenset({dict})
_READ = f"{JSON}, {ARROW_STREAM}, {ARROW_FILE}, {PARQUET}, {CSV}, {MULTIPART}"


class RowsBody(msgspec.Struct, frozen=True):
    """The rows of a request.

    Attributes:
        rows: One mapping per row.
        keys: The caller's key of each row, or None.
        form: How a door with several forms got them; empty where there is one.
        note: What the caller is told beside the answer, or None.
    """

    rows: Sequence[Mapping[str, object]]
    keys: list[str | None] | None = None
    form: str = ""
    note: str | None = None


def read_rows(body: bytes, content_type: str | None, inputs: Sequence[RequestField]) -> RowsBody:
    """Read a body of ``/predict``.

    JSON may be ``{"rows": [{…}, …]}``, ``{"columns": […], "data": [[…], …]}``, ``{"columns": {"a": […], …}}``, a bare
    list of objects or of lists (in the order of the model's inputs), or one object that is a row itself; ``keys`` may
    stand beside ``rows``, ``data`` and ``columns``. Arrow IPC, Parquet and CSV are tables, with the keys in a column
    ``__key__``. Payload fields (images, audio) are base64 texts in JSON and CSV, and files in
    ``multipart/form-data``; a body of another media type is the only payload of one row.

    Raises:
        InvalidRequestError: When the body is not what its type says, or has none of these forms.
        UnsupportedMediaError: When the type is not read.
        TooLargeError: When there are more than 100,000 rows.
    """
    if content_type is None or content_type == JSON:
        return _bounded(_json_rows(body, inputs))
    kind = media_type(content_type)
    if kind == JSON:
        return _bounded(_json_rows(body, inputs))
    if kind in TABLES:
        return _bounded(_from_table(body, kind, inputs))
    if kind == MULTIPART:
        return _bounded(RowsBody(*read_form(body, content_type, inputs)))
    if kind.startswith(("image/", "audio/")) or kind == BYTES:
        payloads = [field.name for field in inputs if field.is_payload]
        if len(payloads) != 1:
            raise UnsupportedMediaError(
                f"A body of type {kind[:100]} needs a model with one payload input; this one has {len(payloads)}."
            )
        return RowsBody([{payloads[0]: body}])
    raise UnsupportedMediaError(f"Bodies of type {kind[:100]} are not read.", hint=f"Send one of {_READ}.")


def _from_table(body: bytes, kind: str, inputs: Sequence[RequestField]) -> RowsBody:
    columns, count = read_table(body, kind, inputs)
    keys = columns.pop(KEY_COLUMN, None)
    return RowsBody(RowBatch(columns, count), None if keys is None else _texts(list(keys)))


def _json_rows(body: bytes, inputs: Sequence[RequestField]) -> RowsBody:
    parsed = _from_json(decode_json(body), inputs)
    if b'"data:' in body:
        for field in inputs:
            if field.is_payload:
                _strip_prefixes(cast("list[dict[str, object]]", parsed.rows), field.name)
    return parsed


def _bounded(parsed: RowsBody) -> RowsBody:
    count = len(parsed.rows)
    if count == 0:
        raise InvalidRequestError("The request has no rows.", hint='Send {"rows": [{…}]}.')
    check_rows(count)
    if parsed.keys is not None and len(parsed.keys) != count:
        raise BadFieldError(f"There are {len(parsed.keys)} keys for {count} rows.", field="keys")
    return parsed


def _from_json(document: object, inputs: Sequence[RequestField]) -> RowsBody:
    if isinstance(document, list):
        return RowsBody(listed_rows(document, [field.name for field in inputs]))
    if not isinstance(document, dict):
        raise InvalidRequestError(f"The body must be an object or a list, got {name_of(document)}.")
    if "rows" in document:
        rows = document["rows"]
        if not isinstance(rows, list):
            raise BadFieldError(f"'rows' must be a list, got {name_of(rows)}.", field="rows")
        if _OBJECTS.issuperset(map(type, rows)):
            return RowsBody(rows, _keys(document))
        return RowsBody(listed_rows(rows, [field.name for field in inputs]), _keys(document))
    if "columns" in document and "data" in document:
        columns, data = document["columns"], document["data"]
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise BadFieldError("'columns' must be a list of names.", field="columns")
        if not isinstance(data, list):
            raise BadFieldError(f"'data' must be a list of rows, got {name_of(data)}.", field="data")
        return RowsBody(listed_rows(data, columns), _keys(document))
    if "columns" in document and all(field.name != "columns" for field in inputs):
        if isinstance(document["columns"], dict):
            return RowsBody(columnar_rows(document["columns"]), _keys(document))
        hint = 'Send {"columns": ["a"], "data": [[1], [2]]}.'
        raise BadFieldError("'columns' needs the rows beside it.", field="data", hint=hint)
    return RowsBody([document])


def _keys(document: dict[str, object]) -> list[str | None] | None:
    keys = document.get("keys")
    if keys is None:
        return None
    if not isinstance(keys, list):
        raise BadFieldError(f"'keys' must be a list, got {name_of(keys)}.", field="keys")
    return _texts(keys)


def _texts(keys: Sequence[object]) -> list[str | None]:
    return [None if key is None else str(key) for key in keys]


def _strip_prefixes(rows: list[dict[str, object]], name: str) -> None:
    """Take the ``data:image/png;base64,`` off payloads; the assembly decodes the rest."""
    for row in rows:
        value = row.get(name)
        if isinstance(value, str) and value.startswith("data:"):
            row[name] = value.partition(",")[2]
