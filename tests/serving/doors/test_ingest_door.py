from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from loopwright.core.errors import (
    InvalidRequestError,
    NotFoundRequestError,
    NotReadyError,
    OverloadedError,
    StoreFullError,
    TooLargeError,
)
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import Stores, open_stores
from loopwright.data.contract.check import unique
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.serving.doors.ingest_door import IngestDoor

PARCELS = Dataset(
    "parcels", push(), key="id", contract=[column("id", "string"), column("kg", "float", at_least=0), unique("id")]
)


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def door(stores: Stores, executor: Executor) -> IngestDoor:
    return IngestDoor(Lake(stores), datasets={"parcels": PARCELS}, executor=executor)


def send(door: IngestDoor, body: object, name: str = "parcels") -> dict[str, object]:
    response = asyncio.run(door.receive(name, json.dumps(body).encode()))
    assert response.status == 200
    return json.loads(response.body)


def test_rows_are_stored_before_the_answer(door: IngestDoor, stores: Stores) -> None:
    answer = send(door, {"rows": [{"id": "a", "kg": 1.5}, {"id": "b", "kg": -1}]})
    assert (answer["accepted"], answer["quarantined"]) == (1, 1)
    assert answer["reasons"] == {"at_least(kg)": 1}
    lake = Lake(stores)
    assert lake.read(lake.snapshot("parcels"), columns=["id"]).to_pylist() == [{"id": "a"}]


def test_the_same_batch_twice_adds_nothing(door: IngestDoor, stores: Stores) -> None:
    body = {"rows": [{"id": "a", "kg": 1}], "batch_id": "b1"}
    assert send(door, body) == send(door, body)
    assert Lake(stores).snapshot("parcels").rows == 1


@pytest.mark.parametrize("body", [{"rows": []}, [], "text", [1, 2], {"rows": [{"id": "a"}], "batch_id": 3}])
def test_what_is_no_batch_is_refused(door: IngestDoor, body: object) -> None:
    with pytest.raises(InvalidRequestError):
        asyncio.run(door.receive("parcels", json.dumps(body).encode()))


def test_an_unknown_dataset_is_named(door: IngestDoor) -> None:
    with pytest.raises(NotFoundRequestError, match="Those that do: parcels"):
        asyncio.run(door.receive("parcel", b"[{}]"))


def test_a_full_disk_is_no_fault_of_the_caller(executor: Executor) -> None:
    class FullLake:
        def push_many(self, *_: object) -> None:
            raise StoreFullError("The disk is full.", hint="Free space.")

    door = IngestDoor(FullLake(), datasets={"parcels": PARCELS}, executor=executor)
    with pytest.raises(NotReadyError, match="disk is full"):
        asyncio.run(door.receive("parcels", b'[{"id": "a", "kg": 1}]'))


def arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_lines_of_json_and_arrow_are_bodies_too(door: IngestDoor, stores: Stores) -> None:
    bodies = {
        "application/x-ndjson": b'{"id": "a", "kg": 1}\n\n{"id": "b", "kg": 2}\n',
        "application/vnd.apache.arrow.stream": arrow(pa.table({"id": ["c"], "kg": [3]})),
    }
    for kind, body in bodies.items():
        for _ in range(2):
            response = asyncio.run(door.receive("parcels", body, content_type=kind, batch_id=kind))
            assert response.status == 200
    assert Lake(stores).snapshot("parcels").rows == 3
    broken = {
        "application/x-ndjson": [b"{\n", b"[1]", b""],
        "application/vnd.apache.arrow.stream": [b"", b"no arrow", arrow(pa.table({"id": pa.array([], pa.string())}))],
    }
    for kind, wrong in broken.items():
        for body in wrong:
            with pytest.raises(InvalidRequestError):
                asyncio.run(door.receive("parcels", body, content_type=kind))


class HeldLake(Lake):
    """A lake that commits when it is let, and notes how many batches each commit took."""

    def __init__(self, stores: Stores) -> None:
        super().__init__(stores)
        self.free = threading.Event()
        self.taken: list[int] = []

    def push_many(self, dataset, batches):  # type: ignore[no-untyped-def]
        self.free.wait(30)
        self.taken.append(len(batches))
        return super().push_many(dataset, batches)


