"""Kinesis is read exactly once, over splits and merges of shards, on moto's server."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.clock import ManualClock
from loopwright.core.errors import SourceError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.kinesis import kinesis

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores

boto3 = pytest.importorskip("boto3", reason="the extra kinesis is not installed")
REGION = "eu-north-1"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stderr is not None
            line = next(line for line in server.stderr if "Running on http" in line)
            threading.Thread(target=server.stderr.read, daemon=True).start()  # its log must not fill the pipe
            with pytest.MonkeyPatch.context() as patch:
                for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                    patch.setenv(name, "test")
                yield line.split("Running on ")[1].split()[0].removesuffix("\x1b[0m")
        finally:
            server.terminate()


class Stream:
    def __init__(self, endpoint: str, shards: int = 1) -> None:
        self.name = f"orders-{uuid.uuid4().hex[:8]}"
        self.endpoint = endpoint
        self.client: Any = boto3.client("kinesis", region_name=REGION, endpoint_url=endpoint)
        self.make(shards)

    def make(self, shards: int) -> None:
        self.client.create_stream(StreamName=self.name, ShardCount=shards)

    def put(self, *rows: object, key: str = "a") -> None:
        for row in rows:
            data = row if isinstance(row, bytes) else json.dumps({"x": row, "k": key}).encode()
            self.client.put_record(StreamName=self.name, Data=data, PartitionKey=key)

    def dataset(self, **options: Any) -> Dataset:
        source = kinesis(self.name, region=REGION, endpoint=self.endpoint, **options)
        return Dataset("d", source, contract=[column("x", "int")])


@pytest.fixture
def stream(endpoint: str) -> Stream:
    return Stream(endpoint)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    opened = open_stores(Settings.load(tmp_path, environ={}))  # on the clock that the server keeps, too
    yield opened
    opened.close()


def stored(lake: Lake) -> list[int]:
    return sorted(lake.read(lake.snapshot("d"), columns=["x"])["x"].to_pylist())


def test_reads_what_is_new_once(stream: Stream, stores: Stores) -> None:
    lake, data = Lake(stores), stream.dataset(attributes={"who": "key", "more": "headers"})
    stream.put(1, b"{", 2)
    assert lake.has_new(data)
    report = lake.ingest(data)
    assert (report.rows_accepted, report.rows_quarantined) == (2, 1)
    assert not lake.has_new(data)
    assert lake.ingest(data).rows_read == 0
    stream.put(3)
    assert lake.ingest(data).rows_read == 1
    rows = lake.read(lake.snapshot("d")).to_pylist()
    shard = f"kinesis:{stream.name}/shardId-000000000000"
    assert sorted((row["x"], row["_source"], row["_source_row"]) for row in rows) == [
        (1, shard, 0),
        (2, shard, 2),
        (3, shard, 3),
    ]
    assert {row["who"] for row in rows} == {"a"}
    assert all(json.loads(row["more"])["sequence_number"].isdigit() for row in rows)
    assert lake.quarantine("d").entries()[0].source_row == 1


def test_takes_no_more_than_it_may(endpoint: str, stores: Stores) -> None:
    stream = Stream(endpoint, shards=2)
    lake, data = Lake(stores), stream.dataset(max_records=3)
    for n in range(8):
        stream.put(n, key=str(n))
    assert [lake.ingest(data).rows_read for _ in range(4)] == [3, 3, 2, 0]
    assert stored(lake) == list(range(8))


def test_begins_with_what_comes_where_asked(stream: Stream, stores: Stores) -> None:
    lake, data = Lake(stores), stream.dataset(start="latest")
    stream.put(1)
    assert lake.ingest(data).rows_read == 0
    stream.put(2, 3)
    lake.ingest(data)
    assert stored(lake) == [2, 3]


@pytest.mark.parametrize("stage", ["planned", "staged", "pending", "quarantined", "committed", "recorded"])
def test_broken_off_at_a_stage(stage: str, stream: Stream, stores: Stores) -> None:
    def stop(reached: str) -> None:
        if reached == stage:
            raise KeyboardInterrupt

    stream.put(1, "bad", 2)
    with pytest.raises(KeyboardInterrupt):
        Lake(stores, on_stage=stop).ingest(stream.dataset())
    stream.put(3)
    lake = Lake(stores)
    lake.ingest(stream.dataset())
    assert lake.ingest(stream.dataset()).rows_read == 0
    assert stored(lake) == [1, 2, 3]
    assert len(lake.quarantine("d").entries()) == 1


def test_a_stream_that_is_not_there_is_named(endpoint: str, stores: Stores) -> None:
    source = kinesis("absent", region=REGION, endpoint=endpoint)
    with pytest.raises(SourceError, match="absent"):
        Lake(stores).ingest(Dataset("d", source))
    with pytest.raises(SourceError, match="'orders' could not be read"):
        Lake(stores).ingest(Dataset("d", kinesis("orders", endpoint="nowhere")))


class FaithfulKinesis:
    """Kinesis in memory, for what moto does otherwise: a split or merged shard keeps its records and is closed."""

    def __init__(self, shards: int = 1) -> None:
        self.shards: dict[str, dict[str, Any]] = {}
        self.count = 0
        self.begin(shards)

    def begin(self, shards: int) -> None:
        """Make the stream anew."""
        self.shards = {}
        width = 2**16 // shards
        for n in range(shards):
            self._open(n * width, (n + 1) * width)

    def _open(self, low: int, high: int, *parents: str) -> None:
        self.count += 1
        name = f"shardId-{len(self.shards):012d}"
        records: list[dict[str, Any]] = []
        hashes = {"low": low, "high": high}
        self.shards[name] = {
            "id": name,
            "parents": parents,
            "records": records,
            "open": True,
            "begins": self.count,
        } | hashes

    def put(self, x: object, key: str) -> None:
        place = hash_of(key)
        shard = next(one for one in self.shards.values() if one["open"] and one["low"] <= place < one["high"])
        self.count += 1
        arrived = datetime.fromtimestamp(self.count / 1000, UTC)
        record = {"Data": json.dumps({"x": x, "k": key}).encode(), "PartitionKey": key}
        shard["records"].append(record | {"SequenceNumber": str(self.count), "ApproximateArrivalTimestamp": arrived})

    def split(self) -> None:
        shard = max((one for one in self.shards.values() if one["open"]), key=lambda one: one["high"] - one["low"])
        shard["open"] = False
        middle = (shard["low"] + shard["high"]) // 2
        self._open(shard["low"], middle, shard["id"])
        self._open(middle, shard["high"], shard["id"])

    def merge(self) -> None:
        ordered = sorted((one for one in self.shards.values() if one["open"]), key=lambda one: one["low"])
        if len(ordered) > 1:
            first, second = ordered[:2]
            first["open"] = second["open"] = False
            self._open(first["low"], second["high"], first["id"], second["id"])

    def list_shards(self, **asked: str) -> dict[str, Any]:
        """Give one shard a page."""
        names = list(self.shards)
        at = int(asked.get("NextToken", 0))
        one = self.shards[names[at]]
        told: dict[str, Any] = {"ShardId": one["id"]}
        told |= {"SequenceNumberRange": {"StartingSequenceNumber": str(one["begins"])}}
        told |= dict(zip(("ParentShardId", "AdjacentParentShardId"), one["parents"], strict=False))
        return {"Shards": [told]} | ({"NextToken": str(at + 1)} if at + 1 < len(names) else {})

    def get_shard_iterator(self, **asked: Any) -> dict[str, str]:
        records = self.shards[asked["ShardId"]]["records"]
        after = int(asked.get("StartingSequenceNumber", 0))
        since = float(asked.get("Timestamp", 0))
        at = sum(
            int(one["SequenceNumber"]) <= after or one["ApproximateArrivalTimestamp"].timestamp() < since
            for one in records
        )
        return {"ShardIterator": f"{asked['ShardId']} {at}"}

    def get_records(self, **asked: Any) -> dict[str, Any]:
        """Give two records at a time, and an empty answer before the first."""
        name, _, at = asked["ShardIterator"].partition(" ")
        shard = self.shards[name]
        begin = int(at.removesuffix("+"))
        if not at.endswith("+"):
            return {"Records": [], "NextShardIterator": f"{name} {begin}+", "MillisBehindLatest": 5}
        records = shard["records"][begin : begin + 2]
        is_all = begin + 2 >= len(shard["records"])
        answer = {"Records": records, "MillisBehindLatest": 0 if is_all else 5}
        return answer if is_all and not shard["open"] else answer | {"NextShardIterator": f"{name} {begin + 2}+"}


def hash_of(key: str) -> int:
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()[:2], "big")


def faithful(fake: FaithfulKinesis, folder: Path, patch: pytest.MonkeyPatch) -> Stores:
    patch.setattr(boto3, "client", lambda *_, **__: fake)
    return open_stores(Settings.load(folder, environ={}), clock=ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))


def test_children_are_read_after_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FaithfulKinesis()
    stores = faithful(fake, tmp_path, monkeypatch)
    lake = Lake(stores)
    data = Dataset("d", kinesis("orders", max_records=3), key="k", on_duplicate="upsert", contract=[column("x", "int")])
    for turn, change in enumerate((fake.split, fake.split, fake.merge, fake.split)):
        for x in (2 * turn, 2 * turn + 1):
            for key in "abcd":
                fake.put(x, key)
        if turn == 0:
            lake.ingest(data)
        change()
    while lake.ingest(data).rows_read:
        pass
    rows = lake.read(lake.snapshot("d"), columns=["k", "x"]).to_pylist()
    assert sorted((row["k"], row["x"]) for row in rows) == [(key, 7) for key in "abcd"]
    assert sum(report.rows_read for report in lake.ingests("d")) == 32
    stores.close()


def test_shards_that_went_or_were_made_anew_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FaithfulKinesis()
    stores = faithful(fake, tmp_path, monkeypatch)
    lake, data = Lake(stores), Dataset("d", kinesis("orders"), contract=[column("x", "int")])
    fake.put(1, "a")
    lake.ingest(data)
    fake.begin(1)
    fake.put(2, "a")
    (warning,) = lake.ingest(data).warnings
    assert "made anew" in warning
    fake.split()
    del fake.shards["shardId-000000000000"]
    fake.put(3, "a")
    (warning,) = lake.ingest(data).warnings
    assert "not read to its end" in warning
    assert stored(lake) == [1, 2, 3]
    stores.close()


_STEPS = st.lists(
    st.tuples(st.just("put"), st.sampled_from("abcd"))
    | st.tuples(st.sampled_from(["split", "merge", "ingest", "break"])),
    max_size=25,
)


@given(_STEPS)
@settings(max_examples=8, deadline=None)
def test_any_sequence_keeps_each_key_in_order(steps: list[tuple[str, ...]]) -> None:
    def stop(reached: str) -> None:
        if reached == "committed":
            raise KeyboardInterrupt

    fake, written = FaithfulKinesis(shards=2), {key: list[int]() for key in "abcd"}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        stores = faithful(fake, Path(folder), patch)
        data = Dataset("d", kinesis("orders", max_records=4), contract=[column("x", "int")])
        for n, step in enumerate(steps):
            if step[0] == "put":
                fake.put(n, step[1])
                written[step[1]].append(n)
            elif step[0] == "ingest":
                Lake(stores).ingest(data)
            elif step[0] == "break":
                with contextlib.suppress(KeyboardInterrupt):
                    Lake(stores, on_stage=stop).ingest(data)
            else:
                getattr(fake, step[0])()
        lake = Lake(stores)
        read: dict[str, list[int]] = {key: [] for key in "abcd"}
        while lake.ingest(data).rows_read:
            pass
        for number in [one.ingest_id for one in reversed(lake.history("d"))]:
            rows = lake.read(lake.snapshot("d"), where=f"_ingest_id = '{number}'").to_pylist()
            by_shard = sorted(rows, key=lambda row: row["x"])
            for row in by_shard:
                read[row["k"]].append(row["x"])
        assert read == written
        stores.close()
