"""The REST door as an ASGI application, for any server that speaks ASGI in place of Loopwright's own.

It costs more processor time per request than `loopwright.serving.http.server`, which is what `serve` uses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from loopwright.serving.http.message import MAX_BODY_BYTES, HttpRequest, HttpResponse, too_large

if TYPE_CHECKING:
    from loopwright.core.errors import RequestError
    from loopwright.serving.http.connection import Door

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def asgi_app(door: Door) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return an ASGI 3 application that answers HTTP with ``door``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        parts: list[bytes] = []
        size = 0
        refusal: RequestError | None = None
        more = True
        while more and refusal is None:
            message = await receive()
            if message["type"] != "http.request":
                return
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > MAX_BODY_BYTES:
                refusal = too_large()
        request = HttpRequest(scope["method"], scope["path"], headers, b"" if refusal else b"".join(parts))
        response = door.respond(request) if refusal is None else door.refuse(request, refusal)
        if not isinstance(response, HttpResponse):
            response = await response
        size = len(response.body)
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [
                    (b"content-type", response.content_type),
                    (b"content-length", str(size).encode()),
                    *response.headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": response.body})

    return app
