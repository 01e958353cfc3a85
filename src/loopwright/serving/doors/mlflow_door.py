"""The routes of an MLflow model server, so that its clients move without a change: ``/invocations`` and its health.

The four JSON forms (``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``), CSV, Parquet, and the
answer ``{"predictions": […]}``. Where one model is served the path is MLflow's own; otherwise it names the model.

Source: MLflow's documentation, "Local inference server specification".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from loopwright.core.errors import InvalidRequestError, NotFoundRequestError
from loopwright.serving.bodies.json_rows import columnar_rows, decode_python_json, listed_rows, name_of
from loopwright.serving.bodies.row_bounds import check_rows
from loopwright.serving.bodies.rows_body import RowsBody, read_rows
from loopwright.serving.doors.door_answer import only, served_headers
from loopwright.serving.doors.model_calls import CallForm
from loopwright.serving.http.media_type import JSON, media_type
from loopwright.serving.http.message import BadFieldError, HttpResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.features.request import RequestField
    from loopwright.serving.calls.inference_call import Served
    from loopwright.serving.doors.door_answer import Answer
    from loopwright.serving.doors.model_calls import ModelCalls
    from loopwright.serving.http.message import HttpRequest
    from loopwright.serving.server_state import ServerState

_KINDS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_TEXT = b"text/plain; charset=utf-8"
_PARAMS_NOTE = "'params' was ignored: the models of this server take none."


class MlflowDoor:
    """Answer MLflow's routes for the models of one server."""

    def __init__(self, calls: ModelCalls, *, state: ServerState, version: str) -> None:
        self._calls = calls
        self._state = state
        self._version = version

    def invocations(self, request: HttpRequest, model: str, given: str | None) -> Answer:
        """Answer rows.

        Args:
            request: The request, whole.
            model: The model that the path names; empty for the only one.
            given: The request's id from its header, or None.

        Raises:
            RequestError: When the request is refused.
        """
        only(request, "POST")
        if not model:
            models = self._calls.models
            if len(models) != 1:
                known = ", ".join(f"/invocations/{name}" for name in models)
                raise NotFoundRequestError("Several models are served, or none.", hint=f"Known: {known or 'none'}.")
            model = models[0]
        return self._calls.ask(self._calls.endpoint(model), request, given, _FORM)

    def ping(self) -> HttpResponse:
        """Say whether the server is ready."""
        reason = self._state.not_ready_because()
        return HttpResponse(200, b"\n") if reason is None else json_response({"error": reason}, status=503)

    def version(self) -> HttpResponse:
        """Say which version of this package answers."""
        return HttpResponse(200, self._version.encode(), content_type=_TEXT)


def _read(body: bytes, content_type: str | None, inputs: Sequence[RequestField]) -> RowsBody:
    if media_type(content_type) != JSON:
        return read_rows(body, content_type, inputs)
    document = decode_python_json(body)
    if not isinstance(document, dict):
        raise InvalidRequestError(f"The body must be an object, got {name_of(document)}.")
    rows = _rows(document, inputs)
    if not rows:
        raise InvalidRequestError("The request has no rows.")
    check_rows(len(rows))
    return RowsBody(rows, note=_PARAMS_NOTE if document.get("params") else None)


def _rows(document: Mapping[str, object], inputs: Sequence[RequestField]) -> list[dict[str, object]]:
    present = [form for form in _KINDS if form in document]
    if len(present) != 1:
        raise InvalidRequestError(f"The body must have exactly one of {', '.join(_KINDS)}; it has {len(present)}.")
    form = present[0]
    content = document[form]
    names = [field.name for field in inputs]
    if form == "dataframe_split":
        return _split(content, names)
    if form == "inputs" and isinstance(content, dict):
        return columnar_rows(content)
    if not isinstance(content, list):
        raise BadFieldError(f"'{form}' must be a list, got {name_of(content)}.", field=form)
    if form == "dataframe_records" and not all(isinstance(row, dict) for row in content):
        raise BadFieldError("'dataframe_records' must be a list of objects.", field=form)
    return listed_rows(content, names)


def _split(content: object, names: list[str]) -> list[dict[str, object]]:
    """Read what pandas writes with ``orient="split"``."""
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise BadFieldError("'dataframe_split' must be an object with 'data' as a list.", field="dataframe_split")
    columns = content.get("columns", names)
    if not isinstance(columns, list) or not all(isinstance(name, str | int) for name in columns):
        raise BadFieldError("'columns' must be a list of names.", field="dataframe_split")
    if any(isinstance(name, int) for name in columns):  # a frame without names has numbers
        columns = names
    if len(set(columns)) < len(columns):
        raise BadFieldError("A column is there twice.", field="dataframe_split")
    return listed_rows(cast("list[object]", content["data"]), cast("list[str]", columns))


def _write(served: Served, asked: RowsBody) -> HttpResponse:
    document: dict[str, object] = {"predictions": served.answers.values}
    if served.answers.ignored:
        document["ignored"] = served.answers.ignored
    if asked.note is not None:
        document["note"] = asked.note
    return json_response(document, headers=served_headers(served))


_FORM = CallForm("mlflow", _read, _write)
