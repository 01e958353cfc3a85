from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidRequestError, TooLargeError
from loopwright.serving.http.message import MAX_BODY_BYTES
from loopwright.serving.http.reader import MAX_HEAD_BYTES, RequestReader


class Sink:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.requests = []
        self.refusals = []
        self.awaited = 0
        self.progress = 0
        self.reader = RequestReader(self)

    def received(self, request) -> None:
        self.requests.append(request)

    def refused(self, request, error) -> None:
        self.refusals.append((request, error))

    def body_awaited(self) -> None:
        self.awaited += 1

    def progressed(self) -> None:
        self.progress += 1

    def seen(self) -> list[tuple[str, str, bytes]]:
        return [(request.method, request.path, request.body) for request in self.requests]


STREAM = (
    b"GET /livez?deep=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    b"POST /predict/an%20eta HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /predict/eta HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\n"
    b"Authorization: Bearer trailer\r\n\r\n"
    b"GET http://host/absolute HTTP/1.1\r\nHost: x\r\n\r\n"
    b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)
REQUESTS = [
    ("GET", "/livez", b""),
    ("POST", "/predict/an eta", b"hello"),
    ("POST", "/predict/eta", b"hello"),
    ("GET", "/absolute", b""),
    ("HEAD", "/", b""),
]


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=12))
def test_requests_are_the_same_however_the_bytes_are_cut(cuts):
    sink = Sink()
    edges = [0, *sorted(set(cuts)), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        sink.reader.feed(STREAM[start:end])
    assert sink.seen() == REQUESTS
    assert sink.requests[1].header(b"x-request-id") == "a"
    assert sink.requests[2].header(b"authorization") is None, "a trailer is no header"
    assert sink.reader.ended
    assert not sink.refusals


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused_and_nothing_after_it_is_read(data):
    sink = Sink()
    sink.reader.feed(data)
    [(_, error)] = sink.refusals
    assert isinstance(error, InvalidRequestError)
    assert "not valid HTTP" in str(error)
    sink.reader.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert not sink.requests
    assert len(sink.refusals) == 1


@given(st.binary(max_size=400))
def test_any_bytes_are_requests_or_one_refusal(data):
    sink = Sink()
    sink.reader.feed(b"POST / HTTP/1.1\r\n" + data)
    assert len(sink.refusals) <= 1


def test_a_head_without_end_is_refused():
    sink = Sink()
    sink.reader.feed(b"GET / HTTP/1.1\r\n")
    for _ in range(MAX_HEAD_BYTES // 1000 + 2):
        sink.reader.feed(b"X-Long: " + b"x" * 1000 + b"\r\n")
    [(_, error)] = sink.refusals
    assert "longer than 65536 bytes" in str(error)


def test_a_declared_body_that_is_too_long_is_refused_before_it_comes():
    sink = Sink()
    sink.reader.feed(b"POST /predict/eta HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
    [(request, error)] = sink.refusals
    assert isinstance(error, TooLargeError)
    assert request.path == "/predict/eta"
    sink.reader.feed(b"x" * 100)
    assert not sink.requests


def test_a_chunked_body_that_grows_too_long_is_refused():
    sink = Sink()
    sink.reader.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    part = b"%x\r\n%b\r\n" % (1 << 20, b"x" * (1 << 20))
    for _ in range(16):
        sink.reader.feed(part)
    assert not sink.refusals
    sink.reader.feed(part)
    assert isinstance(sink.refusals[0][1], TooLargeError)


def test_a_body_of_the_largest_size_is_read():
    sink = Sink()
    sink.reader.feed(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES)
    for _ in range(16):
        sink.reader.feed(b"x" * (1 << 20))
    assert len(sink.requests[0].body) == MAX_BODY_BYTES
    assert sink.progress > 10, "a slow body is no idle connection"


@pytest.mark.parametrize(
    ("head", "ends"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", True),
    ],
)
def test_the_last_request_of_a_connection_is_known(head, ends):
    sink = Sink()
    sink.reader.feed(head)
    assert sink.seen() == [("GET", "/", b"")]
    assert sink.reader.ended is ends


def test_a_client_may_ask_before_it_sends_a_body():
    sink = Sink()
    sink.reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
    assert sink.awaited == 1
    sink.reader.feed(b"ok")
    assert sink.seen() == [("POST", "/", b"ok")]