def test_who_waits_shares_the_next_commit(stores: Stores, executor: Executor) -> None:
    lake = HeldLake(stores)
    door = IngestDoor(lake, datasets={"parcels": PARCELS}, executor=executor)

    async def clients() -> list[object]:
        bodies = [json.dumps([{"id": f"{n}", "kg": n - 1}]).encode() for n in range(40)]
        asked = [asyncio.ensure_future(door.receive("parcels", body)) for body in bodies]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        lake.free.set()
        return [json.loads((await one).body) for one in asked]

    answers = asyncio.run(clients())
    assert [(one["accepted"], one["quarantined"]) for one in answers] == [(0, 1), *[(1, 0)] * 39]  # type: ignore[index]
    assert sum(lake.taken) == 40
    assert len(lake.taken) <= 2
    assert len(lake.history("parcels")) == len([count for count in lake.taken if count])


def test_a_full_line_says_when_to_come_again(stores: Stores, executor: Executor) -> None:
    lake = HeldLake(stores)
    door = IngestDoor(lake, datasets={"parcels": PARCELS}, executor=executor, max_waiting_rows=5, max_waiting_bytes=300)

    async def clients() -> None:
        rows = [{"id": f"{n}", "kg": n} for n in range(4)]
        first = asyncio.ensure_future(door.receive("parcels", json.dumps(rows).encode()))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="4 rows wait") as raised:
            await door.receive("parcels", json.dumps(rows).encode())
        assert raised.value.retry_after_s > 0
        with pytest.raises(OverloadedError):
            await door.receive("parcels", json.dumps([{"id": "x" * 300, "kg": 1}]).encode())
        lake.free.set()
        assert (await first).status == 200
        large = [{"id": f"more {n}", "kg": n} for n in range(10)]
        assert (await door.receive("parcels", json.dumps(large).encode())).status == 200

    asyncio.run(clients())
    assert lake.snapshot("parcels").rows == 14


def test_more_rows_than_one_batch_may_have(door: IngestDoor) -> None:
    with pytest.raises(TooLargeError):
        asyncio.run(door.receive("parcels", json.dumps([{"id": "a"}] * 100_001).encode()))


def test_a_fault_leaves_nobody_waiting(executor: Executor) -> None:
    class BrokenLake:
        def push_many(self, *_: object) -> None:
            raise ZeroDivisionError

    door = IngestDoor(BrokenLake(), datasets={"parcels": PARCELS}, executor=executor)

    async def clients() -> list[object]:
        asked = [door.receive("parcels", b'[{"id": "a"}]') for _ in range(3)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert [type(one) for one in asyncio.run(clients())] == [ZeroDivisionError] * 3


SERVER = Path(__file__).parents[1] / "push_server.py"


def begin(folder: Path, stage: str) -> tuple[subprocess.Popen[bytes], int]:
    child = subprocess.Popen([sys.executable, str(SERVER), str(folder), stage], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as told:
        return child, int(told.readline())


def post(port: int, number: int) -> int | None:
    """Send a batch; None where the server died before it answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        rows = [{"id": f"{number}.{n}", "kg": n} for n in range(3)]
        headers = {"idempotency-key": f"batch {number}"}
        connection.request("POST", "/ingest/parcels", json.dumps(rows), headers)
        return connection.getresponse().status
    except (http.client.HTTPException, OSError):
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("stage", ["pending", "committed"])
def test_a_batch_repeated_after_a_killed_server_is_stored_once(stage: str, tmp_path: Path) -> None:
    """The server dies in a commit that several callers share; each repeats its batch."""
    child, port = begin(tmp_path, stage)
    with ThreadPoolExecutor(6) as callers:
        assert None in list(callers.map(post, [port] * 6, range(6)))
    assert child.wait(30) == -signal.SIGKILL
    child, port = begin(tmp_path, "")
    try:
        with ThreadPoolExecutor(6) as callers:
            assert list(callers.map(post, [port] * 6, range(6))) == [200] * 6
            assert list(callers.map(post, [port] * 6, range(6))) == [200] * 6
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(30)
    stores = open_stores(Settings.load(tmp_path, environ={}))
    lake = Lake(stores)
    found = lake.read(lake.snapshot("parcels"), columns=["id"])["id"].to_pylist()
    assert sorted(found) == sorted(f"{number}.{n}" for number in range(6) for n in range(3))
    stores.close()
