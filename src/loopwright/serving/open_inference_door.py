"""The routes of the Open Inference Protocol v2 over HTTP: everything under ``/v2``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidRequestError, NotFoundRequestError, NotReadyError
from loopwright.serving.door_answer import only, served_headers, written
from loopwright.serving.endpoint import InferenceCall
from loopwright.serving.http_message import decode_json, json_response
from loopwright.serving.open_inference import model_document, read_request, response_document
from loopwright.serving.request_headers import deadline, pinned_version, version_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.core.clock import Clock
    from loopwright.serving.door_answer import Answer
    from loopwright.serving.endpoint import Endpoint
    from loopwright.serving.http_message import HttpRequest
    from loopwright.serving.server_state import ServerState


class OpenInferenceDoor:
    """Answer the protocol's routes for the endpoints of one server.

    Args:
        endpoints: The served models by name.
        state: The server's readiness.
        version: The server's version, for its metadata.
    """

    def __init__(self, endpoints: Mapping[str, Endpoint], *, state: ServerState, clock: Clock, version: str) -> None:
        self._endpoints = endpoints
        self._state = state
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
            return json_response({"name": "loopwright", "version": self._version, "extensions": []})
        raise NotFoundRequestError(f"There is nothing at {path[:200]}.", hint="Try /v2 or /v2/models/<model>.")

    def _endpoint(self, model: str) -> Endpoint:
        endpoint = self._endpoints.get(model)
        if endpoint is None:
            known = ", ".join(sorted(self._endpoints)) or "none"
            raise NotFoundRequestError(f"There is no model '{model[:200]}' here.", hint=f"Served: {known}.")
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
        if rest not in ([], ["ready"]):
            raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.")
        only(request, "GET", "HEAD")
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
        return written(
            endpoint.begin(call),
            lambda served: json_response(response_document(served, tensors), headers=served_headers(served)),
        )
