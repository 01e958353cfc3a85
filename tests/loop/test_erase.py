"""Erasing everywhere: no file of any room has the key any more, the rest stays, a kill is completed by the next run."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import pyarrow as pa
import pytest

from loopwright.core.clock import ManualClock
from loopwright.core.errors import AccessDeniedError, TurnInProgressError
from loopwright.core.ref import Ref
from loopwright.core.storage.duck import connect, to_arrow
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest.lock import dataset_lock
from loopwright.data.sources.push import push
from loopwright.features.label import label
from loopwright.features.split import fraction
from loopwright.features.training_set import find_record
from loopwright.features.training_spec import training_set_spec
from loopwright.features.view import feature_view
from loopwright.loop.collect import Collector
from loopwright.loop.erase import complete_erasures, erase_rows
from loopwright.loop.lock import turn_lock
from loopwright.loop.restore import restore_collection
from loopwright.loop.turn import TURN_LOCK
from loopwright.monitoring.outcomes import OUTCOME_SCHEMA
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.prediction_record import PredictionRecord, to_table
from loopwright.workspace import Workspace

KEY = "person-7f3a9"
ERASING = Path(__file__).parent / "erasing.py"
START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 60
ORDERS = Dataset(
    "orders",
    push(),
    event_time="placed_at",
    key="order_id",
    on_duplicate="upsert",
    contract=[
        column("order_id", "string"),
        column("customer", "string"),
        column("courier_id", "int"),
        column("placed_at", "timestamp"),
        column("distance_km", "float"),
        column("minutes", "float"),
    ],
)


def customer_pace(orders):
    before = ibis.window(group_by="customer", order_by="placed_at", preceding=20, following=0)
    return orders.select("customer", "placed_at", pace=orders.minutes.mean().over(before))


def courier_pace(orders):
    before = ibis.window(group_by="courier_id", order_by="placed_at", preceding=20, following=0)
    return orders.select("courier_id", "placed_at", courier=orders.minutes.mean().over(before))


BY_CUSTOMER = feature_view(customer_pace, ORDERS, entity="customer")
BY_COURIER = feature_view(courier_pace, ORDERS, entity="courier_id")


def order(n: int) -> dict[str, object]:
    who = KEY if n % 6 == 0 else f"other-{n % 6}"
    courier = 7 if n % 6 < 2 else 8
    at = START + timedelta(hours=n)
    return {
        "order_id": f"{who}-{n}", "customer": who, "courier_id": courier, "placed_at": at, "distance_km": n / 7,
        "minutes": 100.0 if who == KEY else 5.0,
    }  # fmt: skip


def prediction(n: int) -> PredictionRecord:
    name = str(order(n)["order_id"])
    return PredictionRecord(
        f"about-{name}", name, n, "eta", 1, "champion", None, 1.0, 0, name if n % 2 else None,
        "{}" if n % 2 else json.dumps({"customer": order(n)["customer"]}), 1.0, None, None, 1, 1, 200, None,
    )  # fmt: skip


def outcome(n: int) -> dict[str, object]:
    made: dict[str, object] = dict.fromkeys(OUTCOME_SCHEMA.names)
    return made | {"prediction_id": f"about-{order(n)['order_id']}", "label": "5.0", "revision": 0, "batch": 1}


def snapshots(workspace: Workspace) -> dict[str, object]:
    return {"orders": workspace.data.snapshot("orders")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose rooms all know the key: snapshots, a compaction, a training set, views, predictions, outcomes."""
    project = tmp_path_factory.mktemp("made")
    with Workspace.open(project) as workspace:
        stores = workspace.stores
        for first in range(0, ROWS, 20):
            workspace.data.push(ORDERS, [order(n) for n in range(first, first + 20)])
        stores.tables.compact("datasets/orders")
        spec = training_set_spec(
            "eta", label=label(ORDERS.minutes), features=[ORDERS.distance_km, BY_CUSTOMER, BY_COURIER],
            holdout=fraction(0.3),
        )  # fmt: skip
        record = workspace.features.training_set(spec, snapshots(workspace), stores.clock.now())
        stores.lineage.link(record.ref, Ref("run", "r"), "trained on")
        stores.lineage.link(Ref("run", "r"), Ref("model", "eta/1"), "registered as")
        for view in (BY_CUSTOMER, BY_COURIER):
            workspace.features.materialize(view, snapshots(workspace))
            workspace.features.backfill(view, snapshots(workspace), since=START)
        for first in (0, 30):
            stores.tables.append("predictions/eta", to_table(map(prediction, range(first, first + 30))))
        stores.tables.append("outcomes/eta", pa.Table.from_pylist([outcome(n) for n in range(40)], OUTCOME_SCHEMA))
        stores.tables.compact("predictions/eta")
        log = PredictionLog(stores.local, "eta", clock=stores.clock, ids=stores.ids)
        log.accept(2)
        log.write([prediction(n) for n in (60, 61)])
        log.close()
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


