"""SIGKILL at every stage, and at any moment, while streams are ingested: every record is there exactly once."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.data.sources.streams import KINDS, Stream
from tests.forks import Forks

from loopwright.core.storage.conformance.mock_kafka import MockKafka
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest import stage
from loopwright.data.lake import Lake

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores

pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")

STAGES = ["planned", "staged", "pending", "quarantined", "committed", "recorded"]
IN_MEMORY, ON_DISK = stage.IN_MEMORY_BYTES, 0


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as running:
        yield running


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks("from tests.data.sources.streamed import main\n") as running:
        yield running


def run(
    forks: Forks, stream: Stream, *, stage: str = "", time_s: float = 0.0, bound: int = IN_MEMORY, **options: object
) -> int:
    """Ingest in a child, and return how it ended."""
    declared: dict[str, object] = {"kind": "events", "topic": stream.topic}
    if stream.kind == "kafka":
        assert stream.cluster is not None
        declared = {"kind": "kafka", "servers": stream.cluster.servers, "topic": stream.name, "patience_s": 10.0}
    arguments = [str(stream.project), stage, time_s, bound, json.dumps(declared | options)]
    code = forks.run(*arguments, environ=stream.environ())
    assert code in {0, -signal.SIGKILL, -signal.SIGALRM}
    return code


def row(x: object) -> bytes:
    return json.dumps({"x": x}).encode()


def assert_once(stream: Stream, stores: Stores, good: list[int], bad: list[object]) -> None:
    lake = Lake(stores)
    while lake.ingest(Dataset("d", stream.source(), contract=[column("x", "int")])).rows_read:
        pass
    found = lake.read(lake.snapshot("d"), columns=["x"])["x"].to_pylist()
    assert sorted(found) == good
    assert sorted(entry.raw["x"] for entry in lake.quarantine("d").entries()) == bad  # type: ignore[index]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_killed_at_a_stage(kind: str, stage: str, cluster: MockKafka, tmp_path: Path, forks: Forks) -> None:
    stream = Stream(kind, tmp_path, None if kind == KINDS[0] else cluster)
    stores = stream.stores()
    stream.append(stores, row(1), row("bad"), row(2))
    bound = ON_DISK if (STAGES.index(stage) + (kind == KINDS[0])) % 2 else IN_MEMORY
    assert run(forks, stream, stage=stage, bound=bound) == -signal.SIGKILL
    stream.append(stores, row(3), row(4))
    assert_once(stream, stores, [1, 2, 3, 4], ["bad"])
    stores.close()


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_killed_at_any_moment(kind: str, cluster: MockKafka, tmp_path: Path, forks: Forks) -> None:
    """A child that ingests in pieces is killed at random, again and again, while more is appended."""
    stream = Stream(kind, tmp_path, None if kind == KINDS[0] else cluster, partitions=3 if kind == KINDS[2] else 1)
    stores, random_ = stream.stores(), random.Random(7)
    count = kills = 0
    for _ in range(4):
        for partition in range(stream.partitions):
            stream.append(stores, *(row(count + n) for n in range(40)), partition=partition)
            count += 40
        bound = random_.choice([IN_MEMORY, ON_DISK])
        kills += run(forks, stream, time_s=random_.uniform(0.02, 0.5), bound=bound, max_records=25) != 0
    assert kills
    assert_once(stream, stores, list(range(count)), [])
    stores.close()


class IngestsAgainstLog(RuleBasedStateMachine):
    """Whatever is appended, ingested and broken off, the dataset is the log, and each partition keeps its order."""

    cluster: MockKafka

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.stream = Stream("kafka", Path(self.folder.name), self.cluster, partitions=3)
        self.stores = self.stream.stores()
        self.log: dict[int, list[int]] = {0: [], 1: [], 2: []}
        self.read = 0

    def teardown(self) -> None:
        self.stores.close()
        self.folder.cleanup()

    @rule(partition=st.integers(0, 2), count=st.integers(1, 4))
    def append(self, partition: int, count: int) -> None:
        first = sum(map(len, self.log.values()))
        values = list(range(first, first + count))
        self.stream.append(self.stores, *map(row, values), partition=partition)
        self.log[partition] += values

    @rule(taken=st.integers(1, 6))
    def ingest(self, taken: int) -> None:
        total = sum(map(len, self.log.values()))
        dataset = Dataset("d", self.stream.source(max_records=taken))
        report = Lake(self.stores).ingest(dataset)
        assert report.rows_read <= taken + 6  # one that was broken off before is completed beside it
        assert report.rows_read > 0 or self._visible() == total

    @rule(at=st.sampled_from(STAGES))
    def break_off(self, at: str) -> None:
        def stop(reached: str) -> None:
            if reached == at:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            Lake(self.stores, on_stage=stop).ingest(Dataset("d", self.stream.source(max_records=6)))

    def _visible(self) -> int:
        lake = Lake(self.stores)
        return lake.snapshot("d").rows if "d" in lake.names() else 0

    @invariant()
    def rows_are_a_beginning_of_each_partition(self) -> None:
        if not self._visible():
            return
        lake = Lake(self.stores)
        rows = lake.read(lake.snapshot("d"), columns=["x", "_source", "_source_row"]).to_pylist()
        for number, values in self.log.items():
            mine = [one for one in rows if one["_source"] == self.stream.label(number)]
            mine.sort(key=lambda one: one["_source_row"])
            assert [one["_source_row"] for one in mine] == list(range(len(mine)))
            assert [one["x"] for one in mine] == values[: len(mine)]


def test_any_sequence_of_appends_ingests_and_breaks(cluster: MockKafka) -> None:
    IngestsAgainstLog.cluster = cluster
    IngestsAgainstLog.TestCase.settings = settings(max_examples=4, stateful_step_count=8, deadline=None)
    case = IngestsAgainstLog.TestCase()
    case.runTest()
