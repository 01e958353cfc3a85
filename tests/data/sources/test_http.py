"""A JSON API on a loopback server that misbehaves: pages, retries, bounds, and what is said when it is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import loopwright as lw
from loopwright.core.errors import DeclarationError, SourceError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

Answer = tuple[int, Any, dict[str, str]]


class Api:
    """What the server answers with: a function of the query, after the answers that are due first."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, str]], Any] = lambda _: []
        self.first: list[Answer | str] = []
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            made.headers.append({name.lower(): value for name, value in self.headers.items()})
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            due = made.first.pop(0) if made.first else made.answer(query)
            if due == "hang up":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[{")
                return
            status, body, headers = due if isinstance(due, tuple) else (200, due, {})
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


ROWS = [{"id": number, "price": number / 4} for number in range(25)]


def ids_of(lake: Lake, name: str = "d") -> list[int]:
    return sorted(lake.read(lake.snapshot(name))["id"].to_pylist())


def part(query: dict[str, str], *, size: int = 10) -> list[dict[str, Any]]:
    first = int(query.get("offset", (int(query.get("page", "1")) - 1) * size))
    return ROWS[first : first + size]


def link(api: Api, query: dict[str, str]) -> str | None:
    page = int(query.get("page", "1"))
    return f"{api.url}/orders?page={page + 1}" if page < 3 else None


STYLES: dict[str, tuple[Any, Callable[[Api, dict[str, str]], Any]]] = {
    "link": (
        "link",
        lambda api, query: (
            200,
            {"data": {"items": part(query)}},
            {"Link": f'<{found}>; rel="next"'} if (found := link(api, query)) else {},
        ),
    ),
    "body": ("paging.next", lambda api, query: {"data": {"items": part(query)}, "paging": {"next": link(api, query)}}),
    "cursor": (
        {"cursor": "page", "at": "after"},
        lambda api, query: {
            "data": {"items": part(query)},
            "after": int(query.get("page", "1")) + 1 if link(api, query) else None,
        },
    ),
    "page": ({"page": "page"}, lambda _, query: {"data": {"items": part(query)}}),
    "offset": (
        {"offset": "offset", "limit": "limit", "size": 100},  # the server gives ten, whatever it is asked for
        lambda _, query: {"data": {"items": part(query)}},
    ),
    "gone": (
        {"page": "page"},
        lambda _, query: {"data": {"items": part(query)}} if part(query) else (404, {"detail": "Invalid page."}, {}),
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_every_page_is_read_once(api: Api, lake: Lake, style: str) -> None:
    next, answer = STYLES[style]
    api.answer = lambda query: answer(api, query)
    dataset = Dataset("d", lw.http(f"{api.url}/orders?a=1", rows="data.items", next=next))
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_accepted == 25
    assert ids_of(lake) == list(range(25))
    assert lake.ingest(dataset).rows_read == 0
    assert not lake.has_new(dataset)
    if style in {"page", "offset", "cursor"}:
        assert all("a=1" in path for path in api.asked)


def test_since_asks_for_what_is_new(api: Api, lake: Lake) -> None:
    stored = [{"id": n, "at": f"2025-12-31T10:{n:02d}:00Z"} for n in range(5)]
    api.answer = lambda query: [row for row in stored if row["at"] >= query.get("since", "")]  # type: ignore[operator]
    source = lw.http(f"{api.url}/orders", watermark="at", since="since", overlap="2m", start="2025-12-31T10:01:00Z")
    dataset = Dataset("d", source, contract=[lw.column("at", "timestamp")])
    assert lake.ingest(dataset).rows_accepted == 4
    stored += [{"id": 10, "at": "2025-12-31T10:03:00Z"}, {"id": 11, "at": "2025-12-31T10:30:00Z"}]
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_accepted == 2
    assert "since=2025-12-31T10%3A02%3A00Z" in api.asked[-1]
    assert not lake.has_new(dataset)
    assert lake.ingest(dataset).rows_read == 0
    assert ids_of(lake) == [1, 2, 3, 4, 10, 11]
    api.answer = lambda _: stored  # a server that ignores the parameter doubles nothing
    assert lake.ingest(dataset).rows_read == 0


def test_errors_that_pass_are_waited_for(api: Api, lake: Lake, clock: ManualClock) -> None:
    begun = clock.monotonic()
    later = "Thu, 01 Jan 2026 00:01:00 GMT"
    api.first = [(500, {}, {}), (429, {}, {"Retry-After": "7"}), "hang up", (200, b'[{"id": 1', {})]
    api.answer = lambda _: [{"id": 1}]
    assert lake.ingest(Dataset("d", lw.http(api.url))).rows_accepted == 1
    assert clock.monotonic() - begun == 0.5 + 7 + 2 + 4
    api.first = [(503, {}, {"Retry-After": later})]
    lake.ingest(Dataset("e", lw.http(api.url)))
    assert clock.now().isoformat() == "2026-01-01T00:01:00+00:00"


def test_errors_that_stay_are_said(api: Api, lake: Lake) -> None:
    source = lw.http(api.url, attempts=3)
    for answer, said in [
        ((500, {"why": "broken"}, {}), r"answers 500 \(.*broken.*asked 3 times\. Run again"),
        ((200, b'[{"id": 1, "na', {}), "the body is no JSON.*asked 3 times"),
        ("hang up", "did not answer.*asked 3 times"),
        ((429, {}, {"Retry-After": "86400"}), "asks to wait 86400 s. Run again later"),
        ((401, {"error": "no token"}, {}), "answers 401.*no token.*Correct the secret"),
        ((404, {}, {}), "answers 404.*Correct the URL"),
        ({"data": {"itms": []}}, r"page 1 has dict as the body, where a list .* It has data\. Say where"),
        ((302, {}, {"Location": "http://elsewhere.example/x"}), "leads to http://elsewhere.example.*redirects_to="),
        ((302, {}, {"Location": "/again"}), "more than 5 redirects"),
    ]:
        api.answer = lambda _, answer=answer: answer  # type: ignore[misc]
        with pytest.raises(SourceError, match=said):
            lake.ingest(Dataset("d", source))
    assert lake.names() == []
    with pytest.raises(SourceError, match=r"did not answer.*Run again when"):
        lake.ingest(Dataset("d", lw.http("http://127.0.0.1:9/", attempts=2)))


def test_a_host_that_takes_no_connection_is_said_at_once(lake: Lake, clock: ManualClock) -> None:
    begun = clock.monotonic()
    with pytest.raises(SourceError, match=r"did not answer.*asked once\. Run again when"):
        lake.ingest(Dataset("d", lw.http("http://127.0.0.1:9/", attempts=6)))
    assert clock.monotonic() == begun


def test_a_host_that_went_away_between_two_pages_is_waited_for(
    api: Api, lake: Lake, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = clock.monotonic()
    api.answer = part
    sent, refusals = httpx.Client.stream, iter([False, True, True])

    def stream(self: httpx.Client, *args: Any, **options: Any) -> Any:
        if next(refusals, False):
            raise httpx.ConnectError("[Errno 111] Connection refused")
        return sent(self, *args, **options)

    monkeypatch.setattr(httpx.Client, "stream", stream)
    assert lake.ingest(Dataset("d", lw.http(api.url, next={"page": "page"}))).rows_accepted == 25
    assert clock.monotonic() - begun == 0.5 + 1


def test_an_api_that_fails_halfway_leaves_nothing(api: Api, lake: Lake) -> None:
    api.answer = lambda query: (500, {}, {}) if query["page"] == "2" else part(query)
    dataset = Dataset("d", lw.http(api.url, next={"page": "page"}, attempts=2))
    with pytest.raises(SourceError, match=r"page=2.*answers 500"):
        lake.ingest(dataset)
    assert lake.names() == []
    api.answer = part
    assert lake.ingest(dataset).rows_accepted == 25


def test_a_page_that_repeats_ends_the_pages(api: Api, lake: Lake) -> None:
    api.answer = lambda _: ROWS[:10]
    report = lake.ingest(Dataset("d", lw.http(api.url, next={"page": "page"})))
    assert (report.rows_accepted, len(api.asked)) == (10, 2)
    assert any("page 2 repeats an earlier one" in line for line in report.warnings)
    api.answer = lambda _: {"rows": ROWS[:5], "next": "/x?page=1"}
    report = lake.ingest(Dataset("e", lw.http(f"{api.url}/x?page=1", rows="rows", next="next")))
    assert report.rows_accepted == 5
    assert any("was read before" in line for line in report.warnings)


def test_pages_without_end_are_refused(api: Api, lake: Lake) -> None:
    api.answer = lambda query: {"rows": [{"id": 1}], "next": f"/x?page={int(query.get('page', '0')) + 1}"}
    with pytest.raises(SourceError, match=r"more than 20 pages; nothing .* raise max_pages="):
        lake.ingest(Dataset("d", lw.http(api.url, rows="rows", next="next", max_pages=20)))
    assert len(api.asked) == 20
    api.answer = lambda _: [{"id": "x" * 2_000}]
    with pytest.raises(SourceError, match="larger than 1 kB"):
        lake.ingest(Dataset("d", lw.http(api.url, max_page_size="1KB")))


def test_requests_keep_the_rate(api: Api, lake: Lake, clock: ManualClock) -> None:
    api.answer = part
    begun = clock.monotonic()
    lake.ingest(Dataset("d", lw.http(api.url, next={"page": "page"}, requests_per_second=2)))
    assert len(api.asked) == 4
    assert clock.monotonic() - begun == 1.5


def test_rows_change_their_shape(api: Api, lake: Lake) -> None:
    pages: list[list[Any]] = [
        [{"id": 1, "price": 2.5, "where": {"city": "Oslo", "zip": [1, 2]}}, {"id": 2, "tags": ["a"], "price": 1.5}],
        [{"id": 3, "price": "dear"}, "no row", {"id": None, "price": 1}, {"id": 4, "new": True}],
    ]
    api.answer = lambda query: pages[int(query["page"]) - 1] if int(query["page"]) <= 2 else []
    source = lw.http(api.url, next={"page": "page"}, fields={"city": "where.city"})
    report = lake.ingest(Dataset("d", source, key="id", contract=[lw.column("price", "float", required=False)]))
    assert (report.rows_accepted, report.rows_quarantined) == (3, 3)
    rows = {row["id"]: row for row in lake.read(lake.snapshot("d")).to_pylist()}
    assert (rows[1]["city"], rows[1]["where"]) == ("Oslo", '{"city": "Oslo", "zip": [1, 2]}')
    assert (rows[2]["tags"], rows[4]["new"], rows[4]["price"]) == ('["a"]', True, None)
    found = {
        (one.source_row, reason.check, reason.column, reason.value)
        for one in lake.quarantine("d").entries()
        for reason in one.reasons
    }
    assert found == {
        (2, "type", "price", "dear"),
        (3, "row", "", "json: the row is no object"),
        (4, "required", "id", None),
    }


def test_secrets_are_sent_and_never_shown(api: Api, tmp_path: Path, clock: ManualClock) -> None:
    settings = Settings.load(tmp_path, environ={"LOOPWRIGHT_SOURCES_SHOP_TOKEN": "t0ps3cret"})
    stores = open_stores(settings, clock=clock)
    headers = {"Authorization": "Bearer {shop_token}", "User-Agent": "shop", "X-Plain": "written out"}
    source = lw.http(api.url, headers=headers, params={"api_key": "{shop_token}", "q": "all"})
    api.answer = lambda query: (403, {"said": f"bad {query['api_key']}"}, {})
    with pytest.raises(SourceError, match="answers 403") as caught:
        Lake(stores).ingest(Dataset("d", source))
    assert api.headers[0]["authorization"] == "Bearer t0ps3cret"
    assert "api_key=t0ps3cret" in api.asked[0]
    described = source.describe()
    assert described["headers"] == {
        "Authorization": "Bearer {shop_token}",
        "User-Agent": "shop",
        "X-Plain": "***",
    }
    assert described["params"] == {"api_key": "{shop_token}", "q": "all"}
    assert "t0ps3cret" not in f"{caught.value}{described}{source}"
    with pytest.raises(SourceError, match=r"no connection 'other'.*LOOPWRIGHT_SOURCES_OTHER"):
        Lake(stores).ingest(Dataset("d", lw.http(api.url, headers={"Authorization": "{other}"})))
    stores.close()


def test_a_host_that_is_named_gets_no_secrets(api: Api, lake: Lake) -> None:
    port = api.url.rpartition(":")[2]
    api.first = [(302, {}, {"Location": f"http://localhost:{port}/moved"})]
    api.answer = lambda _: [{"id": 1}]
    headers = {"Authorization": "Bearer x", "User-Agent": "shop"}
    assert lake.ingest(Dataset("d", lw.http(api.url, headers=headers, redirects_to=["localhost"]))).rows_accepted == 1
    assert (api.headers[1].get("authorization"), api.headers[1]["user-agent"]) == (None, "shop")


def test_a_watermark_that_no_row_has_is_said(api: Api, lake: Lake) -> None:
    api.answer = lambda _: ROWS[:3]
    with pytest.raises(SourceError, match="no row has a value in the watermark 'updated'"):
        lake.ingest(Dataset("d", lw.http(api.url, watermark="updated")))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"next": {"pages": "page"}}, "no style of paging"),
        ({"next": {"page": "page", "first": -1}}, "no style of paging"),
        ({"next": {"cursor": "c"}}, "no style of paging"),
        ({"since": "s"}, "no watermark="),
        ({"watermark": "w", "start": 1}, "no since="),
        ({"attempts": 0}, "at least 1"),
        ({"requests_per_second": 0}, "above 0"),
        ({"timeout": "soon"}, "not a duration"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        lw.http("http://127.0.0.1/", **options)
    with pytest.raises(DeclarationError, match="begins with http"):
        lw.http("ftp://ann:pa55@h/x")
