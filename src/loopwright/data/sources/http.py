"""The source ``http``: the rows of a paged JSON API."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError
from loopwright.core.sizes import parse_size
from loopwright.data.sources.http_paging import Paging, paging
from loopwright.data.sources.secret import HIDDEN, masked, shown_value
from loopwright.data.sources.sql import check_overlap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.data.sources.window import Overlap

OPEN_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
_LONGEST_NAME = 120


@dataclass(frozen=True)
class HttpSource:
    """A paged JSON API. Make it with :func:`http`, which checks it."""

    url: str = field(repr=False)
    rows: str = ""
    next: Paging | None = None
    params: tuple[tuple[str, object], ...] = field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    watermark: str | None = None
    since: str | None = None
    start: str | float | None = None
    overlap: Overlap = None
    requests_per_second: float | None = None
    attempts: int = 5
    timeout_s: float = 30.0
    max_pages: int = 10_000
    max_page_bytes: int = 64 << 20
    redirects_to: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """``http``."""
        return "http"

    @property
    def name(self) -> str:
        """What rows carry as ``_source``: ``http:``, host and path, and a digest of the parameters if there are any."""
        parts = urlsplit(self.url)
        place = f"{(parts.hostname or '') + (f':{parts.port}' if parts.port else '')}{parts.path}"
        shown = [[name, str(shown_value(name, value))] for name, value in self.params]
        asked = f"{urlsplit(masked(self.url)).query}{shown or ''}{self.rows}"
        digest = hashlib.sha256(asked.encode()).hexdigest()[:8] if asked else ""
        return f"http:{place[:_LONGEST_NAME]}" + (f"#{digest}" if digest else "")

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value; secrets are masked, their placeholders shown."""
        overlap = self.overlap.total_seconds() if isinstance(self.overlap, timedelta) else self.overlap
        described: dict[str, object] = {
            "kind": self.kind,
            "url": masked(self.url),
            "rows": self.rows,
            "next": vars(self.next) if self.next else None,
            "params": {name: shown_value(name, value) for name, value in self.params},
            "headers": {name: _shown(name, value) for name, value in self.headers},
            "watermark": self.watermark,
            "since": self.since,
            "start": self.start,
            "overlap": overlap,
            "fields": dict(self.fields),
        }
        return {key: value for key, value in described.items() if value not in (None, "", {})}


def http(
    url: str,
    *,
    rows: str = "",
    next: str | Mapping[str, object] | None = None,
    params: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    watermark: str | None = None,
    since: str | None = None,
    start: str | float | None = None,
    overlap: Overlap = None,
    requests_per_second: float | None = None,
    attempts: int = 5,
    timeout: str | float = "30s",
    max_pages: int = 10_000,
    max_page_size: str | int = "64MB",
    redirects_to: Sequence[str] = (),
    fields: Mapping[str, str] | None = None,
) -> HttpSource:
    """Declare a paged JSON API as a source.

    Each ingest asks for all pages first and then stores their rows, so that an API that fails half-way leaves nothing
    half-stored. Without a watermark the rows are added where the whole content has changed. A nested value of a row
    becomes JSON text.

    Args:
        url: Where the first page is. ``{name}`` stands for a secret of the settings (``[sources] name = "…"``), here
            and in ``params`` and ``headers``.
        rows: The dotted path to the list of rows in the body, such as ``"data.items"``; the body itself by default.
        next: Where the next page is said; see :mod:`loopwright.data.sources.http_paging`. One page by default.
        params: Parameters of the query.
        headers: Headers, such as ``{"Authorization": "Bearer {shop_token}"}``.
        watermark: A field of each row that grows with each insert and update; rows that were read before add nothing.
        since: The parameter that asks for rows from a watermark on, equal ones included. Without it every ingest asks
            for all pages.
        start: The value of ``since`` in the first ingest; not sent by default.
        overlap: How far before the largest watermark each read begins; as for ``sql``.
        requests_per_second: At most so many.
        attempts: How often a request is tried that meets 408, 425, 429, 5xx, a timeout, a lost connection or a body
            that is cut off. Pauses double from half a second, to a minute at most; ``Retry-After`` is honoured.
        timeout: For connecting, and for each silence of the server.
        max_pages: With more, the ingest is refused.
        max_page_size: The largest body.
        redirects_to: Hosts, beside the URL's own, that a redirect or a next link may lead to. They get no secrets.
        fields: Columns for what lies inside a row, such as ``{"city": "address.city"}``.

    Raises:
        DeclarationError: If the options contradict each other.

    >>> http("https://shop.example/orders", rows="data", next={"page": "p"}).name[:24]
    'http:shop.example/orders'
    """
    parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise DeclarationError(f"http() takes a URL that begins with http:// or https://, got {masked(str(url))}.")
    if since is not None and watermark is None:
        raise DeclarationError("http() has since= and no watermark= to take its value from.")
    if (overlap is not None or start is not None) and since is None:
        raise DeclarationError("http() has overlap= or start= and no since= that would use it.")
    check_overlap(overlap)
    for name, number, least in (("attempts", attempts, 1), ("max_pages", max_pages, 1)):
        if not isinstance(number, int) or number < least:
            raise DeclarationError(f"http(): {name}= is a whole number of at least {least}, got {number!r}.")
    if requests_per_second is not None and not requests_per_second > 0:
        raise DeclarationError(f"http(): requests_per_second= is a number above 0, got {requests_per_second!r}.")
    return HttpSource(
        url,
        rows,
        paging(dict(next) if next is not None and not isinstance(next, str) else next),
        tuple((params or {}).items()),
        tuple((headers or {}).items()),
        watermark,
        since,
        start,
        overlap,
        requests_per_second,
        attempts,
        parse_duration(timeout).total_seconds(),
        max_pages,
        parse_size(max_page_size) if isinstance(max_page_size, str) else max_page_size,
        tuple(redirects_to),
        tuple((fields or {}).items()),
    )


def _shown(name: str, value: str) -> object:
    return value if "{" in value or name.lower() in OPEN_HEADERS else HIDDEN
