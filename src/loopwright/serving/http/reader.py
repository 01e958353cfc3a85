"""Bytes of a connection into whole HTTP/1.1 requests, within bounds.

What a client may make the server hold is bounded here: a head and a body. A request that breaks a bound, or is no
HTTP, is refused, and nothing after it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httptools

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.http.message import MAX_BODY_BYTES, HttpRequest, request_path, too_large

if TYPE_CHECKING:
    from loopwright.core.errors import RequestError

MAX_HEAD_BYTES = 64 << 10


class RequestSink(Protocol):
    """Where requests go."""

    def received(self, request: HttpRequest) -> None:
        """Take a whole request."""

    def refused(self, request: HttpRequest, error: RequestError) -> None:
        """Take what is known of a request that is not read further; it is the last."""

    def body_awaited(self) -> None:
        """Hear that the client waits for ``100 Continue`` before it sends the body."""

    def progressed(self) -> None:
        """Hear that the client completed a head or sent a part of a body."""


class RequestReader:
    """Parse one connection with httptools; feed it with ``feed``.

    Attributes:
        begun: Whether a request has begun and is not yet whole.
        ended: Whether nothing more is read: the last request is known.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_parser",
        "_sink",
        "_url",
        "begun",
        "ended",
    )

    def __init__(self, sink: RequestSink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = self._head_bytes = 0
        self._in_head = self.begun = self.ended = False

    def feed(self, data: bytes) -> None:
        """Parse some bytes; the sink hears of each request within this call."""
        in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.ended = True  # no other protocol is spoken here: the request was taken as any, and is the last
        except httptools.HttpParserError as error:
            self._refuse(InvalidRequestError(f"The request is not valid HTTP: {error}."))
        if in_head and self._in_head:  # the bytes that began the head may hold other requests, and are not counted
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(InvalidRequestError(f"The head of the request is longer than {MAX_HEAD_BYTES} bytes."))

    def _refuse(self, error: RequestError) -> None:
        if self.ended:
            return
        self.ended = True
        self._body.clear()
        self._sink.refused(HttpRequest("", request_path(self._url), self._headers, b""), error)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_size = self._head_bytes = 0
        self.begun = self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those that trail a body are dropped."""
        if self._in_head:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Refuse a body that says it is too long, before it comes."""
        self._in_head = False
        if self.ended:
            return
        self._sink.progressed()
        headers = self._headers
        declared = headers.get(b"content-length")
        if declared is not None and len(declared) > 7 and int(declared) > MAX_BODY_BYTES:
            self._refuse(too_large(int(declared)))
        elif b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self._sink.body_awaited()

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if self.ended:
            return
        if self._body:
            self._sink.progressed()
        self._body.append(data)
        self._body_size += len(data)
        if self._body_size > MAX_BODY_BYTES:
            self._refuse(too_large())

    def on_message_complete(self) -> None:
        """Hand the request over."""
        if self.ended:
            return
        self.begun = False
        self.ended = not self._parser.should_keep_alive()
        body = self._body
        whole = body[0] if len(body) == 1 else b"".join(body)
        method = self._parser.get_method().decode()
        self._sink.received(HttpRequest(method, request_path(self._url), self._headers, whole))
