"""Before the HTTP door: what concerns all processes of a server together, its liveness and its metrics.

Liveness is answered here before anything else, and so also while requests are shed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.serving.http_message import HttpResponse, json_response

if TYPE_CHECKING:
    from loopwright.core.errors import RequestError
    from loopwright.serving.http_connection import Answer, Door
    from loopwright.serving.http_message import HttpRequest
    from loopwright.serving.membership import Membership

_LIVE_PATHS = frozenset({"/livez", "/v2/health/live"})
_OWN_PATHS = _LIVE_PATHS | {"/metrics"}
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class FrontDoor:
    """Answer for all processes; everything else goes to the door behind."""

    def __init__(self, behind: Door, membership: Membership) -> None:
        self._behind = behind
        self._membership = membership

    def respond(self, request: HttpRequest) -> Answer:
        """Answer at once, or return what to await for the answer; neither raises."""
        if request.path not in _OWN_PATHS:
            return self._behind.respond(request)
        if request.path == "/metrics":
            return self._metrics(request)
        reason = self._membership.unwell()
        if reason is None or request.method not in ("GET", "HEAD"):
            return self._behind.respond(request)
        return json_response({"live": False, "error": reason}, status=503)

    def refuse(self, request: HttpRequest, error: RequestError) -> HttpResponse:
        """Answer, and count, a request that could not be read."""
        return self._behind.refuse(request, error)

    async def _metrics(self, request: HttpRequest) -> HttpResponse:
        answer = self._behind.respond(request)  # may the caller? and: gauges are brought up to date
        own = answer if isinstance(answer, HttpResponse) else await answer
        if own.status != 200:
            return own
        return HttpResponse(200, await self._membership.exposition(), content_type=_METRICS_TYPE)
