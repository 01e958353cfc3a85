from __future__ import annotations

import asyncio

import pytest

from loopwright.core.errors import InvalidRequestError
from loopwright.serving.http.connection import HttpConnection
from loopwright.serving.http.message import MAX_BODY_BYTES, HttpResponse, error_response, json_response
from loopwright.serving.http.pending_response import PendingResponse


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = self.reading_paused = self.eof_sent = self.aborted = False

    def write(self, data) -> None:
        assert not self.closed
        assert not self.eof_sent
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_sent = True

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def bodies(self) -> list[bytes]:
        return [part.partition(b"\r\n\r\n")[2] for part in self.sent.split(b"HTTP/1.1 ")[1:]]


class Entry:
    """A call that is answered when the test says so."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.then = None
        self.cancelled = False

    def answer(self) -> None:
        self.then(self.path)

    def cancel(self) -> None:
        self.cancelled = True


class Echo:
    """Answers with the path; paths that begin with /slow wait for ``gate``."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.answered = []
        self.refused = []
        self.entries = []

    def respond(self, request):
        if request.path.startswith("/turn"):
            self.entries.append(entry := Entry(request.path))
            return PendingResponse(entry, lambda served: HttpResponse(200, served.encode()))
        if request.path.startswith("/slow"):
            return self._later(request)
        self.answered.append(request.path)
        return HttpResponse(200, request.path.encode() + request.body)

    async def _later(self, request):
        await self.gate.wait()
        self.answered.append(request.path)
        return HttpResponse(200, request.path.encode())

    def refuse(self, request, error):  # noqa: ARG002
        self.refused.append(error)
        return error_response(error)


class Server:
    def __init__(self, *, room: bool = True) -> None:
        self.door = Echo()
        self.now = 0
        self.closing = False
        self.room = room
        self.connections = set()

    def joined(self, connection) -> bool:
        if self.room:
            self.connections.add(connection)
        return self.room

    def left(self, connection) -> None:
        self.connections.discard(connection)


