"""The deliveries example: roads change, labels come late, and the loop comes back better."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from loopwright.core.clock import ManualClock
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.loop.controller import Controller, TickReport
from loopwright.loop.loading import load_loop
from loopwright.loop.turn import TurnOutcome, run_turn
from loopwright.loop.turn_process import turn_for
from loopwright.serving.calls.endpoint import InferenceCall
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.server.server import Server, ServerPlan
from loopwright.workspace import Workspace

EXAMPLE = Path(__file__).parents[2] / "examples" / "deliveries"
FIELDS = ("courier_id", "city", "distance_km", "rain_mm", "placed_at")
LABELS_LATE = timedelta(hours=2)
TRAINED_DAYS = 35
QUIET_DAYS = 2
MOST_DAYS = 14  # from the change of the roads to the promotion


@pytest.fixture
def city_module(tmp_path: Path) -> Iterator[ModuleType]:
    """The example's simulator, from a copy of the example in the folder of the test."""
    for file in ("loop.py", "city.py"):
        shutil.copyfile(EXAMPLE / file, tmp_path / file)
    spec = importlib.util.spec_from_file_location("deliveries_city", tmp_path / "city.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@dataclass
class Days:
    """Lives through days: orders are asked for as they are placed, and their files come two hours after midnight."""

    project: Path
    city: object
    module: ModuleType
    clock: ManualClock
    server: Server
    controller: Controller
    runner: asyncio.Runner
    errors: list[pd.DataFrame] = field(default_factory=list)

    def live(self, day: int) -> TickReport:
        orders = self.city.day(day)
        answers, versions = [], []
        for row in orders.to_dict("records"):
            self.clock.advance(row["placed_at"].to_pydatetime() - self.clock.now())
            fields = {name: row[name] for name in FIELDS} | {"placed_at": row["placed_at"].isoformat()}
            call = InferenceCall(rows=[fields], protocol="rows", keys=[row["order_id"]])
            served = self.runner.run(self.server.endpoints["eta"].answer(call))
            answers.append(served.answers.values[0])
            versions.append(served.version)
        self.errors.append(
            orders[["city", "order_id"]].assign(
                day=day, version=versions, error=np.abs(np.array(answers) - orders.minutes.to_numpy())
            )
        )
        self.clock.advance(self.city.first_day + timedelta(days=day + 1) + LABELS_LATE - self.clock.now())
        self.module.write_days(self.city, self.project / "data" / "orders", range(day, day + 1))
        report = self.controller.tick()
        self.server.watch.check()
        return report

    def mae(self, city: str, days: range) -> float:
        errors = pd.concat(self.errors)
        return float(errors[(errors.city == city) & errors.day.isin(list(days))].error.mean())


def test_roads_change(tmp_path: Path, city_module: ModuleType) -> None:
    city = city_module.City()
    change = city_module.ROADWORKS_DAY
    clock = ManualClock(city.first_day + timedelta(days=TRAINED_DAYS) + LABELS_LATE)
    city_module.write_days(city, tmp_path / "data" / "orders", range(TRAINED_DAYS))
    outcomes: list[TurnOutcome] = []
    with Workspace.open(tmp_path, clock=clock, ids=Ids(clock, seeded_entropy(1))) as workspace, asyncio.Runner() as run:
        loop = load_loop(tmp_path)
        first = run_turn(loop, workspace)
        assert first.models["eta"]["promoted"] is True
        version = workspace.registry.get("eta", 1)

        plan = ServerPlan(models={"eta": loop.models["eta"].online})
        server = Server(workspace.stores, RegistrySource(workspace.stores), plan, online=workspace.features.online)
        assert server.watch.check()
        controller = Controller(loop, workspace, lambda d: outcomes.append(turn_for(loop, workspace, d)))
        days = Days(tmp_path, city, city_module, clock, server, controller, run)

        # quiet days: no loss is seen, nothing is decided, and the couriers' pace is looked up and fresh
        for day in range(change - QUIET_DAYS, change):
            report = days.live(day)
            assert not report.decisions
            assert all(signal.check != "loss" for signal in report.signals)
        assert version.compiled, version.not_compiled_because
        served = workspace.stores.tables.read("predictions/eta", columns=["features"]).column("features").to_pylist()
        paces = [json.loads(features)["pace"] for features in served]
        assert sum(pace is not None for pace in paces) > 0.95 * len(paces)
        snapshot = workspace.data.snapshot("orders")
        view = loop.views["courier_pace"]
        parity = workspace.features.parity(view, {"orders": snapshot}, labels=[loop.models["eta"].label])
        assert parity.at == clock.now()  # the tick filled the store, not only the turn
        assert parity.entities > 30
        assert parity.equal, parity.differences[:3]

        # the roads change; the loss is seen, a turn is decided, and a release ends promoted
        seen: set[str] = set()
        for day in range(change, change + MOST_DAYS):
            report = days.live(day)
            seen |= {signal.check for signal in report.signals}
            if workspace.aliases.current("eta") == 2:
                break
        assert {"loss", "drift"} <= seen
        (outcome,) = outcomes
        assert outcome.turn.cause.trigger == "loss"
        assert outcome.models["eta"]["verdict"] == "pass"
        assert workspace.aliases.current("eta") == 2
        changed = range(change, day + 1)
        after = range(day + 1, day + 1 + QUIET_DAYS)
        for day in after:
            days.live(day)
        assert set(days.errors[-1].version) == {2}

    before = range(change - QUIET_DAYS, change)
    assert days.mae("Bergen", before) < 2.5
    assert days.mae("Bergen", changed) > 4.5
    assert days.mae("Bergen", after) < 0.75 * days.mae("Bergen", changed)
    assert abs(days.mae("Oslo", after) - days.mae("Oslo", before)) < 0.7


def test_as_its_user_would(tmp_path: Path, city_module: ModuleType) -> None:
    """``python city.py`` and ``loopwright run`` in a copy; a second run finds nothing new, a second city.py no days."""
    del city_module  # made the copy
    shell = [
        [sys.executable, "city.py"],
        [sys.executable, "-m", "loopwright.app.cli.main", "run"],
        [sys.executable, "city.py"],
        [sys.executable, "-m", "loopwright.app.cli.main", "run"],
    ]
    said = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout for command in shell
    ]
    assert "new orders in" in said[0]
    assert "eta/1 is champion" in said[1]
    assert said[2].startswith("0 new orders")
    assert "Nothing new" in said[3]


def test_city_repeats_itself_and_catches_up(tmp_path: Path, city_module: ModuleType) -> None:
    folder = tmp_path / "orders"
    today = datetime(2026, 3, 1, tzinfo=UTC)
    orders = city_module.catch_up(folder, today)
    assert len(list(folder.iterdir())) == 35
    assert city_module.catch_up(folder, today) == 0
    assert 0 < city_module.catch_up(folder, today + timedelta(days=2)) < orders
    newest = pd.read_parquet(folder / "2026-03-02.parquet")
    again = city_module.City(first_day=today - timedelta(days=35)).day(36)
    pd.testing.assert_frame_equal(newest, again, check_dtype=False)
