"""Packed payloads: whatever refers to what, a collection takes what nothing has, and restoring brings it back."""

from __future__ import annotations

import hashlib
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.clock import ManualClock
from loopwright.core.errors import UnknownNameError
from loopwright.core.settings import Settings
from loopwright.core.storage.payloads import PayloadStore
from loopwright.core.storage.stores import Stores, open_stores
from loopwright.core.storage.trash import Trash
from loopwright.loop.dead_payloads import dead_payloads, restore_places, take_payloads

YEARS = timedelta(days=900)
SIZES = (1, 7, 20, 33)  # bytes; a shard holds at most 40


def payload(number: int) -> bytes:
    return f"{number:03}".encode() * SIZES[number % len(SIZES)]


def ref(number: int) -> str:
    return "sha256:" + hashlib.sha256(payload(number)).hexdigest()


def opened(folder: Path) -> Stores:
    stores = open_stores(Settings.load(folder, environ={}), clock=ManualClock(datetime.now(UTC) + YEARS))
    object.__setattr__(stores, "payloads", PayloadStore(stores.blobs, stores.tables, shard_bytes=40 * 3))
    return stores


def refer(stores: Stores, numbers: list[int], how: str) -> None:
    """Let rows of a table refer to payloads: in a column, inside JSON, or only in a version of before."""
    if not numbers:
        return
    refs = [ref(number) for number in numbers]
    if how == "json":
        stores.tables.append("quarantine/d", pa.table({"raw": [json.dumps({"image": one}) for one in refs]}))
        return
    stores.tables.append("datasets/d", pa.table({"image": refs}))
    if how == "before":
        stores.tables.delete("datasets/d", "true")


GROUPS = st.lists(st.lists(st.integers(0, 14), min_size=1, max_size=6, unique=True), min_size=1, max_size=4)
USES = st.lists(
    st.tuples(st.lists(st.integers(0, 14), max_size=4), st.sampled_from(["column", "json", "before"])), max_size=3
)


@settings(max_examples=10)
@given(puts=GROUPS, uses=USES)
def test_what_is_referred_to_stays_and_all_comes_back(puts: list[list[int]], uses: list[tuple[list[int], str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stores = opened(Path(folder))
        for numbers in puts:
            stores.payloads.put_many([payload(number) for number in numbers])
        there = {number for numbers in puts for number in numbers}
        for numbers, how in uses:
            refer(stores, [number for number in numbers if number in there], how)
        alive = {number for numbers, _ in uses for number in numbers} & there
        shards = stores.payloads.shards()
        found = dead_payloads(stores, before=stores.clock.now())
        for one in found:
            assert set(one.dead).isdisjoint(ref(number) for number in alive)
            assert one.dead_bytes * 2 >= sum(shards[one.digest].values())
        for digest in shards.keys() - {one.digest for one in found}:
            dead = [name for name in shards[digest] if name not in {ref(number) for number in alive}]
            assert sum(shards[digest][name] for name in dead) * 2 < sum(shards[digest].values()) or not dead
        trash = Trash(stores)
        identity = trash.begin(restore_window=timedelta(days=7))
        take_payloads(stores, trash, identity, found)
        gone = {name for one in found for name in one.dead}
        for number in sorted(there):
            if ref(number) in gone and not any(ref(number) in inside for inside in stores.payloads.shards().values()):
                with pytest.raises(UnknownNameError):
                    stores.payloads.get(ref(number))
            else:
                assert stores.payloads.get(ref(number)) == payload(number)
        assert not any(stores.blobs.exists(one.digest) for one in found)
        assert dead_payloads(stores, before=stores.clock.now()) == []
        for shard, places in trash.restore(identity):
            restore_places(stores, shard, places)  # type: ignore[arg-type]
        trash.restored(identity)
        names = sorted(there)
        assert stores.payloads.get_many([ref(number) for number in names]) == [payload(number) for number in names]
        stores.close()
