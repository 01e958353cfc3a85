"""How an HTTP API says where its next page is.

====================================================  ==================================================================
``next="link"``                                       the header ``Link`` with ``rel="next"`` (RFC 8288)
``next="paging.next"``                                the body holds the next URL there; none, null or ``""`` ends
``next={"cursor": "after", "at": "meta.cursor"}``     the body holds, at ``at``, the next value of the parameter
                                                      ``after``; none, null or ``""`` ends
``next={"page": "page", "first": 1}``                 the parameter counts pages, until one is empty
``next={"offset": "offset"}``                         the parameter counts rows, until a page is empty
====================================================  ==================================================================

To ask for pages of 100 rows add ``"limit": "limit", "size": 100``. A page that is shorter is not taken for the last
one, since a server may give fewer rows than it is asked for; a page that repeats an earlier one is, and so is 404
after the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping

Style = Literal["link", "body", "cursor", "page", "offset"]
_KEYS = {
    "cursor": {"cursor", "at"},
    "page": {"page", "first", "size", "limit"},
    "offset": {"offset", "first", "size", "limit"},
}


@dataclass(frozen=True)
class Paging:
    """A style of paging, read from what :func:`loopwright.data.sources.http.http` was given as ``next``.

    Attributes:
        style: Where the next page is said.
        parameter: The query's parameter that selects a page.
        at: The dotted path in the body.
        first: The first page's number, or the first row's.
        size: How many rows a full page has.
        limit: The parameter that asks for so many.
    """

    style: Style
    parameter: str = ""
    at: str = ""
    first: int = 0
    size: int | None = None
    limit: str | None = None

    @property
    def counts(self) -> bool:
        """Whether pages are counted here, so that a server that ignores the parameter gives one page forever."""
        return self.style in {"page", "offset"}

    def start(self) -> dict[str, object]:
        """Return the parameters of the first request."""
        asked: dict[str, object] = {self.limit: self.size} if self.limit and self.size else {}
        return {self.parameter: self.first} | asked if self.counts else asked

    def step(self, params: Mapping[str, object], rows: int) -> dict[str, object] | None:
        """Return the parameters of the page after one with so many rows; None where it was the last."""
        if rows == 0:
            return None
        present = int(str(params[self.parameter]))
        return {**params, self.parameter: present + (1 if self.style == "page" else rows)}


def paging(next: object) -> Paging | None:
    """Read a style of paging.

    Raises:
        DeclarationError: If it is none of those above.
    """
    if next is None:
        return None
    if isinstance(next, str) and next:
        return Paging("link") if next == "link" else Paging("body", at=next)
    if isinstance(next, dict):
        for style, keys in _KEYS.items():
            if style not in next:
                continue
            if not set(next) <= keys or (style == "cursor" and set(next) != keys):
                break
            first, size, limit = next.get("first"), next.get("size"), next.get("limit")
            if (style != "cursor" and not _are_counts(first, size)) or (limit is not None and size is None):
                break
            default = 1 if style == "page" else 0
            return Paging(
                style,  # type: ignore[arg-type]
                str(next[style]),
                str(next.get("at", "")),
                default if first is None else first,
                size,
                None if limit is None else str(limit),
            )
    raise DeclarationError(
        f"next={next!r} is no style of paging.",
        hint='Write "link", a path such as "paging.next", {"cursor": "after", "at": "meta.cursor"}, {"page": "page"} '
        'or {"offset": "offset", "limit": "limit", "size": 100}.',
    )


def _are_counts(first: object, size: object) -> bool:
    whole = all(one is None or (isinstance(one, int) and not isinstance(one, bool)) for one in (first, size))
    return whole and (first is None or int(str(first)) >= 0) and (size is None or int(str(size)) >= 1)


def found_at(body: object, path: str) -> object:
    """Return what a body holds at a dotted path; None where it holds nothing there.

    >>> found_at({"data": {"items": [1]}}, "data.items"), found_at({"data": []}, "data.items")
    ([1], None)
    """
    for part in path.split(".") if path else ():
        if isinstance(body, dict):
            body = body.get(part)
        elif isinstance(body, list) and part.isdigit() and int(part) < len(body):
            body = body[int(part)]
        else:
            return None
    return body
