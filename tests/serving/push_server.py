"""A real server that takes rows for one dataset: ``python push_server.py FOLDER STAGE [MOST_TOGETHER]``.

It prints its port, and kills itself at the stage of an ingest, where one is named.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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

PARCELS = Dataset("parcels", push(), contract=[column("id", "string"), column("kg", "float")])


class Door:
    """Answers pushes, health, and how much processor time was used."""

    def __init__(self, ingest: IngestDoor) -> None:
        self._ingest = ingest

    def respond(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        if request.path == "/livez":
            return json_response({"live": True, "cpu_s": sum(os.times()[:2])})
        return self._receive(request)

    async def _receive(self, request: HttpRequest) -> HttpResponse:
        batch_id = request.header(b"idempotency-key")
        try:
            return await self._ingest.receive(request.path[8:], request.body, batch_id=batch_id)
        except RequestError as error:
            return error_response(error)

    def refuse(self, request: HttpRequest, error: RequestError) -> HttpResponse:  # noqa: ARG002 - the port
        return error_response(error)


async def main() -> None:
    def killed(reached: str) -> None:
        if reached == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

    lake = Lake(open_stores(Settings.load(Path(sys.argv[1]), environ={})), on_stage=killed)
    listening = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(Door(IngestDoor(lake, datasets={"parcels": PARCELS}, executor=ThreadPoolExecutor(1))))
    await server.listen(listening)
    print(listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) > 3:
        ingest_door._MOST_TOGETHER = int(sys.argv[3])
    uvloop.run(main())
