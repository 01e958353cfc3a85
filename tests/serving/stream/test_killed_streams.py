"""SIGKILL at every stage, and at any moment, while a stream is answered: each event has one answer and one record."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter

import pytest
from tests.forks import Forks
from tests.serving.stream.streamed import PLAN

from loopwright.core.settings import Settings
from loopwright.core.storage.conformance.mock_kafka import MockKafka
from loopwright.core.storage.events import Event
from loopwright.core.storage.stores import open_stores
from loopwright.serving.log.compactor import PredictionTable

pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")

CODE = "from tests.serving.stream.streamed import main\n"
BAD = {7, 500, 501, 1503}


@pytest.fixture(scope="module")
def forks():
    with Forks(CODE) as running:
        yield running


@pytest.fixture(scope="module")
def cluster():
    with MockKafka() as running:
        yield running


def opened(folder, url):
    return open_stores(Settings.load(folder, environ={"LOOPWRIGHT_STREAM_URL": url} if url else {}))


def events(count: int) -> list[Event]:
    return [
        Event(f"k{number % 20}", b"poison" if number in BAD else json.dumps({"x": number % 4000}).encode())
        for number in range(count)
    ]


def read_all(log, topic: str) -> list:
    found, after = [], 0
    while batch := log.read(topic, after=after, limit=2000):
        found += batch
        after = batch[-1].offset
    return found


def assert_each_answered_once(stores, count: int, first: int) -> list[dict]:
    answers = [json.loads(one.value) for one in read_all(stores.events, PLAN.target)]
    letters = read_all(stores.events, PLAN.dead)
    bad = [number for number in range(count) if number in BAD]
    good = [number for number in range(count) if number not in BAD]
    assert [int(one.headers["loopwright-offset"]) - first for one in letters] == bad
    assert [one["offset"] - first for one in answers] == good  # once each, and in order
    assert all(one["prediction"] == (one["offset"] - first) % 4000 + 1000 * one["version"] for one in answers)
    rows = PredictionTable(stores, "nonce").read(columns=["prediction_id", "version", "output_number"]).to_pylist()
    assert Counter(row["prediction_id"] for row in rows) == Counter(one["prediction_id"] for one in answers)
    by_id = {row["prediction_id"]: (row["version"], row["output_number"]) for row in rows}
    assert all(by_id[one["prediction_id"]] == (one["version"], one["prediction"]) for one in answers)
    return answers


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        ("sqlite", [(3, "before"), (5, "after"), (1, "before"), (2, "after"), (0, "lake")]),
        ("kafka", [(3, "before"), (5, "after"), (0, "lake")]),
    ],
)
def test_killed_at_a_stage(kind, stages, tmp_path, forks, cluster) -> None:
    """Another version answers after each kill; an event's answer and record still come from the same one."""
    url = "" if kind == "sqlite" else f"kafka://{cluster.servers}/stages"
    stores = opened(tmp_path, url)
    count = 2_000
    stores.events.append("in", events(count))
    for version, (batch, stage) in enumerate(stages, start=1):
        assert forks.run(tmp_path, url, version, 0.0, batch, stage) == -signal.SIGKILL
    assert forks.run(tmp_path, url, 9, 0.0, 0, "") == 0
    answers = assert_each_answered_once(stores, count, 1 if kind == "sqlite" else 0)
    assert len({one["version"] for one in answers}) > 2
    stores.close()


@pytest.mark.parametrize("kind", ["sqlite", "kafka"])
def test_killed_at_any_moment(kind, tmp_path, forks, cluster) -> None:
    url = "" if kind == "sqlite" else f"kafka://{cluster.servers}/moments"
    stores = opened(tmp_path, url)
    count = 5_000 if kind == "sqlite" else 2_000
    stores.events.append("in", events(count))
    chance, kills, version = random.Random(4), 0, 0
    longest_s = 0.3 if kind == "sqlite" else 1.5
    while kills < (6 if kind == "sqlite" else 3):
        version += 1
        code = forks.run(tmp_path, url, version, chance.uniform(0.02, longest_s), 0, "")
        assert code in {0, -signal.SIGKILL}
        kills += code != 0
        if code == 0:  # all was answered before the moment came
            longest_s /= 2
            stores.events.append("in", events(count + 500)[count:])
            count += 500
    assert forks.run(tmp_path, url, 99, 0.0, 0, "") == 0
    assert_each_answered_once(stores, count, 1 if kind == "sqlite" else 0)
    stores.close()
