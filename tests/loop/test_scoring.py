"""Scoring by schedule: what is due, that it is done once, and that its features are those of training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import loopwright as lw
from loopwright.core.clock import ManualClock
from loopwright.core.compute_local import LocalCompute
from loopwright.core.errors import DeclarationError
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.features.examples import from_table
from loopwright.features.training_set import list_records
from loopwright.loop.controller import Controller
from loopwright.loop.erase import erase_rows
from loopwright.loop.loading import load_loop
from loopwright.loop.score_process import FIRST_PAUSE_S, ScoreProcess, score_due
from loopwright.loop.scoring import DueScoring, batch_statuses, due_scorings, request_for
from loopwright.loop.status import status_of
from loopwright.loop.turn import run_turn
from loopwright.monitoring.system import system_figures
from loopwright.serving.log.compactor import PredictionTable
from loopwright.serving.scoring.destination import Folder, LakeTable
from loopwright.serving.scoring.job import ScoreRequest
from loopwright.serving.scoring.scorer import Scorer
from loopwright.serving.scoring.source import DatasetRows, FileRows
from loopwright.workspace import Workspace

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
TURNED = FIRST_DAY + timedelta(days=3, hours=12)
PROJECT = """
import loopwright as lw

loop = lw.Loop("parcels")
parcels = loop.dataset(
    "parcels",
    source=lw.files("data/*.csv"),
    event_time="sent_at",
    key="parcel_id",
    contract=[
        lw.column("parcel_id", "string"),
        lw.column("weight_kg", "float"),
        lw.column("zone", "category", among=["near", "far"]),
        lw.column("sent_at", "timestamp"),
        lw.column("price", "float", required=False),
    ],
)


@loop.features(parcels, entity="zone", ttl="30d")
def zone_mean(parcels):
    import ibis

    before = ibis.window(group_by="zone", order_by="sent_at", preceding=50, following=-1)
    return parcels.select("zone", "sent_at", zone_weight=parcels.weight_kg.mean().over(before))


@loop.transform(parcels.weight_kg)
def heavy(weight_kg):
    import numpy as np

    return (np.asarray(weight_kg, dtype=np.float64) > 30).astype(np.float64)


@loop.model(
    "price",
    label=lw.label(parcels.price),
    features=[parcels["weight_kg", "zone"], heavy, zone_mean],
    holdout=lw.latest("12h"),
    metrics=["mae"],
    gates=[lw.at_most("mae", 50.0)],
)
def price(train):
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=10, categorical_features="from_dtype").fit(train.X, train.y)


