"""The REST door: predictions by rows and by the Open Inference Protocol v2, outcomes, pushed rows, health, metrics.

It knows whole requests and responses, and no transport. What needs no waiting is answered by a plain call (the rows of
a small model: msgspec in, the endpoint, msgspec out); for the rest it returns what to await. Every error is one JSON
object ``{"error": …}`` with the field and the row where there are any; a traceback never leaves.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol, TypeAlias

import structlog

from loopwright.core.errors import (
    InvalidRequestError,
    ModelFailedError,
    NotFoundRequestError,
    NotReadyError,
    RequestError,
    WrongMethodError,
)
from loopwright.serving.endpoint import InferenceCall, Served
from loopwright.serving.http_message import (
    HttpResponse,
    decode_json,
    error_response,
    json_response,
)
from loopwright.serving.open_inference import model_document, read_request, response_document
from loopwright.serving.request_headers import deadline, pinned_version, request_id, version_number
from loopwright.serving.rows_body import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.endpoint import Endpoint
    from loopwright.serving.guard import Guard
    from loopwright.serving.http_message import HttpRequest
    from loopwright.serving.ingest_door import IngestDoor
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.outcomes_door import OutcomesDoor

_log = structlog.get_logger(__name__)
Answer: TypeAlias = HttpResponse | Coroutine[object, None, HttpResponse]
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"})


class ServerState(Protocol):
    """What the door asks of the server it belongs to."""

    @property
    def draining(self) -> bool:
        """Return whether the server is about to end."""

    def not_ready_because(self) -> str | None:
        """Return why the server is not ready, or None when it is."""


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

    def respond(self, request: HttpRequest) -> Answer:
        """Answer at once, or return what to await for the answer; neither raises."""
        given: str | None = None
        try:
            given = request_id(request)
            if request.path not in _OPEN_PATHS:
                self._guard.check(request)
            answer = self._route(request, given)
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets JSON
            return self._failed(request, given, error)
        return answer if isinstance(answer, HttpResponse) else self._awaited(answer, request, given)

    async def _awaited(
        self, answer: Coroutine[object, None, HttpResponse], request: HttpRequest, given: str | None
    ) -> HttpResponse:
        try:
            return await answer
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets JSON
            return self._failed(request, given, error)

    def _failed(self, request: HttpRequest, given: str | None, error: Exception) -> HttpResponse:
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
            _only(request, "POST")
            return self._predict(self._endpoint(path[9:]), request, given)
        if path == "/predict":
            known = ", ".join(f"/predict/{name}" for name in sorted(self._endpoints))
            raise NotFoundRequestError("The path does not say which model is asked.", hint=f"Served: {known}.")
        if path.startswith("/v2/models/"):
            return self._model(request, given, path[11:].strip("/").split("/"))
        if path == "/outcomes" or path.startswith("/outcomes/"):
            _only(request, "POST")
            return self._outcomes.receive(path[10:], request.body)
        if path.startswith("/ingest/"):
            _only(request, "POST")
            content_type, batch_id = request.header(b"content-type"), request.header(b"idempotency-key")
            return self._ingest.receive(path[8:], request.body, content_type=content_type, batch_id=batch_id)
        _only(request, "GET", "HEAD")
        return self._plain(path)

    def _plain(self, path: str) -> HttpResponse:
        if path in ("/livez", "/v2/health/live"):
            return json_response({"live": True})
        if path in ("/readyz", "/healthz", "/v2/health/ready"):
            reason = self._state.not_ready_because()
            if reason is None:
                return json_response({"live": True, "ready": True})
            return json_response({"live": True, "ready": False, "error": reason}, status=503)
        if path == "/metrics":
            self._metrics.ready(is_ready=self._state.not_ready_because() is None)
            for name, endpoint in self._endpoints.items():
                self._metrics.inflight(name, endpoint.in_flight)
            return HttpResponse(200, self._metrics.exposition(), content_type=_METRICS_TYPE)
        if path in ("/v2", "/v2/"):
            return json_response({"name": "loopwright", "version": self._version, "extensions": []})
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
        return _written(endpoint.begin(call), _rows_response)

    def _model(self, request: HttpRequest, given: str | None, parts: list[str]) -> Answer:
        endpoint = self._endpoint(parts[0])
        rest = parts[1:]
        pinned: int | None = None
        if rest[:1] == ["versions"] and len(rest) >= 2:
            pinned = version_number(rest[1])
            rest = rest[2:]
        active = endpoint.active
        if rest == ["infer"]:
            _only(request, "POST")
            return self._infer(endpoint, request, given, pinned)
        if rest not in ([], ["ready"]):
            raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.")
        _only(request, "GET", "HEAD")
        served = () if active is None else (active.champion, active.challenger)
        slots = {slot.predictor.version: slot for slot in served if slot is not None}
        if pinned is not None and pinned not in slots:
            raise NotFoundRequestError(f"Version {pinned} of '{endpoint.model}' is not being served.")
        if rest == ["ready"]:
            ready = active is not None
            return json_response({"name": endpoint.model, "ready": ready}, status=200 if ready else 503)
        if active is None:
            raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
        shown = slots[pinned] if pinned is not None else active.champion
        return json_response(
            model_document(endpoint.model, sorted(slots), shown.predictor.inputs, shown.predictor.loaded.signature)
        )

    def _infer(self, endpoint: Endpoint, request: HttpRequest, given: str | None, pinned: int | None) -> Answer:
        began = self._clock.monotonic()
        active = endpoint.active
        if active is None:
            raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
        if request.header(b"inference-header-content-length") is not None:
            raise InvalidRequestError("The binary tensor extension is not supported.", hint="Send data as JSON.")
        tensors = read_request(decode_json(request.body), active.champion.predictor.inputs)
        ends = deadline(request, began)
        if tensors.timeout_us is not None:
            asked = began + tensors.timeout_us / 1e6
            ends = asked if ends is None else min(ends, asked)
        call = InferenceCall(
            rows=tensors.rows,
            protocol="oip-json",
            request_id=given or tensors.request_id,
            unit=request.header(b"x-routing-key"),
            pinned=pinned_version(request) if pinned is None else pinned,
            deadline=ends,
        )
        request.counted = True
        return _written(
            endpoint.begin(call),
            lambda served: json_response(response_document(served, tensors), headers=_headers(served)),
        )


def _written(served: Served | Coroutine[object, None, Served], write: Callable[[Served], HttpResponse]) -> Answer:
    """Write an answer out, now or when it is there."""
    if isinstance(served, Served):
        return write(served)

    async def wait() -> HttpResponse:
        return write(await served)

    return wait()


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
    return json_response(document, headers=_headers(served))


def _headers(served: Served) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-model-version", str(served.version).encode()),
        (b"x-request-id", served.request_id.encode("latin-1", "replace")),
    ]


def _only(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise WrongMethodError(f"{request.method} is not possible here.", allowed=methods, hint=f"Use {methods[0]}.")


def _protocol(path: str) -> str:
    if path.startswith("/predict/"):
        return "rows"
    return "oip-json" if path.startswith("/v2/") else "http"
