"""The gRPC health service (``grpc.health.v1``): of the server, of the protocol's service, and of each model.

Answered on the event loop from what the endpoints say at that moment, so it never waits for a computation and needs no
token, like the health paths of HTTP. While the server drains, everything is ``NOT_SERVING``.

Source: the health checking protocol of gRPC (grpc/grpc, ``doc/health-checking.md``; grpc/grpc-proto,
``grpc/health/v1/health.proto``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from loopwright.serving.grpc.method import Method
from loopwright.serving.grpc.proto_file import ProtoFile, Rpc
from loopwright.serving.grpc.protocol import INFERENCE
from loopwright.serving.grpc.serve import read, streamed, unary
from loopwright.serving.grpc.status import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.grpc.proto_file import Message, Messages
    from loopwright.serving.grpc.stream import Stream
    from loopwright.serving.server_state import ServerState

HEALTH = ProtoFile(
    "grpc/health/v1/health.proto",
    "grpc.health.v1",
    {
        "HealthCheckRequest": "string service=1",
        "HealthCheckResponse": (
            "enum ServingStatus UNKNOWN=0 SERVING=1 NOT_SERVING=2 SERVICE_UNKNOWN=3; "
            "HealthCheckResponse.ServingStatus status=1"
        ),
        "HealthListRequest": "",
        "HealthListResponse": "map<HealthCheckResponse> statuses=1",
    },
    "Health",
    (
        Rpc("Check", "HealthCheckRequest", "HealthCheckResponse"),
        Rpc("List", "HealthListRequest", "HealthListResponse"),
        Rpc("Watch", "HealthCheckRequest", "HealthCheckResponse", gives_stream=True),
    ),
)
_UNKNOWN = "SERVICE_UNKNOWN"
_LOOK_EVERY_S = 0.1


class HealthService:
    """Answer ``Check``, ``List`` and ``Watch``; made on the event loop.

    Args:
        endpoints: The served models by name.
        state: The server's readiness.
        messages: The message classes.
    """

    def __init__(self, endpoints: Mapping[str, Endpoint], state: ServerState, messages: Messages) -> None:
        self._endpoints = endpoints
        self._state = state
        self._asked = messages["grpc.health.v1.HealthCheckRequest"]
        self._given = messages["grpc.health.v1.HealthCheckResponse"]
        self._list_asked = messages["grpc.health.v1.HealthListRequest"]
        self._list_given = messages["grpc.health.v1.HealthListResponse"]
        self._closing = asyncio.Event()

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        service = f"/{HEALTH.service_name}"
        return {
            f"{service}/Check": Method(unary=unary(self._check)),
            f"{service}/List": Method(unary=unary(self._list)),
            f"{service}/Watch": Method(streamed=streamed(self._watch)),
        }

    def close(self) -> None:
        """End the watches, each with a last word."""
        self._closing.set()

    def status(self, service: str) -> str:
        """Return the name of the status of the server (no name, or the service's) or of a model."""
        if service in ("", INFERENCE.service_name):
            is_serving = self._state.not_ready_because() is None
        elif service in self._endpoints:
            is_serving = not self._state.draining and self._endpoints[service].active is not None
        else:
            return _UNKNOWN
        return "SERVING" if is_serving else "NOT_SERVING"

    def _check(self, stream: Stream, content: bytes) -> None:
        service = read(self._asked, content).service
        status = self.status(service)
        if status == _UNKNOWN:
            known = ", ".join([INFERENCE.service_name, *sorted(self._endpoints)])
            stream.refuse(Refusal("NOT_FOUND", f"There is no service {service[:200]!r}. Known: {known}."))
        else:
            stream.answer(self._told(status).SerializeToString())

    def _list(self, stream: Stream, content: bytes) -> None:
        read(self._list_asked, content)
        names = ("", INFERENCE.service_name, *self._endpoints)
        statuses = {name: self._told(self.status(name)) for name in names}
        stream.answer(self._list_given(statuses=statuses).SerializeToString())

    async def _watch(self, stream: Stream) -> None:
        """Answer now and at every change, until the caller has enough or the server ends."""
        asked = await stream.next_message()
        service, told = read(self._asked, asked or b"").service, ""
        while not stream.is_over:
            status = self.status(service)
            if status != told:
                told = status
                await stream.send(self._told(status).SerializeToString())
            if self._closing.is_set():
                return
            try:
                await asyncio.wait_for(self._closing.wait(), _LOOK_EVERY_S)
            except TimeoutError:
                continue

    def _told(self, status: str) -> Message:
        return self._given(status=status)
