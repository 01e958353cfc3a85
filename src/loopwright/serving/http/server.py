"""The listening side of HTTP: accepts connections, bounds them, ends the idle ones, and drains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from loopwright.serving.http.connection import HttpConnection
from loopwright.serving.tls import tls_arguments

if TYPE_CHECKING:
    import socket
    import ssl

    from loopwright.serving.http.connection import Door

KEEP_ALIVE_S = 75
_LINGER_S = 5
_TICK_S = 1.0
_DRAIN_CHECK_S = 0.02
_BACKLOG = 2048


class HttpServer:
    """Serve one door on one socket, on the running event loop.

    Args:
        door: Answers the requests.
        tls: What TLS is spoken with, or None.
        max_connections: Connections beyond these are answered with 429 and closed.

    Attributes:
        now: Seconds, by the ticks of this server; connections note when they were last of use.
        closing: Whether each answer is now the last of its connection.
    """

    def __init__(self, door: Door, *, tls: ssl.SSLContext | None = None, max_connections: int = 8192) -> None:
        self.door = door
        self.tls = tls
        self.now = 0
        self.closing = False
        self._max_connections = max_connections
        self._connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None
        self._tick: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._connections)

    async def listen(self, sock: socket.socket) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: HttpConnection(self), sock=sock, backlog=_BACKLOG, **tls_arguments(self.tls)
        )
        self._tick = loop.call_later(_TICK_S, self.sweep)

    def joined(self, connection: HttpConnection) -> bool:
        """Add a connection; False when there is no room for it."""
        if len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def sweep(self) -> None:
        """End the connections on which nothing was completed for too long."""
        self.now += 1
        for connection in list(self._connections):
            patience = _LINGER_S if connection.is_lingering else KEEP_ALIVE_S
            if connection.is_idle and self.now - connection.seen > patience:
                connection.close()
        self._tick = asyncio.get_running_loop().call_later(_TICK_S, self.sweep)

    async def close(self, *, timeout_s: float) -> None:
        """Stop accepting, let what has begun be answered for at most ``timeout_s`` seconds, and close."""
        self.closing = True
        if self._server is not None:
            self._server.close()
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