def holding(folder: Path) -> list[str]:
    """Return the files that have the key in them, Parquet files by their rows."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if KEY.encode() in path.read_bytes():
            found.append(str(path.relative_to(folder)))
        elif path.suffix == ".parquet" and "_delta_log" not in path.parts:
            with connect() as con:
                rows = to_arrow(con.sql(f"SELECT to_json(t)::VARCHAR AS j FROM read_parquet('{path}') AS t"))["j"]
            found += [str(path.relative_to(folder))] if any(KEY in row for row in rows.to_pylist()) else []
    return found


def assert_erased(project: Path) -> None:
    """Nothing has the key, and everything else is there."""
    with Workspace.open(project) as workspace:
        stores, tables = workspace.stores, workspace.stores.tables
        (done,) = workspace.data.erasures("orders")
        assert (done.status, done.report.rows, done.report.snapshots) == ("done", 10, 3)
        (training_set,) = stores.lineage.ancestors(Ref("run", "r"), depth=1)
        record = find_record(stores, training_set.source.id)
        assert record is not None
        assert record.rows_train + record.rows_holdout == 50
        for path, digest in (
            (record.train_path(stores), record.train_digest), (record.holdout_path(stores), record.holdout_digest)
        ):  # fmt: skip
            assert stores.blobs.exists(digest)
            assert KEY.encode() not in stores.blobs.get(digest)
            assert pa.ipc.open_file(path).read_all().num_rows in {record.rows_train, record.rows_holdout}
        assert sorted(tables.read("predictions/eta")["request_id"].to_pylist()) == sorted(
            str(order(n)["order_id"]) for n in range(62) if n % 6
        )
        assert tables.count("outcomes/eta") == 33
        for version in range(1, tables.version("predictions/eta") + 1):
            assert tables.read("predictions/eta", version=version).num_rows == tables.count("predictions/eta", version)
        assert workspace.data.snapshot("orders").rows == workspace.data.read("orders").num_rows == 50
        with sqlite3.connect(project / ".loopwright/loop.db") as facts:
            assert KEY not in "\n".join(facts.iterdump())
        ask = [{"customer": KEY}, {"customer": "other-1"}]
        online = workspace.features.get_online(BY_CUSTOMER, ask)
        assert (online[0], online[1]) == (None, {"pace": 5.0})
        workspace.features.materialize(BY_COURIER, snapshots(workspace))
        found = workspace.features.get_online(BY_COURIER, [{"courier_id": 7}, {"courier_id": 8}])
        assert found == [{"courier": 5.0}] * 2
    assert holding(project) == []


def test_every_room_forgets_the_key(project: Path) -> None:
    rooms = {name.split("/")[1].removesuffix("-wal") for name in holding(project)}
    assert rooms >= {"store", "online.db", "training_sets", "predictions"}
    with Workspace.open(project) as workspace:
        done = erase_rows(workspace, "orders", "customer", [KEY], reason="asked for it", by="ann")
        report = done.report
        assert (report.examples, report.predictions, report.outcomes, report.online) == (10, 21, 7, 2)
        assert [(one.kind, one.name.split("@")[0]) for one in report.remains] == [
            ("model", "eta/1"), ("view", "courier_pace"), ("view", "courier_pace"), ("view", "customer_pace")
        ]  # fmt: skip
        closing = {one.close for one in report.remains}
        assert any("then archive this version: loopwright models archive eta/1" in text for text in closing)
        assert "loopwright features materialize courier_pace" in closing
        assert "loopwright features backfill customer_pace" in closing
        assert not any(one.kind in {"training_set", "table"} for one in report.remains)
    assert_erased(project)


def test_only_an_admin_erases_and_never_during_a_turn(project: Path) -> None:
    with Workspace.open(project) as workspace:
        with turn_lock(workspace.stores.local / TURN_LOCK), pytest.raises(TurnInProgressError):
            erase_rows(workspace, "orders", "customer", [KEY], reason="asked", by="ann")
        workspace.access.create("root", "admin")
    with Workspace.open(project) as workspace:
        with pytest.raises(AccessDeniedError):
            erase_rows(workspace, "orders", "customer", [KEY], reason="asked", by="ann")
        assert workspace.data.erasures() == []


def test_what_is_in_the_trash_is_erased_too(project: Path) -> None:
    with Workspace.open(project, clock=ManualClock(datetime.now(UTC) + timedelta(days=900))) as workspace:
        features = [ORDERS.distance_km]
        spec = training_set_spec("eta", label=label(ORDERS.minutes), features=features, holdout=fraction(0.2))
        newer = workspace.features.training_set(spec, snapshots(workspace), workspace.stores.clock.now())
        identity = Collector(workspace, timedelta(days=30)).collect().id
        assert any("trash" in name for name in holding(project))
        erase_rows(workspace, "orders", "customer", [KEY], reason="asked", by="ann")
        restore_collection(workspace, identity)
        assert find_record(workspace.stores, newer.digest) is not None
    assert holding(project) == []


class Runner:
    """A process that forks a child for each erasure."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ERASING)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, project: Path, when: str, number: int) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(project), when, number]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait() == 0
        self._process.stdout.close()


