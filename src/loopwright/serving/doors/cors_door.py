"""Answers for pages of other origins: a door before the HTTP door, there only where origins are set.

An origin that is set gets its own name back, never ``*``, and credentials (cookies) are never allowed: a token goes in
the ``Authorization`` header, which the page sends itself.

Source: the Fetch standard, "CORS protocol".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import ForbiddenRequestError
from loopwright.serving.http.message import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

    from loopwright.core.errors import RequestError
    from loopwright.serving.http.connection import Answer, Door
    from loopwright.serving.http.message import HttpRequest
    from loopwright.serving.http.pending_response import PendingResponse

_METHODS = b"GET, HEAD, POST, OPTIONS"
_SENT = (
    *("accept", "authorization", "content-encoding", "content-type", "idempotency-key", "traceparent", "tracestate"),
    *("x-model-version", "x-request-id", "x-request-timeout-ms", "x-routing-key", "inference-header-content-length"),
)
_SHOWN = b"inference-header-content-length, retry-after, x-ignored-fields, x-model-version, x-request-id"
_VARY = (b"vary", b"origin")
_MAX_AGE_S = b"600"


class CorsDoor:
    """Let the pages of some origins ask the door behind."""

    def __init__(self, behind: Door, origins: Collection[str]) -> None:
        self._behind = behind
        self._origins = frozenset(origins)

    def respond(self, request: HttpRequest) -> Answer:
        """Answer at once, or return what to await for the answer; neither raises."""
        origin = request.header(b"origin")
        if request.method == "OPTIONS" and origin is not None:
            return self._preflight(request, origin)
        headers = self._headers(origin)
        answer = self._behind.respond(request)
        if isinstance(answer, HttpResponse):
            return _with(answer, headers)
        return self._awaited(answer, headers)

    def refuse(self, request: HttpRequest, error: RequestError) -> HttpResponse:
        """Answer, and count, a request that could not be read."""
        return _with(self._behind.refuse(request, error), self._headers(request.header(b"origin")))

    def _headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        if origin not in self._origins:
            return [_VARY]
        return [
            _VARY,
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", _SHOWN),
        ]

    def _preflight(self, request: HttpRequest, origin: str) -> HttpResponse:
        """Say what a page may send, before it does; no token is asked for, as browsers send none."""
        if origin not in self._origins:
            refused = ForbiddenRequestError("Pages of this origin may not ask.", hint="See [serving] cors_origins.")
            return self.refuse(request, refused)
        allowed = [
            _VARY,
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", ", ".join(_SENT).encode()),
            (b"access-control-max-age", _MAX_AGE_S),
        ]
        return HttpResponse(200, b"", content_type=b"text/plain", headers=allowed)

    async def _awaited(
        self, answer: PendingResponse | Coroutine[object, None, HttpResponse], headers: list[tuple[bytes, bytes]]
    ) -> HttpResponse:
        return _with(await answer, headers)


def _with(answer: HttpResponse, headers: list[tuple[bytes, bytes]]) -> HttpResponse:
    answer.headers = [*answer.headers, *headers]
    return answer
