"""The walk of one row through every room, under a manual clock."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from loopwright.core.clock import ManualClock
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.core.ref import Ref
from loopwright.loop.controller import Controller
from loopwright.loop.loading import load_loop
from loopwright.loop.turn import run_turn
from loopwright.loop.turn_process import turn_for
from loopwright.loop.watching import watched_model
from loopwright.loop.why import why_prediction
from loopwright.serving.calls.endpoint import InferenceCall, Served
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.server.server import Server, ServerPlan
from loopwright.workspace import Workspace

spec = importlib.util.spec_from_file_location("story_project", Path(__file__).parent / "conftest.py")
story = importlib.util.module_from_spec(spec)
sys.modules["story_project"] = story
spec.loader.exec_module(story)

NEW_DAY = 6


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(story.FIRST_DAY + timedelta(days=NEW_DAY))


def ask(server: Server, rows: list[dict[str, object]]) -> Served:
    call = InferenceCall(
        rows=[{"weight_kg": row["weight_kg"], "zone": row["zone"]} for row in rows],
        protocol="rows",
        keys=[str(row["parcel_id"]) for row in rows],
    )
    return asyncio.run(server.endpoints["price"].answer(call))


def test_one_row(project: Path, clock: ManualClock) -> None:
    with Workspace.open(project, clock=clock, ids=Ids(clock, seeded_entropy(1))) as workspace:
        loop = load_loop(project)

        # data, features, training, evaluation, registry: the first turn
        outcome = run_turn(loop, workspace)
        result = outcome.models["price"]
        assert result["promoted"] is True
        assert result["metrics"]["mae"] < 1.0
        assert workspace.data.snapshot("parcels").rows == 360
        (bad,) = workspace.data.quarantine("parcels").entries()
        assert (bad.source, bad.source_row, bad.reasons[0].column) == ("data/day-000.csv", 60, "weight_kg")
        assert workspace.runs.list()[0].metrics["rows"] == 300
        again = run_turn(loop, workspace)
        assert again.nothing_new

        # serving: the row is asked for before its label exists
        plan = ServerPlan(models={"price": loop.models["price"].online})
        server = Server(workspace.stores, RegistrySource(workspace.stores), plan, online=workspace.features.online)
        assert server.watch.check()
        parcels = story.write_day(project / "elsewhere", NEW_DAY, rows=1)
        served = ask(server, parcels)
        assert served.version == 1
        assert abs(served.answers.values[0] - parcels[0]["price"]) < 1.0
        (prediction,) = served.prediction_ids

        # monitoring: the label comes two hours later, by the dataset
        clock.advance(timedelta(hours=2))
        story.write_day(project / "data", NEW_DAY, rows=1)
        controller = Controller(loop, workspace, lambda decision: turn_for(loop, workspace, decision))
        report = controller.tick()
        assert report.rows_ingested == 1
        assert report.signals == ()
        figures = workspace.monitoring.figures(watched_model(workspace, loop.models["price"]))
        assert figures.loss.rows == 1
        assert figures.loss.mean < 1.0

        # why: from the prediction to the raw row and its file
        why = why_prediction(workspace, loop, prediction)
        assert why.version.id == "price/1"
        assert why.outcome["label"] == parcels[0]["price"]
        assert (why.row.source, why.row.source_row) == (f"data/day-{NEW_DAY:03d}.csv", 0)
        kinds = {edge.source.kind for edge in why.lineage}
        assert {"run", "training_set", "snapshot", "view", "transform", "code"} <= kinds
        assert any(edge.target == Ref("model", "price/1") for edge in why.lineage)

        # the world changes: prices double; the loss is seen, a turn is decided, and the release ends promoted
        for day in range(NEW_DAY + 1, NEW_DAY + 6):
            clock.advance(timedelta(days=1))
            ask(server, story.write_day(project / "elsewhere", day, factor=4.0))
            clock.advance(timedelta(hours=2))
            story.write_day(project / "data", day, factor=4.0)
            report = controller.tick()
            if report.decisions:
                break
        assert report.decisions
        assert report.decisions[0].trigger == "loss"
        release = workspace.releases.current("price")
        assert release is not None
        for number in range(20):
            server.watch.check()
            ask(server, story.write_day(project / "elsewhere", 100 + number, rows=1, factor=4.0))
            clock.advance(1)
            controller.tick()
            if workspace.releases.current("price") is None:
                break
        assert workspace.aliases.current("price") == 2
        assert server.watch.check()
        served = ask(server, story.write_day(project / "elsewhere", 200, rows=1, factor=4.0))
        assert served.version == 2
