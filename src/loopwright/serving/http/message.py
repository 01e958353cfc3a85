"""HTTP messages: a request that is read whole, a response, and the one form that every error has."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httptools
import msgspec

from loopwright.core.errors import (
    InvalidRequestError,
    NotReadyError,
    OverloadedError,
    RequestError,
    TooLargeError,
    WrongMethodError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BODY_BYTES = 16 << 20
_JSON = b"application/json"
_CONTROLS = bytes([*range(32), 127])  # a header value that carried a line end would end the header
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}".encode() for status in HTTPStatus}
_encode = msgspec.json.Encoder(enc_hook=str).encode


class BadFieldError(InvalidRequestError):
    """One field of the body, or of one of its rows, is wrong."""


class HttpRequest:
    """One request, whole: method, decoded path, headers by lower-case name, body.

    Attributes:
        counted: Set when the request is handed to an endpoint, which counts it from then on.
    """

    __slots__ = ("_headers", "body", "counted", "method", "path")

    def __init__(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes) -> None:
        self.method = method
        self.path = path
        self._headers = headers
        self.body = body
        self.counted = False

    def header(self, name: bytes) -> str | None:
        """Return a header's value by its lower-case name, or None."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")


class HttpResponse:
    """A status, a body and headers."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        *,
        content_type: bytes = _JSON,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers

    def encode(self, *, last: bool = False, head_only: bool = False) -> bytes:
        """Return the bytes of an HTTP/1.1 response.

        Args:
            last: Say that the connection closes after it.
            head_only: Leave out the body, as HEAD wants it.
        """
        lines = b""
        for name, value in self.headers:
            lines += b"\r\n%b: %b" % (name, value.translate(None, _CONTROLS))
        return b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d%b%b\r\n\r\n%b" % (
            _STATUS_LINES[self.status],
            self.content_type,
            len(self.body),
            lines,
            b"\r\nconnection: close" if last else b"",
            b"" if head_only else self.body,
        )


def json_response(document: object, *, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> HttpResponse:
    """Write a JSON response; NaN and infinities become null."""
    return HttpResponse(status, _encode(document), headers=headers)


def error_response(error: RequestError, *, request_id: str | None = None, detail: bool = True) -> HttpResponse:
    """Turn an error into one clear JSON body; never a traceback.

    Args:
        error: What is wrong.
        request_id: What the log calls the request.
        detail: Say what is wrong with which field; otherwise no more than the kind of error.
    """
    document: dict[str, object] = {"error": str(error) if detail else kind_of(error)}
    for name in ("field", "row") if detail else ():
        value = getattr(error, name, None)
        if value is not None:
            document[name] = value
    headers: list[tuple[bytes, bytes]] = []
    if request_id is not None:
        document["request_id"] = request_id
        headers.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    if isinstance(error, WrongMethodError):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, OverloadedError):
        document["retry_after_ms"] = math.ceil(error.retry_after_s * 1000)
        if error.queue_rows is not None:
            document["queue_rows"] = error.queue_rows
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    elif isinstance(error, NotReadyError) and error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    return json_response(document, status=error.status, headers=headers)


def kind_of(error: RequestError) -> str:
    """Return what an error may say where the names and values that a model knows are nobody's business.

    >>> kind_of(InvalidRequestError("Row 0: the field 'age' is missing.", field="age", row=0))
    'The request does not fit what is served here.'
    """
    return kind_of_status(error.status)


def kind_of_status(status: int) -> str:
    """Return what an HTTP status means here, in one sentence."""
    return _KINDS.get(status, "The request failed.")


_KINDS = {
    400: "The request does not fit what is served here.",
    401: "A valid token is needed.",
    403: "The token does not include this.",
    404: "There is nothing of this name.",
    405: "The method is not possible here.",
    413: "The request is too large.",
    415: "Bodies of this type are not read here.",
    429: "Too much is being worked on; try again later.",
    503: "Not ready; try again in a moment.",
    504: "The deadline passed before the answer was computed.",
}


def decode_json(body: bytes) -> object:
    """Read a JSON body.

    Raises:
        InvalidRequestError: When it is none; says where.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"The body is not valid JSON: {error}.") from error


def request_path(target: bytes) -> str:
    """Return the decoded path of a request's target; empty where it has none.

    >>> request_path(b"/predict/an%20eta?x=1"), request_path(b"http://host/livez"), request_path(b"host:443")
    ('/predict/an eta', '/livez', '')
    """
    if not target.startswith(b"/"):
        try:
            target = httptools.parse_url(target).path or b""
        except httptools.HttpParserInvalidURLError:
            return ""
    path = target.partition(b"?")[0].decode("latin-1")
    return unquote(path) if "%" in path else path


def too_large(size: int | None = None) -> TooLargeError:
    """Return the refusal of a body that has, or says it has, more than `MAX_BODY_BYTES`."""
    if size is None:
        return TooLargeError(f"The body is longer than {MAX_BODY_BYTES} bytes.", hint="Send fewer rows.")
    return TooLargeError(f"The body has {size} bytes; at most {MAX_BODY_BYTES} are accepted.", hint="Send fewer rows.")
