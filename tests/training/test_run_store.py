from __future__ import annotations

import math
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from loopwright.core.errors import UnknownNameError
from loopwright.training import run as tables
from loopwright.training.estimators.model_file import ModelFile
from loopwright.training.run import RunStart
from loopwright.training.run_store import RunStore

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

MODEL = ModelFile("skops", "model.skops", "d" * 64, 10, "sklearn.X", ("a.b",))


def test_a_run_logged_by_hand_is_read_back(stores: Stores, clock: ManualClock) -> None:
    store = RunStore(stores)
    run_id = store.create(RunStart("m", cause="by hand", seed=4), params={"depth": 3})
    store.log_params(run_id, {"depth": 4, "layers": [1, 2]})
    store.log_metric(run_id, "loss", 0.5, step=0)
    clock.advance(1)
    store.log_metrics(run_id, {"loss": 0.25, "nothing": math.nan}, step=1)
    artifact = store.log_artifact(run_id, "a.txt", b"text")
    assert store.get(run_id).status == "running"
    clock.advance(1)
    store.finish(run_id, seconds=2.0, model_file=MODEL)
    run = store.get(run_id[:20])
    assert (run.status, run.seed, run.cause, run.seconds, run.model_file) == ("finished", 4, "by hand", 2.0, MODEL)
    assert (run.params, run.logged_params) == ({"depth": 3}, {"depth": 4, "layers": [1, 2]})
    assert run.metrics["loss"] == 0.25
    assert math.isnan(run.metrics["nothing"])
    assert [(point.step, point.value) for point in store.curve(run_id, "loss")] == [(0, 0.5), (1, 0.25)]
    assert store.curve(run_id, "loss")[1].logged_at - run.started_at == timedelta(seconds=1)
    assert store.artifacts(run_id) == [artifact]
    assert run.finished_at is not None
    assert run.finished_at - run.started_at == timedelta(seconds=2)


def test_runs_are_listed_newest_first_and_filtered(stores: Stores, clock: ManualClock) -> None:
    store = RunStore(stores)
    first = store.create(RunStart("a"))
    clock.advance(1)
    second = store.create(RunStart("b", training_set="t"))
    store.finish(second, "failed", error="why")
    assert [run.id for run in store.list()] == [second, first]
    assert [run.id for run in store.list(model="a")] == [first]
    assert [run.id for run in store.list(status="failed")] == [second]
    assert [run.id for run in store.list(training_set="t")] == [second]
    assert [run.id for run in store.list(limit=1)] == [second]
    assert store.get(second).error == "why"


def test_an_id_that_names_no_run_or_two_is_refused(stores: Stores) -> None:
    store = RunStore(stores)
    first = store.create(RunStart("a"))
    store.create(RunStart("a"))
    for wrong in ("nothing", first[:8], "%"):
        with pytest.raises(UnknownNameError):
            store.get(wrong)


def test_runs_are_compared_by_what_differs(stores: Stores) -> None:
    store = RunStore(stores)
    ids = [
        store.create(
            RunStart("m", seed=1, environment={"python": "3.11", "packages": {"numpy": "2"}}), params={"a": 1, "b": 2}
        ),
        store.create(
            RunStart("m", seed=1, environment={"python": "3.12", "packages": {"numpy": "2"}}), params={"a": 5, "b": 2}
        ),
    ]
    store.log_metric(ids[0], "mae", 1.0)
    comparison = store.compare(ids)
    assert comparison.differences == {"environment.python": ("3.11", "3.12"), "params.a": (1, 5)}
    assert comparison.metrics == {"mae": (1.0, None)}


def test_runs_without_their_process_are_lost(stores: Stores, clock: ManualClock) -> None:
    store = RunStore(stores)
    alive = store.create(RunStart("m"))
    gone, reused, silent, far = (store.create(RunStart("m")) for _ in range(4))
    changes = {
        gone: {"process_id": 2**22 + 1},
        reused: {"process_started": 1.0},
        silent: {"host": "elsewhere"},
        far: {"host": "elsewhere", "heartbeat_at": clock.now() + timedelta(minutes=9)},
    }
    with stores.facts.write() as connection:
        for run_id, values in changes.items():
            connection.execute(sa.update(tables.runs).where(tables.runs.c.id == run_id).values(**values))
    clock.advance(timedelta(minutes=11))
    assert set(store.mark_lost()) == {gone, reused, silent}
    assert store.mark_lost() == []
    assert {run.id for run in store.list(status="lost")} == {gone, reused, silent}
    assert {run.id for run in store.list(status="running")} == {alive, far}


LOG_MANY = """
import sys
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.training.run import RunStart
from loopwright.training.run_store import RunStore

stores = open_stores(Settings.load(Path(sys.argv[1]), environ={}))
store = RunStore(stores)
for _ in range(25):
    run_id = store.create(RunStart("m"), params={"a": 1})
    store.log_metric(run_id, "loss", 0.5)
    store.finish(run_id)
stores.close()
"""


def test_many_processes_log_at_once_and_nothing_is_lost(stores: Stores, tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", LOG_MANY, str(tmp_path)]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    runs = RunStore(stores).list(status="finished", limit=1000)
    assert len(runs) == 75
    assert all(run.metrics == {"loss": 0.5} and run.params == {"a": 1} for run in runs)
