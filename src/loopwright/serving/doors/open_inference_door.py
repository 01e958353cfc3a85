"""The routes of the Open Inference Protocol v2 over HTTP: everything under ``/v2``.

Besides the protocol's own: binary tensors, statistics, and of the extension "model repository" the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidRequestError, NotFoundRequestError, NotReadyError
from loopwright.serving.calls.endpoint import InferenceCall
from loopwright.serving.doors.door_answer import only, served_headers, written
from loopwright.serving.doors.model_statistics import model_statistics
from loopwright.serving.doors.open_inference import (
    HEADER_LENGTH,
    model_document,
    raw_request,
    read_request,
    response,
    split_body,
)
from loopwright.serving.http.content_encoding import unpacked
from loopwright.serving.http.message import decode_json, json_response
from loopwright.serving.http.request_headers import deadline, pinned_version, version_number
from loopwright.serving.tensors.tensor_answer import check_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loopwright.core.clock import Clock
    from loopwright.features.request import RequestField
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.calls.slot import Active, Slot
    from loopwright.serving.doors.door_answer import Answer
    from loopwright.serving.doors.open_inference import TensorRequest
    from loopwright.serving.http.message import HttpRequest, HttpResponse
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.server_state import ServerState

EXTENSIONS = ("binary_tensor_data", "model_repository(index)", "schedule_policy(timeout)", "statistics")
BINARY = "oip-binary"


class OpenInferenceDoor:
    """Answer the protocol's routes for the endpoints of one server.

    Args:
        endpoints: The served models by name.
        state: The server's readiness.
        metrics: What this process has counted.
        version: The server's version, for its metadata.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        state: ServerState,
        metrics: ServingMetrics,
        clock: Clock,
        version: str,
    ) -> None:
        self._endpoints = endpoints
        self._state = state
        self._metrics = metrics
        self._clock = clock
        self._version = version

    def respond(self, request: HttpRequest, given: str | None) -> Answer:
        """Answer a request under ``/v2``, now or awaited.

        Args:
            request: The request, whole.
            given: The request's id from its header, or None.

        Raises:
            RequestError: When the request is refused.
        """
        path = request.path
        if path == "/v2/repository/index":
            only(request, "POST")
            return self._index(request)
        if path == "/v2/models/stats":
            only(request, "GET", "HEAD")
            return self._statistics(self._endpoints.values())
        if path.startswith("/v2/models/"):
            return self._model(request, given, path[11:].strip("/").split("/"))
        only(request, "GET", "HEAD")
        if path == "/v2/health/live":
            return json_response({"live": True})
        if path == "/v2/health/ready":
            reason = self._state.not_ready_because()
            if reason is None:
                return json_response({"live": True, "ready": True})
            return json_response({"live": True, "ready": False, "error": reason}, status=503)
        if path in ("/v2", "/v2/"):
            return json_response({"name": "loopwright", "version": self._version, "extensions": EXTENSIONS})
        raise NotFoundRequestError(f"There is nothing at {path[:200]}.", hint="Try /v2 or /v2/models/<model>.")

    def _index(self, request: HttpRequest) -> HttpResponse:
        """List the models and their versions, as the extension "model repository" does."""
        document = decode_json(request.body) if request.body else {}
        if not isinstance(document, dict) or not isinstance(document.get("ready", False), bool):
            raise InvalidRequestError("The body must be an object with 'ready', true or false.", field="ready")
        entries: list[dict[str, object]] = []
        for name, endpoint in sorted(self._endpoints.items()):
            slots = _slots(endpoint.active)
            ready = {"state": "READY", "reason": ""}
            entries += [{"name": name, "version": str(number), **ready} for number in sorted(slots)]
            if not slots and not document.get("ready", False):
                entries.append({"name": name, "state": "UNAVAILABLE", "reason": "no version is loaded"})
        return json_response(entries)

    def _statistics(self, endpoints: Iterable[Endpoint], pinned: int | None = None) -> HttpResponse:
        """Say what this process has answered; with several, the front door puts the sums of all in its place."""
        served = [
            (endpoint.model, str(number))
            for endpoint in endpoints
            for number in sorted(_slots(endpoint.active))
            if pinned in (None, number)
        ]
        return json_response(model_statistics(served, self._metrics.exposition()))

    def _endpoint(self, model: str) -> Endpoint:
        endpoint = self._endpoints.get(model)
        if endpoint is None:
            known = ", ".join(sorted(self._endpoints)) or "none"
            raise NotFoundRequestError(
                f"Request for unknown model: '{model[:200]}' is not served here.", hint=f"Served: {known}."
            )
        return endpoint

    def _model(self, request: HttpRequest, given: str | None, parts: list[str]) -> Answer:
        endpoint = self._endpoint(parts[0])
        rest = parts[1:]
        pinned: int | None = None
        if rest[:1] == ["versions"] and len(rest) >= 2:
            pinned = version_number(rest[1])
            rest = rest[2:]
        active = endpoint.active
        if rest == ["infer"]:
            only(request, "POST")
            return self._infer(endpoint, request, given, pinned)
        if rest not in ([], ["ready"], ["stats"]):
            raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.")
        only(request, "GET", "HEAD")
        slots = _slots(active)
        if pinned is not None and pinned not in slots:
            if active is None:
                raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
            _version(endpoint, active, pinned)
        if rest == ["ready"]:
            ready = active is not None and not self._state.draining
            return json_response({"name": endpoint.model, "ready": ready}, status=200 if ready else 503)
        if active is None:
            raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
        if rest == ["stats"]:
            return self._statistics([endpoint], pinned)
        shown = slots[pinned] if pinned is not None else active.champion
        return json_response(
            model_document(endpoint.model, sorted(slots), shown.predictor.inputs, shown.predictor.loaded.signature)
        )

    def _infer(self, endpoint: Endpoint, request: HttpRequest, given: str | None, pinned: int | None) -> Answer:
        began = self._clock.monotonic()
        active = endpoint.active
        if active is None:
            raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
        wanted = pinned_version(request) if pinned is None else pinned
        slot = None if wanted is None else _version(endpoint, active, wanted)
        tensors, protocol = _read(request, active, slot)
        ends = deadline(request, began)
        if tensors.timeout_us is not None:
            asked = began + tensors.timeout_us / 1e6
            ends = asked if ends is None else min(ends, asked)
        call = InferenceCall(
            rows=tensors.rows,
            protocol=protocol,
            request_id=given or tensors.request_id,
            unit=request.header(b"x-routing-key"),
            pinned=wanted,
            deadline=ends,
        )
        request.counted = True
        return written(
            endpoint.begin(call),
            lambda served: response(served, tensors, headers=served_headers(served)),
        )


