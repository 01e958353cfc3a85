"""The listening side on a real socket, and the same door behind ASGI."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from loopwright.serving.http.asgi import asgi_app
from loopwright.serving.http.message import HttpResponse, error_response
from loopwright.serving.http.server import KEEP_ALIVE_S, HttpServer


class Door:
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    def respond(self, request):
        return self._later() if request.path == "/slow" else HttpResponse(200, request.body or b"ok")

    async def _later(self):
        await self.gate.wait()
        return HttpResponse(200, b"slow")

    def refuse(self, request, error):  # noqa: ARG002
        return error_response(error)


async def serving(**options):
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = HttpServer(Door(), **options)
    await server.listen(sock)
    return server, sock.getsockname()[1]


async def ask(reader, writer, path: str = "/") -> bytes:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return await answer(reader)


async def answer(reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    def go(main) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(main(), 20))

    return go


def test_a_connection_is_kept_and_idle_ones_end(run):
    async def main():
        server, port = await serving()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            assert (await ask(reader, writer)).endswith(b"ok")
        busy_reader, busy_writer = await asyncio.open_connection("127.0.0.1", port)
        busy_writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        half_reader, half_writer = await asyncio.open_connection("127.0.0.1", port)
        half_writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
        assert (await ask(reader, writer)).endswith(b"ok")
        for _ in range(KEEP_ALIVE_S + 1):
            server.sweep()
        assert await reader.read() == b"", "idle"
        assert await half_reader.read() == b"", "half a request, and no progress"
        server.door.gate.set()
        assert (await answer(busy_reader)).endswith(b"slow")
        for each in (writer, busy_writer, half_writer):
            each.close()
        await server.close(timeout_s=5)

    run(main)


def test_closing_answers_what_has_begun_and_accepts_nothing_more(run):
    async def main():
        server, port = await serving()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, writer)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(idle_reader, idle_writer)
        closing = asyncio.create_task(server.close(timeout_s=10))
        assert await idle_reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert not closing.done()
        server.door.gate.set()
        last = await answer(reader)
        assert last.endswith(b"slow")
        assert b"connection: close" in last
        assert await reader.read() == b""
        await closing
        writer.close()
        idle_writer.close()

    run(main)


def test_closing_does_not_wait_for_ever(run):
    async def main():
        server, port = await serving()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, writer)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0)
        await server.close(timeout_s=0.05)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await answer(reader)
        server.door.gate.set()
        writer.close()

    run(main)


def test_connections_are_bounded(run):
    async def main():
        server, port = await serving(max_connections=1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, writer)
        second_reader, second_writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await second_reader.read()).startswith(b"HTTP/1.1 429 ")
        writer.close()
        second_writer.close()
        await server.close(timeout_s=5)

    run(main)


def test_a_refusal_reaches_a_client_that_is_still_sending(run):
    async def main():
        server, port = await serving()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(20):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
        assert (await answer(reader)).startswith(b"HTTP/1.1 413 ")
        writer.close()
        await server.close(timeout_s=5)

    run(main)


def test_the_same_door_behind_asgi():
    async def call(parts: list[bytes]) -> tuple[int, bytes]:
        messages = [
            {"type": "http.request", "body": part, "more_body": place + 1 < len(parts)}
            for place, part in enumerate(parts)
        ]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        await asgi_app(Door())(scope, receive, send)
        assert (b"content-length", str(len(sent[1]["body"])).encode()) in sent[0]["headers"]
        return sent[0]["status"], sent[1]["body"]

    assert asyncio.run(call([b"a", b"b"])) == (200, b"ab")
    status, body = asyncio.run(call([b"x" * (1 << 20)] * 17))
    assert status == 413
    assert b"longer than" in body