loop.deploy(price, batch=lw.batch(cron="0 2 * * *", dataset=parcels, columns=["zone"]))
"""


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parcels")
    (folder / "loop.py").write_text(PROJECT)
    (folder / "data").mkdir()
    lines = ["parcel_id,weight_kg,zone,sent_at,price"]
    for number in range(180):
        sent = FIRST_DAY + timedelta(minutes=23 * number)
        weight = 1 + number * 7 % 60
        lines.append(f"p{number},{weight},{'near' if number % 3 else 'far'},{sent.isoformat()},{3 + 2 * weight}")
    (folder / "data/a.csv").write_text("\n".join(lines) + "\n")
    clock = ManualClock(TURNED)
    with Workspace.open(folder, clock=clock, ids=Ids(clock, seeded_entropy(1))) as workspace:
        assert run_turn(load_loop(folder), workspace).models["price"]["promoted"] is True
    return folder


@pytest.fixture
def clock():
    return ManualClock(TURNED + timedelta(hours=1))


@pytest.fixture
def workspace(turned, clock):
    with Workspace.open(turned, clock=clock) as opened:
        yield opened


def test_rows_at_their_event_times_get_the_features_of_training(turned, workspace):
    (record,) = list_records(workspace.stores)
    path = workspace.stores.blobs.fetch(record.train_digest, turned / "train.arrow")
    with pa.memory_map(str(path)) as mapped:
        train = from_table(pa.ipc.open_file(mapped).read_all(), record.feature_fields, record.label_field)
    answers = workspace.registry.load(workspace.registry.get("price")).predict(train.X).values
    request = ScoreRequest("price", DatasetRows("parcels", "event_time"), LakeTable("past"), log=True)
    job = Scorer(workspace.stores, workspace.data, compute=LocalCompute(0)).score(request).job
    assert (job.scored, job.rejected) == (180, 0)
    found = workspace.stores.tables.read("scores/past")
    by_key = dict(zip(found["parcel_id"].to_pylist(), found["prediction"].to_pylist(), strict=True))
    np.testing.assert_array_equal([by_key[key] for key in train.keys], answers)
    logged = PredictionTable(workspace.stores, "price").read(where=f"request_id = '{job.id}'")
    served = {row["key"]: json.loads(row["features"]) for row in logged.to_pylist()}
    means = train.X["zone_weight"]
    for place, key in enumerate(train.keys):
        shown = served[key]["zone_weight"]
        assert np.isnan(means[place]) if shown is None else shown == pytest.approx(means[place])
    figures = system_figures(workspace.stores, "price", since=FIRST_DAY)
    assert figures.requests == 0, "nobody waited for these answers"


def test_files_get_the_views_that_a_request_gets(turned, workspace):
    loop = load_loop(turned)
    snapshots = {"parcels": workspace.data.snapshot("parcels")}
    workspace.features.materialize(loop.views["zone_mean"], snapshots)
    (turned / "new.csv").write_text("parcel_id,weight_kg,zone\nn1,10,near\nn2,40,far\nn3,,far\n")
    request = ScoreRequest("price", FileRows("new.csv"), LakeTable("new"), log=True)
    job = Scorer(workspace.stores, workspace.data, compute=LocalCompute(0)).score(request).job
    assert (job.scored, job.rejected) == (2, 1)
    now = ScoreRequest("price", DatasetRows("parcels"), LakeTable("now"), log=True)
    dated = Scorer(workspace.stores, workspace.data, compute=LocalCompute(0)).score(now).job
    table = PredictionTable(workspace.stores, "price")

    def means(job_id):
        rows = table.read(where=f"request_id = '{job_id}'").to_pylist()
        features = [json.loads(row["features"]) for row in rows]
        return {one["zone"]: one["zone_weight"] for one in features}

    assert means(job.id) == pytest.approx(means(dated.id)), "as known at the moment of scoring"


def test_a_due_time_is_scored_once_and_only_the_last_missed_one(turned, workspace, clock):
    loop, begun = load_loop(turned), []
    assert due_scorings(loop, workspace) == [], "before the first version nothing was due"
    controller = Controller(loop, workspace, lambda _: None, begun.append)
    clock.advance(timedelta(days=3))
    controller.tick()
    due = datetime(2026, 1, 7, 2, tzinfo=UTC)
    assert begun == [DueScoring("price", due)], "the two days before it were missed for good"
    request = request_for(workspace, loop.models["price"], due)
    job = Scorer(workspace.stores, workspace.data, compute=LocalCompute(0)).score(request).job
    assert (job.state, job.scored) == ("done", 180)
    controller.tick()
    assert len(begun) == 1
    (status,) = batch_statuses(loop, workspace)
    assert (status.next_at, status.last.id) == (datetime(2026, 1, 8, 2, tzinfo=UTC), job.id)
    assert status_of(loop, workspace).batches == (status,)
    clock.advance(timedelta(days=1))
    assert due_scorings(loop, workspace) == [DueScoring("price", due + timedelta(days=1))]


def test_a_process_scores_what_is_due_and_waits_after_a_failure(turned, clock, monkeypatch):
    monkeypatch.setenv("LOOPWRIGHT_COMPUTE_URL", "local://?workers=0")
    due = datetime(2026, 2, 1, 2, tzinfo=UTC)
    score_due(turned, "price", due)
    with Workspace.open(turned) as workspace:
        request = request_for(workspace, load_loop(turned).models["price"], due)
        assert Scorer(workspace.stores, workspace.data).jobs.is_done(request.digest)
    codes = [1, 0]
    started = []

    class Ended:
        def __init__(self, command, cwd):
            assert command[3] == "loopwright.loop.score_process"
            assert cwd == turned
            started.append(command[-2:])

        def poll(self):
            return codes.pop(0)

    monkeypatch.setattr(subprocess, "Popen", Ended)
    start, what = ScoreProcess(turned, clock), DueScoring("price", due)
    start(what)
    start(what)
    assert len(started) == 1, "it failed just now"
    clock.advance(FIRST_PAUSE_S)
    start(what)
    assert started == [["price", due.isoformat()]] * 2


def test_a_schedule_that_cannot_be_is_refused():
    def declared(**options):
        loop = lw.Loop("p")
        rows = loop.dataset("rows", source=lw.files("a.csv"), key="id", event_time="at")
        model = loop.model("m", label=lw.label(rows.y), features=[rows.x], holdout=lw.latest("1d"), metrics=["mae"])
        loop.deploy(model(lambda train: train), batch=lw.batch(**{"cron": "0 2 * * *", "dataset": rows} | options))
        return loop

    assert declared().models["m"].batch.cron == "0 2 * * *"
    other = lw.Loop("o").dataset("other", source=lw.files("a.csv"))
    for options, said in [
        ({"cron": "daily"}, "five fields"),
        ({"cron": "61 2 * * *"}, "not a cron expression"),
        ({"files": "b.csv"}, "got dataset=, files="),
        ({"dataset": "rows"}, "is no dataset"),
        ({"dataset": other}, "other"),
        ({"columns": "zone"}, r"columns=\['zone'\]"),
        ({"features": "now"}, "features= scoring or event_time"),
        ({"dataset": None, "sql": lw.sql("db", table="t")}, "is no query"),
    ]:
        with pytest.raises(DeclarationError, match=said):
            declared(**options)


def test_the_process_says_what_is_wrong(turned):
    command = [
        sys.executable,
        "-P",
        "-m",
        "loopwright.loop.score_process",
        str(turned),
        "nothing",
        FIRST_DAY.isoformat(),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "There is no model with lw.batch 'nothing'" in ended.stderr + ended.stdout
    assert Path(turned / "loop.py").is_file()


def test_erasing_a_row_takes_its_answers_along(turned, tmp_path):
    project = shutil.copytree(turned, tmp_path / "project")
    with Workspace.open(project) as workspace:
        scorer = Scorer(workspace.stores, workspace.data, compute=LocalCompute(0))
        (project / "gaps.csv").write_text("parcel_id,weight_kg,zone\np7,,near\np8,,near\n")
        scorer.score(ScoreRequest("price", DatasetRows("parcels", "event_time"), LakeTable("kept"), log=True))
        scorer.score(ScoreRequest("price", FileRows("gaps.csv"), LakeTable("kept")))
        scorer.score(ScoreRequest("price", DatasetRows("parcels"), Folder(project / "out")))
        done = erase_rows(workspace, "parcels", "parcel_id", ["p7"], reason="asked", by="test")
        tables = workspace.stores.tables
        assert "p7" not in tables.read("scores/kept")["parcel_id"].to_pylist()
        assert tables.count("scores/kept") == 179
        assert tables.read("score_rejects/kept")["key"].to_pylist() == ["p8"]
        assert "p7" not in PredictionTable(workspace.stores, "price").read()["key"].to_pylist()
        assert any(str(project / "out") in one.name for one in done.report.remains)
