"""The description of the routes at ``/openapi.json`` and the page that tries them at ``/docs``.

The page is one file of this package: it loads nothing from anywhere else, runs no other script than its own (a content
security policy holds it to that), and writes everything that it shows as text. Where a token is needed, a browser asks
for it (any user name, the token as the password) before it gets the page; the page then sends its requests with the
token that is typed into it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from loopwright.core.errors import NotFoundRequestError, UnauthorizedRequestError
from loopwright.serving.doors.door_answer import only
from loopwright.serving.doors.openapi import document
from loopwright.serving.http.message import HttpResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.guard import Guard
    from loopwright.serving.http.message import HttpRequest

_HTML = b"text/html; charset=utf-8"
_ASK = (b"www-authenticate", b'Basic realm="loopwright: any name, the token as password", charset="UTF-8"')


class DocsDoor:
    """Answer the description and the page.

    Args:
        endpoints: The served models by name.
        datasets: The datasets that take pushed rows.
        version: The server's version.
        guard: Says whether a caller may see them.
    """

    def __init__(
        self, endpoints: Mapping[str, Endpoint], *, datasets: Collection[str], version: str, guard: Guard
    ) -> None:
        self._endpoints = endpoints
        self._datasets = datasets
        self._version = version
        self._guard = guard

    def describe(self, request: HttpRequest, tail: str, given: str | None) -> HttpResponse:  # noqa: ARG002 - a route
        """Answer the description of what is served now."""
        _alone(request, tail)
        predictors = {
            name: endpoint.active.champion.predictor
            for name, endpoint in self._endpoints.items()
            if endpoint.active is not None
        }
        described = document(predictors, datasets=self._datasets, version=self._version, needs_token=self._guard.is_on)
        return json_response(described, headers=[(b"cache-control", b"no-store")])

    def page(self, request: HttpRequest, tail: str, given: str | None) -> HttpResponse:  # noqa: ARG002 - a route
        """Answer the page, to those who may see it."""
        _alone(request, tail)
        try:
            self._guard.admit(_bearer(request.header(b"authorization")), needs="viewer", asked="/docs")
        except UnauthorizedRequestError:
            text = b"A token is needed: any user name, the token as the password."
            return HttpResponse(401, text, content_type=b"text/plain; charset=utf-8", headers=[_ASK])
        content, policy = _page()
        headers = [
            (b"content-security-policy", policy),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
        ]
        return HttpResponse(200, content, content_type=_HTML, headers=headers)


def _alone(request: HttpRequest, tail: str) -> None:
    if tail:
        raise NotFoundRequestError(f"There is nothing at {request.path[:200]}.", hint="Try /docs or /openapi.json.")
    only(request, "GET", "HEAD")


def _bearer(authorization: str | None) -> str | None:
    """Return the header with the password of ``Basic`` as the token that it is.

    >>> _bearer("Basic " + base64.b64encode(b"me:secret").decode()), _bearer("Bearer secret")
    ('Bearer secret', 'Bearer secret')
    """
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        return "Bearer " + base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return None


@cache
def _page() -> tuple[bytes, bytes]:
    """Return the page, and the policy that lets only its own script and style run."""
    content = files("loopwright.serving").joinpath("templates", "try_it.html").read_bytes()
    hashes = [
        base64.b64encode(hashlib.sha256(found).digest())
        for tag in (b"script", b"style")
        for found in re.findall(b"<%b>(.*?)</%b>" % (tag, tag), content, re.DOTALL)
    ]
    policy = b"; ".join(
        [
            b"default-src 'none'",
            b"script-src 'sha256-%b'" % hashes[0],
            b"style-src 'sha256-%b'" % hashes[1],
            b"connect-src 'self'",
            b"base-uri 'none'",
            b"form-action 'none'",
            b"frame-ancestors 'none'",
        ]
    )
    return content, policy
