"""Bodies of ``/ingest``: JSON, one JSON object per line, or an Arrow stream, turned into a batch of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from loopwright.core.errors import InvalidRequestError
from loopwright.data.ingest.pushing import PushedBatch
from loopwright.serving.http.message import BadFieldError, decode_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINES = frozenset({"application/x-ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines"})
_ARROW = "application/vnd.apache.arrow.stream"
_decode_line = msgspec.json.Decoder().decode


def read_batch(body: bytes, content_type: str | None, batch_id: str | None) -> tuple[PushedBatch, int]:
    """Read a batch and count its rows.

    Args:
        body: ``{"rows": [{…}], "batch_id": "…"}`` or a bare list of rows; with ``application/x-ndjson`` one row per
            line; with ``application/vnd.apache.arrow.stream`` an Arrow IPC stream.
        content_type: What the body is; JSON by default.
        batch_id: The batch's id from a header; one in the body goes first.

    Raises:
        InvalidRequestError: When the body has none of these forms, or no rows.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == _ARROW:
        table = _arrow(body)
        return PushedBatch(table, batch_id), table.num_rows
    if kind in _LINES:
        rows = _lines(body)
    else:
        rows, own = _json(body)
        batch_id = own or batch_id
    return PushedBatch(rows, batch_id), len(rows)


def _json(body: bytes) -> tuple[list[dict[str, object]], str | None]:
    document = decode_json(body)
    batch_id = None
    if isinstance(document, dict) and "rows" in document:
        batch_id = document.get("batch_id")
        if batch_id is not None and not isinstance(batch_id, str):
            raise BadFieldError("A batch_id is a text.", field="batch_id", hint="Send the same one when you repeat.")
        document = document["rows"]
    if not isinstance(document, list):
        raise _no_rows()
    return _checked(document), batch_id


def _lines(body: bytes) -> list[dict[str, object]]:
    rows: list[object] = []
    for number, line in enumerate(body.split(b"\n")):
        if not line.strip():
            continue
        try:
            rows.append(_decode_line(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFieldError(f"Line {number + 1} is not valid JSON: {error}.", row=len(rows)) from error
    return _checked(rows)


def _arrow(body: bytes) -> pa.Table:
    try:
        table = pa.ipc.open_stream(pa.py_buffer(body)).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise InvalidRequestError(f"The body is no Arrow stream: {reason}.") from error
    if table.num_rows == 0:
        raise _no_rows()
    return table


def _checked(rows: Sequence[object]) -> list[dict[str, object]]:
    if not rows:
        raise _no_rows()
    found: list[dict[str, object]] = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadFieldError(f"Row {number} is no object.", row=number, hint='Send {"rows": [{…}, …]}.')
        found.append(row)
    return found


def _no_rows() -> InvalidRequestError:
    return InvalidRequestError("There are no rows.", hint='Send {"rows": [{…}, …]} with objects, one per row.')
