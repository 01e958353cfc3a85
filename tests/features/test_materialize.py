from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest

from loopwright.core.errors import FeatureError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.features.label import label
from loopwright.features.online import MemoryOnlineStore
from loopwright.features.online_sqlite import SqliteOnlineStore
from loopwright.features.store import FeatureStore
from loopwright.features.view import feature_view

START = datetime(2026, 1, 1, tzinfo=UTC)


def courier_pace(orders):
    last_20 = ibis.window(group_by="courier_id", order_by="placed_at", preceding=20, following=-1)
    return orders.select(
        "courier_id", "placed_at", pace=(orders.minutes / orders.distance_km).mean().over(last_20), city=orders.city
    )


@pytest.fixture
def orders():
    names = [
        column("order_id", "int"),
        column("placed_at", "timestamp"),
        column("courier_id", "int"),
        column("city", "category"),
    ]
    names += [column("distance_km", "float"), column("minutes", "float", required=False)]
    return Dataset("orders", push(), event_time="placed_at", key="order_id", contract=names)


@pytest.fixture
def view(orders):
    return feature_view(courier_pace, orders, entity="courier_id", ttl="3d")


def batch(first, last, seed=0):
    rng = np.random.default_rng(seed)
    rows = last - first
    return pa.table(
        {
            "order_id": range(first, last),
            "placed_at": pa.array(
                [START + timedelta(minutes=10 * i) for i in range(first, last)], pa.timestamp("us", tz="UTC")
            ),
            "courier_id": rng.integers(0, 30, rows),
            "city": rng.choice(["Oslo", "Bergen"], rows).tolist(),
            "distance_km": rng.uniform(1, 20, rows),
            "minutes": rng.uniform(5, 60, rows),
        }
    )


def test_fills_step_by_step_and_equals_the_offline_join(stores, lake, orders, view):
    target = (label(orders.minutes, arrives_after="2h"),)
    online = MemoryOnlineStore()
    store = FeatureStore(stores, lake, online)
    snapshots = {"orders": lake.add(orders, batch(0, 300))}
    until = START + timedelta(minutes=2000)
    report = store.materialize(view, snapshots, labels=target, until=until)
    assert report.rows_known == 30
    assert store.parity(view, snapshots, labels=target).equal
    again = store.materialize(view, snapshots, labels=target, until=until)
    assert (again.skipped, again.rows_written) == (True, 0)
    later = store.materialize(view, snapshots, labels=target, until=until + timedelta(minutes=60))
    assert 0 < later.rows_written < 20
    assert store.parity(view, snapshots, labels=target).equal
    grown = {"orders": lake.add(orders, batch(300, 400, seed=1))}
    store.materialize(view, grown, labels=target, until=START + timedelta(minutes=4000))
    result = store.parity(view, grown, labels=target)
    assert (result.equal, result.entities, result.values) == (True, 30, 60)
    everything = FeatureStore(stores, lake, MemoryOnlineStore())
    everything.materialize(view, grown, labels=target, until=START + timedelta(minutes=4000))
    rows = [{"courier_id": courier} for courier in range(31)]
    now = START + timedelta(minutes=4000)
    assert store.get_online(view, rows, now=now) == everything.get_online(view, rows, now=now)
    assert store.get_online(view, [{"courier_id": 99}], now=now) == [None]
    assert store.get_online(view, rows, now=now + timedelta(days=4)) == [None] * 31


def test_parity_finds_a_changed_value(stores, lake, orders, view):
    online = MemoryOnlineStore()
    store = FeatureStore(stores, lake, online)
    snapshots = {"orders": lake.add(orders, batch(0, 300))}
    with pytest.raises(FeatureError, match="never materialised"):
        store.parity(view, snapshots)
    store.materialize(view, snapshots, until=START + timedelta(minutes=3000))
    name = online.views()[0]
    (row,) = online.read_many(name, ["[3]"], now=START, ttl=None)
    row.values["pace"] += 1
    (difference,) = store.parity(view, snapshots).differences
    assert (difference.key, difference.feature) == ("[3]", "pace")


def test_a_missing_key_column(stores, lake, view):
    with pytest.raises(FeatureError, match="Row 1 lacks courier_id"):
        FeatureStore(stores, lake, MemoryOnlineStore()).get_online(view, [{"courier_id": 1}, {}])


FILL = """
import sys
from pathlib import Path
from loopwright.features.online import OnlineRow
from loopwright.features.online_sqlite import SqliteOnlineStore

store = SqliteOnlineStore(Path(sys.argv[1]))
for turn in range(10**9):
    now = 1_767_225_600_000_000 + turn
    rows = [OnlineRow(f"k{key}", now, now, {"turn": turn}) for key in range(200)]
    store.write_many("v@1", rows, mark=str(turn))
    if turn == 3:
        print("going", flush=True)
"""


def test_killed_while_writing_leaves_whole_calls(tmp_path):
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", FILL, str(tmp_path / "online.db")], stdout=subprocess.PIPE)
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = SqliteOnlineStore(tmp_path / "online.db")
        turn = int(store.mark("v@1"))
        rows = store.read_many("v@1", [f"k{key}" for key in range(200)], now=START, ttl=None)
        assert {row.values["turn"] for row in rows} == {turn}
        store.drop("v@1")
        store.close()
