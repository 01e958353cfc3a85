"""Rows pushed over HTTP by 1, 8 and 64 callers at once: with shared commits, and with a commit for each push.

    python bench/pushes.py [--pushes 256] [--rows 10]

Both sides are the same server in alternating rounds; the peer is the door with one batch per commit, as it was before
callers could share one. Beside the pushes a probe asks for health all the time. Small pushes: a batch of ``--rows``
rows, each with an id of its own. Printed are the pushes per second, the server's processor time per push (which other
work on the machine hardly touches), the ratio of the two processor times, and the slowest answer to a health probe.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from loopwright.core.errors import RequestError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.serving.doors import ingest_door
from loopwright.serving.doors.ingest_door import IngestDoor
from loopwright.serving.http.message import HttpRequest, HttpResponse, error_response, json_response
from loopwright.serving.http.server import HttpServer

if TYPE_CHECKING:
    from loopwright.serving.http.connection import Answer

CALLERS = (1, 8, 64)
PARCELS = Dataset("parcels", push(), contract=[column("id", "string"), column("kg", "float", at_least=0)])


class Door:
    """The part of the REST door that is measured."""

    def __init__(self, ingest: IngestDoor) -> None:
        self._ingest = ingest

    def respond(self, request: HttpRequest) -> Answer:
        """Answer pushes, and health with the processor time that was used."""
        if request.path == "/livez":
            return json_response({"live": True, "cpu_s": sum(os.times()[:2])})
        return self._receive(request)

    async def _receive(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._ingest.receive(request.path[8:], request.body)
        except RequestError as error:
            return error_response(error)

    def refuse(self, request: HttpRequest, error: RequestError) -> HttpResponse:  # noqa: ARG002 - the port
        """Answer with what is wrong."""
        return error_response(error)


async def serve(folder: str, most_together: int) -> None:
    ingest_door._MOST_TOGETHER = most_together  # noqa: SLF001 - what is measured
    lake = Lake(open_stores(Settings.load(Path(folder), environ={})))
    listening = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(Door(IngestDoor(lake, datasets={"parcels": PARCELS}, executor=ThreadPoolExecutor(1))))
    await server.listen(listening)
    print(listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()


class Caller:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> dict[str, object]:
        """Return the answer to one request."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        content = await reader.readexactly(length)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise SystemExit(f"The server answered: {head.decode()}{content.decode()}")
        return json.loads(content)

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


async def measure(port: int, callers: int, pushes: int, rows: int, mark: str) -> tuple[float, float, float]:
    """Return pushes per second, processor milliseconds per push, and the slowest probe in milliseconds."""
    slowest, is_over = 0.0, False

    async def probe() -> None:
        nonlocal slowest
        caller = Caller(port)
        while not is_over:
            began = time.perf_counter()
            await caller.ask("GET", "/livez")
            slowest = max(slowest, time.perf_counter() - began)
            await asyncio.sleep(0.005)
        caller.close()

    async def call(number: int) -> None:
        caller = Caller(port)
        for turn in range(pushes // callers):
            batch = [{"id": f"{mark}/{number}/{turn}/{n}", "kg": n} for n in range(rows)]
            answer = await caller.ask("POST", "/ingest/parcels", json.dumps(batch).encode())
            assert answer["accepted"] == rows
        caller.close()

    asking = Caller(port)
    before = float((await asking.ask("GET", "/livez"))["cpu_s"])  # type: ignore[arg-type]
    probing = asyncio.create_task(probe())
    began = time.perf_counter()
    await asyncio.gather(*(call(number) for number in range(callers)))
    seconds = time.perf_counter() - began
    is_over = True
    await probing
    after = float((await asking.ask("GET", "/livez"))["cpu_s"])  # type: ignore[arg-type]
    asking.close()
    done = pushes // callers * callers
    return done / seconds, (after - before) / done * 1000, slowest * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pushes", type=int, default=256)
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve[0], int(options.serve[1])))
        return
    print(f"{'callers':>7}  {'':<14} {'pushes/s':>9} {'cpu ms/push':>12} {'slowest probe ms':>17}")
    for callers in CALLERS:
        found = {}
        for name, together in (("commit each", 1), ("shared commit", 512)):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--serve", folder, str(together)]
                server = subprocess.Popen(command, stdout=subprocess.PIPE)
                assert server.stdout is not None
                with server.stdout as told:
                    port = int(told.readline())
                asyncio.run(measure(port, 1, 3, options.rows, "warm"))
                found[name] = asyncio.run(measure(port, callers, options.pushes, options.rows, "push"))
                server.kill()
                server.wait()
            rate, cpu_ms, probe_ms = found[name]
            print(f"{callers:>7}  {name:<14} {rate:>9.1f} {cpu_ms:>12.2f} {probe_ms:>17.1f}")
        each, shared = found["commit each"], found["shared commit"]
        print(
            f"{'':>7}  ratio: {shared[0] / each[0]:.1f} x the pushes/s, {each[1] / shared[1]:.1f} x less processor time"
        )


if __name__ == "__main__":
    main()
