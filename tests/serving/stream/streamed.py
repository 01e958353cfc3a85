"""Answers a stream in a child, which is killed at a batch, or at a moment."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

from loopwright.core.clock import SystemClock
from loopwright.core.settings import Settings
from loopwright.core.storage.exchange import ExchangePlan
from loopwright.core.storage.exchanges import open_exchange
from loopwright.core.storage.stores import open_stores
from loopwright.serving.calls.endpoint import Active
from loopwright.serving.log.compactor import PredictionTable
from loopwright.serving.log.stream_records import records_topic
from loopwright.serving.models.loading import prepare
from loopwright.serving.releases.router import Routing
from loopwright.serving.stream.answering import EventAnswers
from loopwright.serving.stream.declaration import stream
from loopwright.serving.stream.door import Desk, StreamDoor
from loopwright.serving.stream.rows import JsonRows
from loopwright.serving.stream.tally import StreamTally
from loopwright.serving.stream.worker import StreamPlan, StreamWorker

PLAN = ExchangePlan("loopwright-stream.nonce", "in", "in.predictions", "in.dead", records_topic("nonce"))


def _nonce_server() -> ModuleType:
    path = Path(__file__).parents[1] / "nonce_server.py"
    spec = importlib.util.spec_from_file_location("nonce_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nonce_server"] = module
    spec.loader.exec_module(module)
    return module


nonce_server = _nonce_server()


def main(project: str, url: str, version: int, time_s: float, batches: int, stage: str) -> int:
    """Answer all there is with a version.

    Killed after ``time_s``, or ``before``, ``within`` or ``after`` the put of a batch by its number, or while the lake
    is filled (``lake``).
    """
    clock = SystemClock()
    stores = open_stores(Settings.load(Path(project), environ={"LOOPWRIGHT_STREAM_URL": url} if url else {}))
    exchange = open_exchange(stores.settings.stream_url, PLAN, clock=clock)
    desk = Desk(Active(Routing(version), prepare(nonce_server.NonceModel(version), online=None, clock=clock)))
    answers = EventAnswers("nonce", "in", JsonRows(), clock=clock)
    tally = StreamTally("nonce", "in", clock=clock)
    door = StreamDoor(exchange, answers, desk, tally=tally, pause=lambda _: False, max_rows=97)
    if time_s:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, time_s)
    if stage in ("before", "after"):
        _die_around(exchange, batches, stage)
    if stage == "lake":
        append = stores.tables.append
        stores.tables.append = lambda *given, **named: (append(*given, **named), _die())  # type: ignore[method-assign]
    total = 0
    while exchange.lag():
        total += door.step(5)
    exchange.close()
    PredictionTable(stores, "nonce").compact()
    return total


def serve(folder: Path, **options: object) -> None:
    """Run a stream's process on the versions that ``target.json`` names."""
    stores = open_stores(Settings.load(folder, environ={}))
    parent = os.getppid() if options.pop("with_parent", False) else None
    plan = StreamPlan("nonce", stream("in", **options), parent_pid=parent, poll_s=0.05)
    StreamWorker(stores, nonce_server.FileSource(folder / "target.json"), plan).run()


def _die_around(exchange: object, batches: int, stage: str) -> None:
    put, count = exchange.put, 0  # type: ignore[attr-defined]

    def counted(taken: object, made: object) -> None:
        nonlocal count
        count += 1
        if (count, stage) == (batches, "before"):
            _die()
        put(taken, made)
        if (count, stage) == (batches, "after"):
            _die()

    exchange.put = counted  # type: ignore[attr-defined]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), **json.loads(sys.argv[2]))
