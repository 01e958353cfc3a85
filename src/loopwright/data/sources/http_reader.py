"""Reads the pages of a JSON API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import SourceError
from loopwright.core.hashing import digest_json
from loopwright.data.sources.documents import rows_of
from loopwright.data.sources.fetched import mark_of, plan_whole, plan_window, whole_has_new
from loopwright.data.sources.http_client import HttpClient
from loopwright.data.sources.http_paging import found_at
from loopwright.data.sources.secret import filled
from loopwright.data.sources.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.data.sources.http import HttpSource
    from loopwright.data.sources.http_client import Answer
    from loopwright.data.sources.plan import Plan
    from loopwright.data.sources.reader import Reading
    from loopwright.data.sources.rows import Rows
    from loopwright.data.sources.window import Mark


class HttpReader:
    """Asks for all pages, or for those past a watermark."""

    def plan(self, source: HttpSource, reading: Reading) -> Plan:
        """Fetch what is new.

        Raises:
            SourceError: If a page cannot be had or has no rows where they should be; nothing was stored.
        """
        warnings: list[str] = []
        if source.watermark is None:
            plan = plan_whole(_pages(source, reading, None, warnings), reading, name=source.name, has_header=False)
        else:
            part = _part(source)
            before = mark_of(reading, part, source.name)
            window = _window(source, reading, before)
            pages = _pages(source, reading, before, warnings)
            plan = plan_window(window, pages, before, reading, name=source.name, part=part, has_header=False)
        plan.warnings += warnings
        return plan

    def has_new(self, source: HttpSource, reading: Reading) -> bool:
        """Ask for pages until one has something new; without a watermark all are asked for and compared."""
        if source.watermark is None:
            return whole_has_new(_pages(source, reading, None, []), reading.known.get(source.name))
        before = mark_of(reading, _part(source), source.name)
        window = _window(source, reading, before)
        return any(window.fresh(rows) for rows in _pages(source, reading, before, []))


def _part(source: HttpSource) -> str:
    return f"{source.name}:{source.watermark}"


def _window(source: HttpSource, reading: Reading, before: Mark | None) -> Window:
    return Window(
        before,
        column=source.watermark or "",
        overlap=source.overlap,
        now=reading.now,
        has_key=reading.has_key,
        where=source.name,
    )


def _pages(source: HttpSource, reading: Reading, before: Mark | None, warnings: list[str]) -> Iterator[Rows]:
    """Give the rows of each page."""
    since = source.start if before is None else before.low
    params = {name: filled(str(value), reading.connections) for name, value in source.params}
    if source.since is not None and since is not None:
        params[source.since] = str(since)
    with HttpClient(source, reading.connections, reading.clock) as client:
        for answer in _answers(source, client, filled(source.url, reading.connections), params, warnings):
            rows = found_at(answer.body, source.rows)
            yield rows_of(_listed(rows), source.name, fields=dict(source.fields), watermark=source.watermark)


def _answers(
    source: HttpSource, client: HttpClient, base: str, asked: dict[str, str], warnings: list[str]
) -> Iterator[Answer]:
    paging = source.next
    params: dict[str, object] = dict(asked)
    if paging is not None:
        params |= paging.start()
    url: str | None = client.url(base, params)
    seen_urls: set[str] = set()
    seen_pages: set[str] = set()
    for number in range(1, source.max_pages + 1):
        if url is None:
            return
        if url in seen_urls:
            warnings.append(f"{source.name}: page {number} is one that was read before; the pages end there.")
            return
        seen_urls.add(url)
        counted = paging is not None and paging.counts
        answer = client.get(url, may_be_gone=counted and number > 1)
        if answer is None:
            return
        rows = found_at(answer.body, source.rows)
        if not isinstance(rows, list):
            where = f"at '{source.rows}'" if source.rows else "as the body"
            there = f" It has {', '.join(list(answer.body)[:10])}." if isinstance(answer.body, dict) else ""
            raise SourceError(
                f"{source.name}: page {number} has {type(rows).__name__ if rows is not None else 'nothing'} {where}, "
                f"where a list of rows should be.{there}",
                hint="Say where the rows are with rows=.",
            )
        if counted and rows:
            digest = digest_json(rows)
            if digest in seen_pages:
                warnings.append(f"{source.name}: page {number} repeats an earlier one; the pages end there.")
                return
            seen_pages.add(digest)
        yield answer
        if paging is None:
            return
        if paging.counts:
            stepped = paging.step(params, len(rows))
            params = stepped or params
            url = client.url(base, params) if stepped else None
        elif paging.style == "cursor":
            cursor = found_at(answer.body, paging.at)
            url = client.url(base, params | {paging.parameter: cursor}) if cursor not in (None, "", False) else None
        else:
            link = answer.next_link if paging.style == "link" else found_at(answer.body, paging.at)
            url = client.joined(answer.url, str(link)) if link not in (None, "", False) else None
    if url is not None:
        raise SourceError(
            f"{source.name} has more than {source.max_pages:,} pages; nothing of this ingest was stored.",
            hint="Look whether its paging ends, or raise max_pages=.",
        )


def _listed(rows: object) -> list[object]:
    return rows if isinstance(rows, list) else []