def _slots(active: Active | None) -> dict[int, Slot]:
    """Return the places of the versions in force by their numbers."""
    served = () if active is None else (active.champion, active.challenger)
    return {slot.predictor.version: slot for slot in served if slot is not None}


def _version(endpoint: Endpoint, active: Active, number: int) -> Slot:
    slots = _slots(active)
    if number not in slots:
        served = ", ".join(map(str, sorted(slots)))
        message = f"Version {number} of '{endpoint.model}' is not being served."
        raise NotFoundRequestError(message, hint=f"Served now: {served}.")
    return slots[number]


def _read(request: HttpRequest, active: Active, pinned: Slot | None) -> tuple[TensorRequest, str]:
    """Read an inference request for the version that will answer it, or for either where chance decides."""
    predictor = (pinned or active.champion).predictor
    inputs, signature = predictor.inputs, predictor.loaded.signature
    further: tuple[RequestField, ...] = ()
    if pinned is None and active.challenger is not None:
        further = active.challenger.predictor.inputs
    encoding = request.header(b"content-encoding")
    body = request.body if encoding is None else unpacked(request.body, encoding)
    length = request.header(HEADER_LENGTH)
    if length == "0":
        return raw_request(body, inputs, signature), BINARY
    raw: memoryview | None = None
    if length is None:
        document = decode_json(body)
    else:
        document, raw = split_body(body, length)
    tensors = read_request(document, inputs, predictor.assembly.known, further=further, raw=raw)
    if tensors.outputs:
        check_outputs(tensors.outputs, signature.output)
    return tensors, "oip-json" if raw is None else BINARY