@pytest.fixture(scope="module")
def runner():
    made = Runner()
    yield made
    made.close()


STAGES = [
    ("asked", 1), ("planned", 1), ("file", 2), ("replaced", 1), ("settled", 1), ("payloads", 1), ("recorded", 1),
    ("examples", 1), ("online", 1), ("model", 1), ("elsewhere", 1), ("finished", 1),
]  # fmt: skip


def test_killed_at_stage_after_stage(project: Path, runner: Runner) -> None:
    for when, number in STAGES:
        assert runner.run(project, when, number) == -signal.SIGKILL, when
    assert runner.run(project, "none", 1) == 0
    assert_erased(project)


@pytest.mark.parametrize("seed", range(2))
def test_killed_anywhere(seed: int, project: Path, runner: Runner) -> None:
    steps = random.Random(seed)
    ends = []
    while not ends or ends[-1] != 0:
        ends.append(runner.run(project, "any", steps.randint(1, 50)))
        assert ends[-1] in {0, -signal.SIGKILL}
        with Workspace.open(project) as workspace:  # whole at any moment, for the others
            others = [n for n in range(ROWS) if n % 6]
            assert workspace.data.read("orders", where=f"customer <> '{KEY}'").num_rows == len(others)
    assert len(ends) > 3
    assert_erased(project)


def test_an_erasure_that_died_is_completed_by_a_collection(project: Path, runner: Runner) -> None:
    assert runner.run(project, "recorded", 1) == -signal.SIGKILL
    with Workspace.open(project) as workspace:
        assert [one.status for one in workspace.data.erasures("orders")] == ["erased"]
        Collector(workspace, timedelta(days=30)).collect()
    assert_erased(project)


def test_nothing_is_pending_twice(project: Path) -> None:
    with Workspace.open(project) as workspace:
        erase_rows(workspace, "orders", "customer", [KEY], reason="asked", by="ann")
        with dataset_lock(workspace.stores.local / "locks", "orders", wait=True):
            assert complete_erasures(workspace, "orders") == []
