"""The REST door: predictions by rows and by the Open Inference Protocol v2, outcomes, pushed rows, health, metrics.

A plain ASGI application. The hot path is: one dictionary lookup for the route, one body, msgspec in, the endpoint,
msgspec out. Every error is one JSON object ``{"error": …}`` with the field and the row where there are any; a
traceback never leaves.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

import structlog

from loopwright.core.errors import (
    InvalidRequestError,
    ModelFailedError,
    NotFoundRequestError,
    NotReadyError,
    RequestError,
    UnauthorizedRequestError,
)
from loopwright.serving.endpoint import InferenceCall
from loopwright.serving.http_message import (
    BadFieldError,
    HttpRequest,
    HttpResponse,
    decode_json,
    error_response,
    json_response,
)
from loopwright.serving.open_inference import model_document, read_request, response_document
from loopwright.serving.rows_body import read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.serving.endpoint import Endpoint, Served
    from loopwright.serving.http_message import Receive, Scope, Send
    from loopwright.serving.ingest_door import IngestDoor
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.outcomes_door import OutcomesDoor

_log = structlog.get_logger(__name__)
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_LONGEST_REQUEST_ID = 128
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
        tokens: Bearer tokens of which one must be presented; empty for none (loopback only).
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
        tokens: tuple[str, ...] = (),
    ) -> None:
        self._endpoints = endpoints
        self._state = state
        self._outcomes = outcomes
        self._ingest = ingest
        self._metrics = metrics
        self._clock = clock
        self._ids = ids
        self._version = version
        self._tokens = tuple(token.encode() for token in tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http":
            return
        request = HttpRequest(scope, receive)
        request_id: str | None = None
        try:
            request_id = _request_id(request)
            if self._tokens and request.path not in _OPEN_PATHS:
                self._authorise(request)
            response = await self._route(request, request_id)
        except RequestError as error:
            response = error_response(error, request_id=request_id)
            self._count_refusal(request, error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets JSON
            request_id = request_id or self._ids.new()
            _log.exception("request failed", request_id=request_id, path=request.path)
            failure = ModelFailedError(f"The request failed: {type(error).__name__}.", hint="See the server's log.")
            response = error_response(failure, request_id=request_id)
        if self._state.draining:
            response.headers.append((b"connection", b"close"))
        await response.send(send)

    def _authorise(self, request: HttpRequest) -> None:
        scheme, _, token = (request.header(b"authorization") or "").partition(" ")
        presented = token.strip().encode("latin-1", "replace")
        if scheme.lower() != "bearer" or not any(hmac.compare_digest(presented, known) for known in self._tokens):
            raise UnauthorizedRequestError("A valid token is needed.", hint="Send Authorization: Bearer <token>.")

    def _count_refusal(self, request: HttpRequest, error: RequestError) -> None:
        if request.counted:
            return
        model = request.path.rpartition("/predict/")[2] if request.path.startswith("/predict/") else ""
        self._metrics.refused(model if model in self._endpoints else "", _protocol(request.path), error.status)

    async def _route(self, request: HttpRequest, request_id: str | None) -> HttpResponse:
        path = request.path
        if path.startswith("/predict/"):
            _only(request, "POST")
            return await self._predict(self._endpoint(unquote(path[9:])), request, request_id)
        if path.startswith("/v2/models/"):
            return await self._model(request, request_id, path[11:].strip("/").split("/"))
        if path in ("/outcomes", "/outcomes/") or path.startswith("/outcomes/"):
            _only(request, "POST")
            return await self._outcomes.receive(unquote(path[10:]), await request.body())
        if path.startswith("/ingest/"):
            _only(request, "POST")
            return await self._ingest.receive(unquote(path[8:]), await request.body())
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

    async def _predict(self, endpoint: Endpoint, request: HttpRequest, request_id: str | None) -> HttpResponse:
        began = self._clock.monotonic()
        active = endpoint.active
        if active is None:
            raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
        body = await request.body()
        parsed = read_rows(body, request.header(b"content-type"), active.champion.predictor.inputs)
        call = InferenceCall(
            rows=parsed.rows,
            protocol="rows",
            request_id=request_id,
            keys=parsed.keys,
            unit=request.header(b"x-routing-key"),
            pinned=_pinned(request),
            deadline=_deadline(request, began),
        )
        request.counted = True
        served = await endpoint.answer(call)
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

    async def _model(self, request: HttpRequest, request_id: str | None, parts: list[str]) -> HttpResponse:
        endpoint = self._endpoint(unquote(parts[0]))
        rest = parts[1:]
        pinned: int | None = None
        if rest[:1] == ["versions"] and len(rest) >= 2:
            pinned = _version(rest[1])
            rest = rest[2:]
        active = endpoint.active
        if rest == ["infer"]:
            _only(request, "POST")
            return await self._infer(endpoint, request, request_id, pinned)
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

    async def _infer(
        self, endpoint: Endpoint, request: HttpRequest, request_id: str | None, pinned: int | None
    ) -> HttpResponse:
        began = self._clock.monotonic()
        active = endpoint.active
        if active is None:
            raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
        if request.header(b"inference-header-content-length") is not None:
            raise InvalidRequestError("The binary tensor extension is not supported.", hint="Send data as JSON.")
        tensors = read_request(decode_json(await request.body()), active.champion.predictor.inputs)
        deadline = _deadline(request, began)
        if tensors.timeout_us is not None:
            asked = began + tensors.timeout_us / 1e6
            deadline = asked if deadline is None else min(deadline, asked)
        call = InferenceCall(
            rows=tensors.rows,
            protocol="oip-json",
            request_id=request_id or tensors.request_id,
            unit=request.header(b"x-routing-key"),
            pinned=_pinned(request) if pinned is None else pinned,
            deadline=deadline,
        )
        request.counted = True
        served = await endpoint.answer(call)
        return json_response(response_document(served, tensors), headers=_headers(served))


def _headers(served: Served) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-model-version", str(served.version).encode()),
        (b"x-request-id", served.request_id.encode("latin-1", "replace")),
    ]


def _only(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise BadFieldError(f"{request.method} is not possible here; use {' or '.join(methods)}.", field="method")


def _request_id(request: HttpRequest) -> str | None:
    given = request.header(b"x-request-id")
    if given is None:
        return None
    if not given or len(given) > _LONGEST_REQUEST_ID or not given.isprintable():
        raise InvalidRequestError(f"X-Request-Id must have 1 to {_LONGEST_REQUEST_ID} printable characters.")
    return given


def _version(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise NotFoundRequestError(f"{text[:50]!r} is no version number.", hint="Versions are 1, 2, 3 …")
    return int(text)


def _pinned(request: HttpRequest) -> int | None:
    text = request.header(b"x-model-version")
    return None if text is None else _version(text)


def _deadline(request: HttpRequest, began: float) -> float | None:
    text = request.header(b"x-request-timeout-ms")
    if text is None:
        return None
    try:
        timeout_ms = float(text)
    except ValueError:
        timeout_ms = -1.0
    if not 0 <= timeout_ms < 1e9:
        raise InvalidRequestError(f"X-Request-Timeout-Ms must be a number of milliseconds, got {text[:50]!r}.")
    return began + timeout_ms / 1000


def _protocol(path: str) -> str:
    if path.startswith("/predict/"):
        return "rows"
    return "oip-json" if path.startswith("/v2/") else "http"
