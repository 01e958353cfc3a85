"""The listening side of gRPC: the protocol's service, health and reflection on the event loop of the server.

It is our own HTTP/2, for what gRPC asks of it, and no gRPC library: that one answers on threads of its own and hands
each call over to the event loop and back, which costs more than all the rest, keeps the calls of a turn from being
computed together, and does not survive a fork. Several processes share the port by SO_REUSEPORT.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from loopwright.core.errors import SettingsError
from loopwright.serving.grpc.connection import GrpcConnection
from loopwright.serving.grpc.door import GrpcDoor
from loopwright.serving.grpc.health import HEALTH, HealthService
from loopwright.serving.grpc.proto_file import Messages
from loopwright.serving.grpc.protocol import INFERENCE
from loopwright.serving.grpc.reflection import REFLECTION, ReflectionService
from loopwright.serving.tls import tls_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.serving.grpc.method import Method
    from loopwright.serving.server.further_door import DoorParts

_FILES = (INFERENCE, HEALTH, *REFLECTION)
_SILENCE_S = 75  # then a caller is asked whether it is there
_ANSWER_S = 20
_TICK_S = 1.0
_DRAIN_CHECK_S = 0.02
_BACKLOG = 2048


class GrpcServer:
    """Serve gRPC in one process, on the running event loop.

    Args:
        parts: What the doors of a server work with, and where to listen.
        max_connections: Connections beyond these are turned away.

    Attributes:
        now: Seconds, by the ticks of this server.
        methods: What answers, by path.

    Raises:
        MissingExtraError: When protobuf is not installed.
    """

    def __init__(self, parts: DoorParts, *, max_connections: int = 4096) -> None:
        self.now = 0
        self.methods: Mapping[str, Method] = {}
        self._parts = parts
        self._max_connections = max_connections
        self._messages = Messages(_FILES)
        self._health: HealthService | None = None
        self._connections: set[GrpcConnection] = set()
        self._server: asyncio.Server | None = None
        self._tick: asyncio.TimerHandle | None = None

    async def listen(self) -> None:
        """Begin to accept on the plan's address.

        Raises:
            SettingsError: When the address cannot be bound, or a TLS file cannot be used.
        """
        parts, loop = self._parts, asyncio.get_running_loop()
        door = GrpcDoor(parts, self._messages)
        self._health = HealthService(parts.endpoints, parts.state, self._messages)
        services = tuple(file.service_name for file in _FILES)
        reflection = ReflectionService(self._messages, services, admit=door.admit)
        self.methods = {**door.methods(), **self._health.methods(), **reflection.methods()}
        tls = parts.plan.tls
        context = None if tls is None else tls.context(protocols=("h2",))
        sock = _bound(parts.plan.host, parts.plan.grpc_port or 0)
        self._server = await loop.create_server(
            lambda: GrpcConnection(self), sock=sock, backlog=_BACKLOG, **tls_arguments(context)
        )
        self._tick = loop.call_later(_TICK_S, self.sweep)

    def joined(self, connection: GrpcConnection) -> bool:
        """Add a connection; False when there is no room for it."""
        if len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: GrpcConnection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def sweep(self) -> None:
        """End the connections whose callers vanished or fetch nothing."""
        self.now += 1
        for connection in list(self._connections):
            connection.check(_SILENCE_S, _ANSWER_S)
        self._tick = asyncio.get_running_loop().call_later(_TICK_S, self.sweep)

    async def close(self, *, timeout_s: float) -> None:
        """Stop accepting, let what has begun be answered for at most ``timeout_s`` seconds, and close."""
        if self._server is None or self._health is None:
            return
        self._server.close()
        self._health.close()
        for connection in list(self._connections):
            connection.finish()
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        while self._connections and loop.time() < ends:  # noqa: ASYNC110 - polled while draining only
            await asyncio.sleep(_DRAIN_CHECK_S)
        if self._tick is not None:
            self._tick.cancel()
        for connection in list(self._connections):
            connection.abort()


def _bound(host: str, port: int) -> socket.socket:
    """Bind beside the socket that reserves the port, and beside those of other processes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        hint = "Is another program there? If so, set another [serving] grpc_port in loopwright.toml."
        raise SettingsError(f"gRPC cannot listen on {host}:{port} ({error.strerror}).", hint=hint) from error
    return sock
