from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from loopwright.core.errors import InvalidRequestError, NotFoundRequestError, NotReadyError, StoreFullError
from loopwright.core.storage.stores import Stores
from loopwright.data.check import unique
from loopwright.data.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.serving.ingest_door import IngestDoor

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
        def push(self, *_: object, **__: object) -> None:
            raise StoreFullError("The disk is full.", hint="Free space.")

    door = IngestDoor(FullLake(), datasets={"parcels": PARCELS}, executor=executor)
    with pytest.raises(NotReadyError, match="disk is full"):
        asyncio.run(door.receive("parcels", b'[{"id": "a", "kg": 1}]'))
