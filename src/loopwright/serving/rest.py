"""The REST door: predictions by rows, outcomes, pushed rows, health, metrics; ``/v2`` goes to the protocol's door.

It knows whole requests and responses, and no transport. What needs no waiting is answered by a plain call (the rows of
a small model: msgspec in, the endpoint, msgspec out); for the rest it returns what to await. Every error is one JSON
object ``{"error": …}`` with the field and the row where there are any; a traceback never leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import (
    ModelFailedError,
    NotFoundRequestError,
    NotReadyError,
    RequestError,
)
from loopwright.serving.door_answer import Answer, only, served_headers, written
from loopwright.serving.endpoint import InferenceCall, Served
from loopwright.serving.http_message import (
    HttpResponse,
    error_response,
    json_response,
)
from loopwright.serving.open_inference_door import OpenInferenceDoor
from loopwright.serving.pending_response import PendingResponse
from loopwright.serving.request_headers import deadline, pinned_version, request_id
from loopwright.serving.rows_body import read_rows

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.endpoint import Endpoint
    from loopwright.serving.guard import Guard
    from loopwright.serving.http_message import HttpRequest
    from loopwright.serving.ingest_door import IngestDoor
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.outcomes_door import OutcomesDoor
    from loopwright.serving.server_state import ServerState

_log = structlog.get_logger(__name__)
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"})


class RestDoor:
    """Answer HTTP for the endpoints of one server.

    Args:
        endpoints: The served models by name.
        state: The server's readiness.
        outcomes: Where outcomes are stored.
        ingest: Where pushed rows are stored.
        guard: Says whether a caller may do what is asked.
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
        self._open_inference = OpenInferenceDoor(endpoints, state=state, clock=clock, version=version)

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
        return error_response(failure, request_id=given)

    def refuse(self, request: HttpRequest, error: RequestError, given: str | None = None) -> HttpResponse:
        """Answer a request with what is wrong with it, and count it."""
        if not request.counted:
            model = request.path[9:] if request.path.startswith("/predict/") else ""
            self._metrics.refused(model if model in self._endpoints else "", _protocol(request.path), error.status)
        return error_response(error, request_id=given)

    def _route(self, request: HttpRequest, given: str | None) -> Answer:
        path = request.path
        if path.startswith("/predict/"):
            only(request, "POST")
            return self._predict(self._endpoint(path[9:]), request, given)
        if path == "/predict":
            known = ", ".join(f"/predict/{name}" for name in sorted(self._endpoints))
            raise NotFoundRequestError("The path does not say which model is asked.", hint=f"Served: {known}.")
        if path == "/v2" or path.startswith("/v2/"):
            return self._open_inference.respond(request, given)
        if path == "/outcomes" or path.startswith("/outcomes/"):
            only(request, "POST")
            return self._outcomes.receive(path[10:], request.body)
        if path.startswith("/ingest/"):
            only(request, "POST")
            content_type, batch_id = request.header(b"content-type"), request.header(b"idempotency-key")
            return self._ingest.receive(path[8:], request.body, content_type=content_type, batch_id=batch_id)
        only(request, "GET", "HEAD")
        return self._plain(path)

    def _plain(self, path: str) -> HttpResponse:
        if path == "/livez":
            return json_response({"live": True})
        if path in ("/readyz", "/healthz"):
            reason = self._state.not_ready_because()
            if reason is None:
                return json_response({"live": True, "ready": True})
            return json_response({"live": True, "ready": False, "error": reason}, status=503)
        if path == "/metrics":
            self._metrics.ready(is_ready=self._state.not_ready_because() is None)
            for name, endpoint in self._endpoints.items():
                self._metrics.inflight(name, endpoint.in_flight)
            return HttpResponse(200, self._metrics.exposition(), content_type=_METRICS_TYPE)
        if path == "/":
            return json_response({"models": sorted(self._endpoints), "version": self._version})
        raise NotFoundRequestError(f"There is nothing at {path[:200]}.", hint="Try /predict/<model>, /v2 or /readyz.")

    def _endpoint(self, model: str) -> Endpoint:
        endpoint = self._endpoints.get(model)
        if endpoint is None:
            known = ", ".join(sorted(self._endpoints)) or "none"
            raise NotFoundRequestError(f"There is no model '{model[:200]}' here.", hint=f"Served: {known}.")
        return endpoint

    def _predict(self, endpoint: Endpoint, request: HttpRequest, given: str | None) -> Answer:
        began = self._clock.monotonic()
        active = endpoint.active
        if active is None:
            raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
        parsed = read_rows(request.body, request.header(b"content-type"), active.champion.predictor.inputs)
        call = InferenceCall(
            rows=parsed.rows,
            protocol="rows",
            request_id=given,
            keys=endpoint.stored_keys(parsed.keys),
            unit=request.header(b"x-routing-key"),
            pinned=pinned_version(request),
            deadline=deadline(request, began),
        )
        request.counted = True
        return written(endpoint.begin(call), _rows_response)


def _rows_response(served: Served) -> HttpResponse:
    answers = served.answers
    document: dict[str, object] = {
        "model": served.model,
        "version": served.version,
        "predictions": answers.values,
    }
    if answers.probabilities is not None:
        document["probabilities"] = answers.probabilities
        document["classes"] = answers.classes
    document["prediction_ids"] = served.prediction_ids
    if answers.ignored:
        document["ignored"] = answers.ignored
    return json_response(document, headers=served_headers(served))


def _protocol(path: str) -> str:
    if path.startswith("/predict/"):
        return "rows"
    return "oip-json" if path.startswith("/v2/") else "http"
