"""What the server and its models say of themselves over gRPC: liveness, readiness, metadata, the index of versions.

``ModelReady`` answers "not ready" for a model that nobody knows, as Triton's does: its callers poll it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from loopwright.core.errors import NotFoundRequestError, NotReadyError
from loopwright.serving.doors.open_inference import model_document
from loopwright.serving.http.request_headers import version_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopwright.serving.calls.endpoint import Endpoint, Slot
    from loopwright.serving.grpc.proto_file import Message, Messages
    from loopwright.serving.server.further_door import DoorParts

EXTENSIONS = ("model_repository(index)", "schedule_policy(timeout)")


class ModelDescriptions:
    """Answer the calls that compute nothing.

    Args:
        parts: What the doors of a server work with.
        messages: The message classes.
    """

    def __init__(self, parts: DoorParts, messages: Messages) -> None:
        self._parts = parts
        self._messages = messages
        self.answers: Mapping[str, Callable[[Message], Message]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "RepositoryIndex": self._repository_index,
        }

    def _server_live(self, _request: Message) -> Message:
        return self._messages["inference.ServerLiveResponse"](live=True)

    def _server_ready(self, _request: Message) -> Message:
        return self._messages["inference.ServerReadyResponse"](ready=self._parts.state.not_ready_because() is None)

    def _server_metadata(self, _request: Message) -> Message:
        return self._messages["inference.ServerMetadataResponse"](
            name="loopwright", version=self._parts.version, extensions=EXTENSIONS
        )

    def _model_ready(self, request: Message) -> Message:
        endpoint = self._parts.endpoints.get(request.name)
        if endpoint is None:
            return self._messages["inference.ModelReadyResponse"](ready=False)
        slots = _slots(endpoint)
        is_ready = version_number(request.version) in slots if request.version else bool(slots)
        return self._messages["inference.ModelReadyResponse"](ready=is_ready and not self._parts.state.draining)

    def _model_metadata(self, request: Message) -> Message:
        endpoint = self._parts.endpoints.get(request.name)
        if endpoint is None:
            known = ", ".join(sorted(self._parts.endpoints)) or "none"
            raise NotFoundRequestError(
                f"Request for unknown model: '{request.name[:200]}' is not served here.", hint=f"Served: {known}."
            )
        pinned = version_number(request.version) if request.version else None
        slots, active = _slots(endpoint), endpoint.active
        if active is None:
            raise NotReadyError(f"The model '{endpoint.model}' is not loaded.", hint="Try again in a moment.")
        if pinned is not None and pinned not in slots:
            raise NotFoundRequestError(f"Version {pinned} of '{endpoint.model}' is not being served.")
        shown = (active.champion if pinned is None else slots[pinned]).predictor
        document = model_document(endpoint.model, sorted(slots), shown.inputs, shown.loaded.signature)
        return self._messages["inference.ModelMetadataResponse"](**cast("dict[str, Any]", document))

    def _repository_index(self, request: Message) -> Message:
        response = self._messages["inference.RepositoryIndexResponse"]()
        if request.repository_name:
            return response  # there is one repository, and it has no name
        for name, endpoint in sorted(self._parts.endpoints.items()):
            slots = _slots(endpoint)
            for version in sorted(slots):
                response.models.add(name=name, version=str(version), state="READY")
            if not slots and not request.ready:
                response.models.add(name=name, state="UNAVAILABLE", reason="not loaded")
        return response


def _slots(endpoint: Endpoint) -> dict[int, Slot]:
    """Return what is loaded, by version."""
    active = endpoint.active
    served = () if active is None else (active.champion, active.challenger)
    return {slot.predictor.version: slot for slot in served if slot is not None}
