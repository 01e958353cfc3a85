"""Before the HTTP door: what concerns all processes of a server together, its liveness, metrics and statistics.

Liveness is answered here before anything else, and so also while requests are shed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import RequestError
from loopwright.serving.doors.model_statistics import model_statistics
from loopwright.serving.http.message import HttpResponse, json_response

if TYPE_CHECKING:
    from loopwright.serving.http.connection import Answer, Door
    from loopwright.serving.http.message import HttpRequest
    from loopwright.serving.membership import Membership
    from loopwright.serving.models.first_request import FirstRequests

_LIVE_PATHS = frozenset({"/livez", "/v2/health/live"})
_OWN_PATHS = _LIVE_PATHS | {"/metrics"}
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class FrontDoor:
    """Answer for all processes; everything else goes to the door behind.

    Args:
        behind: The HTTP door.
        membership: Knows the other processes.
        first: Brings up models at their first request, where not all are in memory.
    """

    def __init__(self, behind: Door, membership: Membership, *, first: FirstRequests | None = None) -> None:
        self._behind = behind
        self._membership = membership
        self._first = first

    def respond(self, request: HttpRequest) -> Answer:
        """Answer at once, or return what to await for the answer; neither raises."""
        if request.path.startswith("/v2/models/") and request.path.endswith("/stats"):
            return self._statistics(request)
        if request.path not in _OWN_PATHS:
            model = None if self._first is None else self._first.asked(request.path)
            if self._first is None or model is None:
                return self._behind.respond(request)
            return self._after_load(model, self._first, request)
        if request.path == "/metrics":
            return self._metrics(request)
        reason = self._membership.unwell()
        if reason is None or request.method not in ("GET", "HEAD"):
            return self._behind.respond(request)
        return json_response({"live": False, "error": reason}, status=503)

    def refuse(self, request: HttpRequest, error: RequestError) -> HttpResponse:
        """Answer, and count, a request that could not be read."""
        return self._behind.refuse(request, error)

    async def _after_load(self, model: str, first: FirstRequests, request: HttpRequest) -> HttpResponse:
        try:
            await first.bring_up(model, request)
        except RequestError as error:
            return self._behind.refuse(request, error)
        return await _whole(self._behind.respond(request))

    async def _metrics(self, request: HttpRequest) -> HttpResponse:
        own = await _whole(self._behind.respond(request))  # may the caller? and: gauges are brought up to date
        if own.status != 200:
            return own
        try:
            return HttpResponse(200, await self._membership.exposition(), content_type=_METRICS_TYPE)
        except TimeoutError:
            return json_response({"error": "The supervisor does not answer."}, status=503)

    async def _statistics(self, request: HttpRequest) -> HttpResponse:
        own = await _whole(self._behind.respond(request))
        if own.status != 200:
            return own
        served = [(one["name"], one["version"]) for one in msgspec.json.decode(own.body)["model_stats"]]
        try:
            return json_response(model_statistics(served, await self._membership.exposition()))
        except TimeoutError:
            return json_response({"error": "The supervisor does not answer."}, status=503)


async def _whole(answer: Answer) -> HttpResponse:
    return answer if isinstance(answer, HttpResponse) else await answer
