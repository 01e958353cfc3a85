"""The REST door: a table of routes by the first part of the path, and what becomes of errors.

It knows whole requests and responses, and no transport. What needs no waiting is answered by a plain call (the rows of
a small model: msgspec in, the endpoint, msgspec out); for the rest it returns what to await. Every error is one JSON
object ``{"error": …}`` with the field and the row where there are any; a traceback never leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import structlog

from loopwright.core.errors import ModelFailedError, NotFoundRequestError, RequestError
from loopwright.serving.bodies.rows_body import read_rows
from loopwright.serving.doors.docs_door import DocsDoor
from loopwright.serving.doors.door_answer import Answer, only, posted
from loopwright.serving.doors.mlflow_door import MlflowDoor
from loopwright.serving.doors.model_calls import CallForm, ModelCalls
from loopwright.serving.doors.open_inference_door import OpenInferenceDoor
from loopwright.serving.doors.rows_answer import accepted_response, rows_response
from loopwright.serving.doors.tf_serving_door import TfServingDoor
from loopwright.serving.http.content_encoding import unpacked
from loopwright.serving.http.media_type import JSON
from loopwright.serving.http.message import HttpRequest, HttpResponse, error_response, json_response
from loopwright.serving.http.options import HttpOptions
from loopwright.serving.http.pending_response import PendingResponse
from loopwright.serving.http.request_headers import request_id
from loopwright.serving.server_state import QuietState

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Mapping

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.doors.ingest_door import IngestDoor
    from loopwright.serving.doors.outcomes_door import OutcomesDoor
    from loopwright.serving.guard import Guard
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.server_state import ServerState

Route: TypeAlias = Callable[[HttpRequest, str, str | None], Answer]

_log = structlog.get_logger(__name__)
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_HEALTH = ("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/ping", "/health")
_OPEN_PATHS = frozenset({*_HEALTH, "/docs"})  # the page has its own way to ask for a token
_PROTOCOLS = {"predict": "rows", "v2": "oip-json", "v1": "tf-serving", "invocations": "mlflow"}
_NAMES_MODEL = ("predict", "invocations")
_JSON_ACCEPTED = ("*/*", JSON)
_ROWS = CallForm("rows", read_rows, rows_response)
_HINT = "Try /predict/<model>, /v2 or /readyz."


class RestDoor:
    """Answer HTTP for the endpoints of one server.

    Args:
        endpoints: The served models by name.
        state: The server's readiness.
        outcomes: Where outcomes are stored.
        ingest: Where pushed rows are stored.
        guard: Says whether a caller may do what is asked.
        datasets: The datasets that take pushed rows, for the description of the routes.
        options: What the project decides about the door.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        state: ServerState,
        outcomes: OutcomesDoor,
        ingest: IngestDoor,
        metrics: ServingMetrics,
        clock: Clock,
        ids: Ids,
        version: str,
        guard: Guard,
        datasets: Collection[str] = (),
        options: HttpOptions | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._state = state
        self._outcomes = outcomes
        self._ingest = ingest
        self._metrics = metrics
        self._clock = clock
        self._ids = ids
        self._version = version
        self._guard = guard
        self._options = options or HttpOptions()
        if not self._options.error_detail:
            self._state = state = QuietState(state)
        self._calls = ModelCalls(endpoints, clock=clock)
        self._open_inference = OpenInferenceDoor(endpoints, state=state, metrics=metrics, clock=clock, version=version)
        self._mlflow = MlflowDoor(self._calls, state=state, version=version)
        self._tf_serving = TfServingDoor(self._calls)
        self._docs = DocsDoor(endpoints, datasets=datasets, version=version, guard=guard)
        self._routes = self._table()

    def respond(self, request: HttpRequest) -> Answer:
        """Answer at once, or return what to await for the answer; neither raises."""
        given: str | None = None
        try:
            given = request_id(request)
            if request.path not in _OPEN_PATHS:
                self._guard.check(request)
            answer = self._route(request, given)
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets JSON
            return self.failed(request, given, error)
        if isinstance(answer, PendingResponse):
            answer.belongs_to(self, request, given)
            return answer
        return answer if isinstance(answer, HttpResponse) else self._awaited(answer, request, given)

    async def _awaited(
        self, answer: Coroutine[object, None, HttpResponse], request: HttpRequest, given: str | None
    ) -> HttpResponse:
        try:
            return await answer
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets JSON
            return self.failed(request, given, error)

    def failed(self, request: HttpRequest, given: str | None, error: Exception) -> HttpResponse:
        """Answer a request that failed, whatever it was; does not raise."""
        if isinstance(error, RequestError):
            return self.refuse(request, error, given)
        given = given or self._ids.new()
        _log.error("request failed", request_id=given, path=request.path, exc_info=error)
        failure = ModelFailedError(f"The request failed: {type(error).__name__}.", hint="See the server's log.")
        return error_response(failure, request_id=given, detail=self._options.error_detail)

    def refuse(self, request: HttpRequest, error: RequestError, given: str | None = None) -> HttpResponse:
        """Answer a request with what is wrong with it, and count it."""
        if not request.counted:
            head, _, tail = request.path[1:].partition("/")
            model = tail if head in _NAMES_MODEL and tail in self._endpoints else ""
            self._metrics.refused(model, _PROTOCOLS.get(head, "http"), error.status)
        if self._options.error_detail:
            return error_response(error, request_id=given)
        given = given or self._ids.new()
        reason = str(error).partition(", got ")[0]  # the value may be somebody's
        _log.info("request refused", request_id=given, path=request.path, status=error.status, reason=reason)
        return error_response(error, request_id=given, detail=False)

    def _table(self) -> dict[str, Route]:
        """Return what answers a path, by its first part; it gets the rest."""
        return {
            "predict": self._predict,
            "v2": lambda request, _, given: self._open_inference.respond(request, given),
            "invocations": self._mlflow.invocations,
            "v1": self._tf_serving.respond,
            "outcomes": lambda request, tail, _: _taken(request, partial(self._outcomes.receive, tail)),
            "ingest": self._push,
            "livez": _page(lambda: json_response({"live": True})),
            "readyz": _page(self._ready),
            "healthz": _page(self._ready),
            "metrics": _page(self._exposed),
            "ping": _page(self._mlflow.ping),
            "health": _page(self._mlflow.ping),
            "version": _page(self._mlflow.version),
            **({"docs": self._docs.page, "openapi.json": self._docs.describe} if self._options.docs else {}),
            "": _page(lambda: json_response({"models": sorted(self._endpoints), "version": self._version})),
        }

    def _route(self, request: HttpRequest, given: str | None) -> Answer:
        head, _, tail = request.path[1:].partition("/")
        route = self._routes.get(head)
        if route is None or not request.path:
            raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.", hint=_HINT)
        return route(request, tail, given)

    def _predict(self, request: HttpRequest, model: str, given: str | None) -> Answer:
        if not model:
            known = ", ".join(f"/predict/{name}" for name in self._calls.models)
            raise NotFoundRequestError("The path does not say which model is asked.", hint=f"Served: {known}.")
        only(request, "POST")
        accept = request.header(b"accept")
        form = _ROWS
        if accept is not None and accept not in _JSON_ACCEPTED:
            form = CallForm("rows", read_rows, partial(accepted_response, accept=accept))
        return self._calls.ask(self._calls.endpoint(model), request, given, form)

    def _push(self, request: HttpRequest, dataset: str, given: str | None) -> Answer:  # noqa: ARG002 - a route
        content_type, batch_id = request.header(b"content-type"), request.header(b"idempotency-key")
        return _taken(request, partial(self._ingest.receive, dataset, content_type=content_type, batch_id=batch_id))

    def _ready(self) -> HttpResponse:
        reason = self._state.not_ready_because()
        if reason is None:
            return json_response({"live": True, "ready": True})
        return json_response({"live": True, "ready": False, "error": reason}, status=503)

    def _exposed(self) -> HttpResponse:
        self._metrics.ready(is_ready=self._state.not_ready_because() is None)
        for name, endpoint in self._endpoints.items():
            self._metrics.inflight(name, endpoint.in_flight)
        return HttpResponse(200, self._metrics.exposition(), content_type=_METRICS_TYPE)


async def _taken(request: HttpRequest, receive: Callable[[bytes], Awaitable[HttpResponse]]) -> HttpResponse:
    """Hand over the body of a POST as it was before it was packed, which is undone beside the event loop."""
    body, encoding = posted(request), request.header(b"content-encoding")
    if encoding is not None:
        body = await asyncio.to_thread(unpacked, body, encoding)
    return await receive(body)


def _page(show: Callable[[], HttpResponse]) -> Route:
    """Return the route of one path that takes nothing."""

    def answer(request: HttpRequest, tail: str, given: str | None) -> Answer:  # noqa: ARG001 - a route
        if tail:
            raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.", hint=_HINT)
        only(request, "GET", "HEAD")
        return show()

    return answer
