"""SIGKILL while rows come from a database and from an API: afterwards every row is there exactly once."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

import loopwright as lw
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.data.sources.source import Source

CHILD = """
import json, os, signal, sys, threading
from pathlib import Path
import loopwright as lw
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.dataset import Dataset
from loopwright.data.ingest import stage
from loopwright.data.lake import Lake
from loopwright.data.sources import spool

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def ingest(folder, reached, kind, url, bound):
    stage.IN_MEMORY_BYTES = spool.IN_MEMORY_BYTES = bound
    if reached.startswith("after "):
        threading.Timer(float(reached.split()[1]), kill).start()
    lake = Lake(
        open_stores(Settings.load(Path(folder), environ={})), on_stage=lambda stage: stage == reached and kill()
    )
    source = lw.sql(url, table="rows", watermark="at") if kind == "sql" else lw.http(
        url, rows="rows", next="next", watermark="at", since="since"
    )
    lake.ingest(Dataset("d", source, contract=[lw.column("x", "int")]))
    if reached.startswith("after "):
        kill()

for line in sys.stdin:
    child = os.fork()  # what is killed shares the imports, and nothing else
    if not child:
        try:
            ingest(*json.loads(line))
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
STAGES = ["planned", "staged", "pending", "quarantined", "committed", "recorded"]
CONTRACT = [lw.column("x", "int")]


class Rows:
    """A table, and the same rows behind an API with pages of three."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rows.db"
        self.count = 0
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE rows (x, at INTEGER)")

    def add(self, count: int) -> None:
        """Add good rows and, of each five, a bad one; some come late."""
        new = range(self.count, self.count + count)
        self.count += count
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany(
                "INSERT INTO rows VALUES (?, ?)", [(f"bad {n}" if n % 5 == 4 else n, 100 + n - n % 3) for n in new]
            )

    def page(self, since: int, offset: int) -> list[dict[str, object]]:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute(
                "SELECT x, at FROM rows WHERE at >= ? ORDER BY at, x LIMIT 3 OFFSET ?", (since, offset)
            ).fetchall()
        return [{"x": x, "at": at} for x, at in found]


@pytest.fixture
def made(tmp_path: Path) -> Rows:
    return Rows(tmp_path)


@pytest.fixture
def url(made: Rows) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: int(values[0]) for name, values in parse_qs(urlsplit(self.path).query).items()}
            since, offset = query.get("since", 0), query.get("offset", 0)
            page = made.page(since, offset)
            follow = f"/?since={since}&offset={offset + 3}" if len(page) == 3 else None
            content = json.dumps({"rows": page, "next": follow}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the child is killed now and then
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def source_of(kind: str, url: str) -> Source:
    if kind == "sql":
        return lw.sql("sqlite:///rows.db", table="rows", watermark="at")
    return lw.http(url, rows="rows", next="next", watermark="at", since="since")


class Runner:
    """A process that forks a child for each ingest that is killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def kill_at(self, reached: str, folder: Path, kind: str, url: str, bound: int) -> None:
        place = "sqlite:///rows.db" if kind == "sql" else url
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(folder), reached, kind, place, bound]), file=self._process.stdin, flush=True)
        assert self._process.stdout.readline().strip() == str(-signal.SIGKILL)

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.close()


def assert_once(stores: Stores, dataset: Dataset, count: int) -> None:
    lake = Lake(stores)
    lake.ingest(dataset)
    assert lake.ingest(dataset).rows_read == 0
    assert not lake.has_new(dataset)
    table = lake.read(lake.snapshot("d"))
    assert sorted(table["x"].to_pylist()) == [n for n in range(count) if n % 5 != 4]
    assert lake.snapshot("d").rows == table.num_rows
    bad = sorted(str(entry.raw["x"]) for entry in lake.quarantine("d").entries())  # type: ignore[index]
    assert bad == sorted(f"bad {n}" for n in range(count) if n % 5 == 4)
    numbers = table["_source_row"].to_pylist() + [entry.source_row for entry in lake.quarantine("d").entries()]
    assert sorted(numbers) == list(range(count))


@pytest.mark.parametrize("kind", ["sql", "http"])
def test_killed_at_every_stage(kind: str, made: Rows, url: str, stores: Stores, tmp_path: Path, runner: Runner) -> None:
    for number, reached in enumerate(STAGES):
        made.add(10)
        runner.kill_at(reached, tmp_path, kind, url, bound=0 if number % 2 else 1 << 20)
    assert_once(stores, Dataset("d", source_of(kind, url), contract=CONTRACT), 60)


@pytest.mark.parametrize("kind", ["sql", "http"])
def test_killed_at_random(kind: str, made: Rows, url: str, stores: Stores, tmp_path: Path, runner: Runner) -> None:
    chance = random.Random(7)
    for _ in range(6):
        made.add(7)
        runner.kill_at(f"after {chance.uniform(0, 0.3):.4f}", tmp_path, kind, url, bound=0)
    assert_once(stores, Dataset("d", source_of(kind, url), contract=CONTRACT), 42)