def get(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def connected(*, room: bool = True):
    server, wire = Server(room=room), Wire()
    connection = HttpConnection(server)
    connection.connection_made(wire)
    return server, wire, connection


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def on_loop(test):
    def run():
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@on_loop
async def test_a_request_is_answered_within_the_call_that_brings_it():
    _, wire, connection = connected()
    connection.data_received(get("/a"))
    assert wire.sent == b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n/a"
    connection.data_received(get("/b", body=b"!", method="POST"))
    assert wire.bodies() == [b"/a", b"/b!"]
    assert not wire.closed


@on_loop
async def test_head_gets_the_length_and_no_body():
    _, wire, connection = connected()
    connection.data_received(get("/abc", method="HEAD"))
    assert b"content-length: 4\r\n" in wire.sent
    assert wire.bodies() == [b""]


@on_loop
async def test_pipelined_requests_are_answered_in_order_though_some_must_wait():
    server, wire, connection = connected()
    connection.data_received(get("/1") + get("/slow2") + get("/3") + get("/slow4") + get("/5"))
    assert wire.bodies() == [b"/1"]
    await turns()
    server.door.gate.set()
    await turns(10)
    assert wire.bodies() == [b"/1", b"/slow2", b"/3", b"/slow4", b"/5"]
    assert connection.is_idle


@on_loop
async def test_calls_of_one_connection_are_on_their_way_together_and_answered_in_order():
    server, wire, connection = connected()
    paths = ["/turn1", "/turn2", "/3", "/turn4"]
    connection.data_received(b"".join(get(path, method="HEAD" if path == "/turn2" else "GET") for path in paths))
    first, second, fourth = server.door.entries
    assert not connection.is_idle
    fourth.answer()
    second.answer()
    assert wire.sent == b""
    first.answer()
    assert wire.bodies() == [b"/turn1", b"", b"/3", b"/turn4"]
    assert connection.is_idle


@on_loop
async def test_a_task_and_a_refusal_come_after_the_calls_before_them():
    server, wire, connection = connected()
    server.door.gate.set()
    connection.data_received(get("/turn1") + get("/slow2") + get("/3") + b"nonsense\r\n\r\n")
    await turns()
    assert wire.sent == b""
    server.door.entries[0].answer()
    await turns()
    assert wire.bodies()[:3] == [b"/turn1", b"/slow2", b"/3"]
    assert wire.sent.count(b"connection: close") == 1
    assert b"not valid HTTP" in wire.bodies()[3]
    assert wire.eof_sent


@on_loop
async def test_only_so_many_calls_of_one_connection_are_on_their_way():
    server, wire, connection = connected()
    connection.data_received(b"".join(get(f"/turn{number}") for number in range(40)))
    answered = 0
    while answered < 40:
        entries = server.door.entries
        assert len(entries) - answered <= 16
        entries[answered].answer()
        answered += 1
        await turns(2)
    assert wire.bodies() == [f"/turn{number}".encode() for number in range(40)]
    assert not wire.reading_paused


@on_loop
async def test_a_call_is_given_up_when_its_client_is_gone():
    server, wire, connection = connected()
    connection.data_received(get("/turn1") + get("/turn2"))
    connection.connection_lost(None)
    assert all(entry.cancelled for entry in server.door.entries)
    server.door.entries[0].answer()
    assert wire.sent == b""
    assert connection.is_idle


@on_loop
async def test_a_closing_server_answers_the_calls_that_are_on_their_way():
    server, wire, connection = connected()
    connection.data_received(get("/turn1") + get("/turn2"))
    server.closing = True
    connection.finish()
    assert not wire.closed
    for entry in server.door.entries:
        entry.answer()
    assert wire.bodies() == [b"/turn1", b"/turn2"]
    assert wire.sent.count(b"connection: close") == 1
    assert wire.closed


@on_loop
async def test_many_pipelined_requests_leave_a_turn_to_others():
    _, wire, connection = connected()
    connection.data_received(b"".join(get(f"/{number}") for number in range(100)))
    assert len(wire.bodies()) == 16
    await turns(20)
    assert wire.bodies() == [f"/{number}".encode() for number in range(100)]


@on_loop
async def test_reading_stops_while_too_much_waits():
    server, wire, connection = connected()
    connection.data_received(get("/slow") + b"".join(get(f"/{number}") for number in range(20)))
    assert wire.reading_paused
    server.door.gate.set()
    await turns(10)
    assert len(wire.bodies()) == 21
    assert not wire.reading_paused


@on_loop
async def test_a_client_that_does_not_fetch_its_answers_gets_no_more_of_them():
    server, wire, connection = connected()
    connection.pause_writing()
    assert wire.reading_paused
    connection.data_received(get("/1") + get("/2"))
    await turns()
    assert server.door.answered == []
    connection.resume_writing()
    assert wire.bodies() == [b"/1", b"/2"]
    assert not wire.reading_paused
    connection.pause_writing()
    connection.close()
    assert wire.aborted, "what it does not fetch would never be flushed"


@on_loop
async def test_connection_close_is_obeyed_and_said():
    _, wire, connection = connected()
    connection.data_received(get("/1", "Connection: close") + get("/2"))
    assert b"\r\nconnection: close\r\n" in wire.sent
    assert wire.bodies() == [b"/1"]
    assert wire.closed


@on_loop
async def test_a_client_that_half_closes_still_gets_its_answers():
    server, wire, connection = connected()
    connection.data_received(get("/slow") + get("/2"))
    assert connection.eof_received() is True
    server.door.gate.set()
    await turns(10)
    assert wire.bodies() == [b"/slow", b"/2"]
    assert wire.closed
    _, _, idle = connected()
    assert idle.eof_received() is False


@on_loop
async def test_work_that_was_accepted_is_finished_though_the_client_is_gone():
    server, wire, connection = connected()
    connection.data_received(get("/slow"))
    await turns()
    connection.connection_lost(None)
    assert not server.connections
    server.door.gate.set()
    await turns()
    assert server.door.answered == ["/slow"]
    assert wire.sent == b""


@on_loop
async def test_what_is_no_http_is_refused_after_the_answers_before_it():
    server, wire, connection = connected()
    connection.data_received(get("/slow") + b"nonsense\r\n\r\n")
    await turns()
    server.door.gate.set()
    await turns(10)
    first, second = wire.bodies()
    assert first == b"/slow"
    assert b"not valid HTTP" in second
    assert isinstance(server.door.refused[0], InvalidRequestError)
    assert wire.eof_sent
    assert not wire.closed, "the client may still be sending"
    connection.data_received(b"more" * 100)
    assert connection.eof_received() is False


@on_loop
async def test_a_body_that_is_too_long_is_refused_at_once_and_read_to_its_end():
    _, wire, connection = connected()
    connection.data_received(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
    assert wire.sent.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in wire.sent
    assert connection.is_lingering
    for _ in range(5):
        connection.data_received(b"x" * MAX_BODY_BYTES)
    assert wire.aborted, "but not for ever"


@on_loop
async def test_a_body_is_asked_for_when_its_turn_has_come():
    server, wire, connection = connected()
    connection.data_received(get("/1", "Expect: 100-continue", "Content-Length: 2", method="POST"))
    assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"ok")
    assert wire.bodies()[-1] == b"/1ok"
    wire.sent = b""
    connection.data_received(get("/slow") + get("/2", "Expect: 100-continue", "Content-Length: 2", method="POST"))
    await turns()
    assert wire.sent == b""
    server.door.gate.set()
    await turns(10)
    assert wire.sent.endswith(b"/slowHTTP/1.1 100 Continue\r\n\r\n")


@on_loop
async def test_another_protocol_is_not_spoken_and_the_request_answered_as_any():
    _, wire, connection = connected()
    connection.data_received(get("/1", "Connection: Upgrade", "Upgrade: websocket"))
    assert wire.bodies() == [b"/1"]
    assert wire.closed


@on_loop
async def test_a_server_that_ends_answers_what_has_begun():
    server, wire, connection = connected()
    connection.data_received(get("/1")[:-2])
    server.closing = True
    connection.finish()
    assert not wire.closed
    connection.data_received(b"\r\n")
    assert b"connection: close" in wire.sent
    assert wire.closed
    _, idle_wire, idle = connected()
    idle.finish()
    assert idle_wire.closed


@on_loop
async def test_beyond_the_last_place_a_client_is_turned_away():
    server, wire, _ = connected(room=False)
    assert wire.sent.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1" in wire.sent
    assert wire.closed
    assert not server.connections


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\x00b"])
def test_a_header_value_cannot_end_its_line(value):
    sent = json_response({}, headers=[(b"x-request-id", value.encode())]).encode()
    assert sent.count(b"\n") == 5, "three headers, the status and the empty line"
