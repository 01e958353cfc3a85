"""HTTP messages on raw ASGI: as little as the hot path needs, and nothing between it and the socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import msgspec

from loopwright.core.errors import InvalidRequestError, OverloadedError, RequestError, TooLargeError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 16 << 20
_JSON = b"application/json"
_FEWER = "Send fewer rows."
_encode = msgspec.json.Encoder(enc_hook=str).encode


class BadFieldError(InvalidRequestError):
    """One field of one row is wrong; carries which.

    Attributes:
        field: Name of the field, or None.
        row: 0-based number of the row, or None.
    """

    def __init__(
        self, message: str, *, field: str | None = None, row: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.field = field
        self.row = row


class HttpRequest:
    """One request: method, path, headers, and a body that is read once.

    Attributes:
        counted: Set when the request is handed to an endpoint, which counts it from then on.
    """

    __slots__ = ("_headers", "_receive", "counted", "method", "path")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self.counted = False

    def header(self, name: bytes) -> str | None:
        """Return a header's value by its lower-case name, or None."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def body(self, *, limit: int = MAX_BODY_BYTES) -> bytes:
        """Read the body.

        Raises:
            TooLargeError: When it is longer than ``limit`` bytes.
            InvalidRequestError: When the caller hung up in the middle.
        """
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise TooLargeError(f"The body has {declared} bytes; at most {limit} are accepted.", hint=_FEWER)
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            only: bytes = message.get("body", b"")
            if len(only) > limit:
                raise TooLargeError(f"The body is longer than {limit} bytes.", hint=_FEWER)
            return only
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] != "http.request":
                raise InvalidRequestError("The connection closed before the body was complete.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise TooLargeError(f"The body is longer than {limit} bytes.", hint=_FEWER)
            if not message.get("more_body", False):
                return b"".join(parts)
            message = await self._receive()


class HttpResponse:
    """A status, a body and headers."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        *,
        content_type: bytes = _JSON,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers or []

    async def send(self, send: Send) -> None:
        """Write the response."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": [
                    (b"content-type", self.content_type),
                    (b"content-length", str(len(self.body)).encode()),
                    *self.headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": self.body})


def json_response(
    document: object, *, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> HttpResponse:
    """Write a JSON response; NaN and infinities become null."""
    return HttpResponse(status, _encode(document), headers=headers)


def error_response(error: RequestError, *, request_id: str | None = None) -> HttpResponse:
    """Turn an error into one clear JSON body; never a traceback."""
    document: dict[str, object] = {"error": str(error)}
    for name in ("field", "row"):
        value = getattr(error, name, None)
        if value is not None:
            document[name] = value
    headers: list[tuple[bytes, bytes]] = []
    if request_id is not None:
        document["request_id"] = request_id
        headers.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    if isinstance(error, OverloadedError):
        document["retry_after_ms"] = int(error.retry_after_s * 1000)
        headers.append((b"retry-after", str(max(1, round(error.retry_after_s))).encode()))
    return json_response(document, status=error.status, headers=headers)


def decode_json(body: bytes) -> object:
    """Read a JSON body.

    Raises:
        InvalidRequestError: When it is none; says where.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"The body is not valid JSON: {error}.") from error
