"""Asks an HTTP API for one page: patiently, within a rate, a size and the hosts that it may lead to.

The pauses go by the clock that comes in, which packages for retries do not take.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Self

from loopwright.core.error_text import short_text
from loopwright.core.errors import SourceError
from loopwright.core.sizes import format_size
from loopwright.data.sources.http import OPEN_HEADERS
from loopwright.data.sources.secret import filled, masked, scrubbed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import httpx

    from loopwright.core.clock import Clock
    from loopwright.data.sources.http import HttpSource

FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_ASKED_S = 0.5, 60.0, 600.0
MOST_REDIRECTS = 5
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHOWN = 200  # characters of an answer that is an error
_GONE = 404


@dataclass(frozen=True)
class Answer:
    """One page: the body, read as JSON, and where it came from."""

    url: str
    body: object
    next_link: str | None


class _AgainError(Exception):
    """A request that may succeed later."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class _NobodyThereError(_AgainError):
    """A host that has no name or takes no connection, and never did since the client was made."""


class HttpClient:
    """Requests to one API.

    Answers that may be better later are asked for again, ``attempts`` times. A host that cannot be connected to at the
    first request is most likely misspelled or not started, and that is said at once; one that has answered before is
    waited for.

    Args:
        source: The declaration.
        connections: The secrets of the settings.
        clock: What to wait by.
    """

    def __init__(self, source: HttpSource, connections: Mapping[str, str], clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._secrets = list(connections.values())
        self._headers = {"Accept": "application/json"} | {
            name: filled(value, connections) for name, value in source.headers
        }
        self._last: float | None = None
        self._has_answered = False

    def __enter__(self) -> Self:
        import httpx  # noqa: PLC0415 - only who reads an API pays for it

        self._httpx = httpx
        self._client = httpx.Client(timeout=self._source.timeout_s, follow_redirects=False, trust_env=False)
        self._home = httpx.URL(self._source.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def url(self, base: str, params: Mapping[str, object]) -> str:
        """Return a URL with these parameters beside its own."""
        return str(self._httpx.URL(base).copy_merge_params({name: str(value) for name, value in params.items()}))

    def joined(self, base: str, link: str) -> str:
        """Return where a link in a page leads."""
        try:
            return str(self._httpx.URL(base).join(link))
        except (self._httpx.InvalidURL, ValueError):
            raise self._error(base, f"the next page is said to be at {link[:_SHOWN]!r}, which is no URL") from None

    def get(self, url: str, *, may_be_gone: bool = False) -> Answer | None:
        """Return a page; None where it is not there and may be.

        Raises:
            SourceError: If it cannot be had, is too large or is no JSON, or leads to another host.
        """
        for attempt in range(1, self._source.attempts + 1):
            try:
                return self._once(url, may_be_gone=may_be_gone)
            except _AgainError as error:
                pause = FIRST_PAUSE_S * 2 ** (attempt - 1) if error.pause_s is None else error.pause_s
                if pause > LONGEST_ASKED_S:
                    raise self._error(url, f"{error}, and asks to wait {pause:.0f} s", "Run again later.") from None
                if attempt == self._source.attempts or isinstance(error, _NobodyThereError):
                    times = "once" if attempt == 1 else f"{attempt} times"
                    hint = "Run again when the server answers; nothing of this ingest was stored."
                    raise self._error(url, f"{error}, asked {times}", hint) from None
                self._clock.sleep(min(pause, LONGEST_PAUSE_S) if error.pause_s is None else pause)
        raise AssertionError("attempts= is at least 1")

    def _once(self, url: str, *, may_be_gone: bool) -> Answer | None:
        for _ in range(MOST_REDIRECTS + 1):
            headers = self._headers_for(url)
            self._keep_rate()
            try:
                with self._client.stream("GET", url, headers=headers) as response:
                    content = self._content(url, response)
                self._has_answered = True
            except (self._httpx.TransportError, self._httpx.DecodingError) as error:
                is_nobody = isinstance(error, self._httpx.ConnectError) and not self._has_answered
                raise (_NobodyThereError if is_nobody else _AgainError)(
                    f"the server did not answer ({short_text(error)})"
                ) from None
            except self._httpx.InvalidURL as error:
                raise self._error(url, f"no URL: {short_text(error)}") from None
            if response.status_code in _REDIRECTS and "location" in response.headers:
                url = self.joined(url, response.headers["location"])
                continue
            if response.status_code == _GONE and may_be_gone:
                return None
            self._require_success(url, response, content)
            try:
                body = json.loads(content)
            except ValueError as error:
                raise _AgainError(f"the body is no JSON ({short_text(error)})") from None
            link = response.links.get("next", {}).get("url")
            return Answer(url, body, link)
        raise self._error(url, f"more than {MOST_REDIRECTS} redirects")

    def _content(self, url: str, response: httpx.Response) -> bytes:
        most, parts, size = self._source.max_page_bytes, [], 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > most:
                raise self._error(url, f"the page is larger than {format_size(most)}", "Ask for smaller pages.")
            parts.append(chunk)
        return b"".join(parts)

    def _require_success(self, url: str, response: httpx.Response, content: bytes) -> None:
        status = response.status_code
        if response.is_success:
            return
        said = " ".join(content[:_SHOWN].decode(errors="replace").split())
        reason = f"the server answers {status}" + (f" ({said})" if said else "")
        if status in _AGAIN:
            raise _AgainError(reason, _asked_pause(response.headers.get("retry-after"), self._clock.now()))
        hint = "Correct the URL or its parameters."
        if status in {401, 403}:
            hint = "Correct the secret that the headers or parameters name."
        raise self._error(url, reason, hint)

    def _headers_for(self, url: str) -> dict[str, str]:
        """Return the headers for a host; one that the source does not name is refused, another gets no secrets."""
        target = self._httpx.URL(url)
        if (target.scheme, target.host, target.port) == (self._home.scheme, self._home.host, self._home.port):
            return self._headers
        if target.host not in self._source.redirects_to or target.scheme not in {self._home.scheme, "https"}:
            place = f"{target.scheme}://{target.host}" + (f":{target.port}" if target.port else "")
            raise self._error(
                self._source.url, f"it leads to {place}, which is another place", "Name its host in redirects_to=."
            )
        return {name: value for name, value in self._headers.items() if name.lower() in OPEN_HEADERS}

    def _keep_rate(self) -> None:
        rate = self._source.requests_per_second
        if rate is not None and self._last is not None:
            wait = self._last + 1 / rate - self._clock.monotonic()
            if wait > 0:
                self._clock.sleep(wait)
        self._last = self._clock.monotonic()

    def _error(self, url: str, reason: str, hint: str = "Look at what the server gives.") -> SourceError:
        said = scrubbed(f"{self._source.name}: {masked(url)}: {reason}", self._secrets)
        return SourceError(f"{said.rstrip('.')}.", hint=hint)


def _asked_pause(value: str | None, now: datetime) -> float | None:
    """Return the seconds that ``Retry-After`` asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return None
