"""A stored plan is looked at once an hour; what no longer holds is one signal a day in one incident."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import loopwright as lw
from loopwright.core.clock import ManualClock
from loopwright.core.errors import LoopwrightError
from loopwright.core.statistics.histogram import LatencyHistogram
from loopwright.core.storage.stores import Stores
from loopwright.data.ingest.records import ingests, source_units
from loopwright.loop.controller import Controller
from loopwright.loop.plan_watch import plan_path, read_plan, seen_of, watch_plan, watch_stored_plan
from loopwright.loop.project import Loop
from loopwright.monitoring.business import record_kpi
from loopwright.monitoring.incident import Incidents
from loopwright.monitoring.signal import Signals
from loopwright.monitoring.system import BUCKET, system_buckets
from loopwright.planning.plan import Plan
from loopwright.planning.planner import make_plan
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.workload_file import request_of
from loopwright.workspace import Workspace

MADE = datetime(2026, 8, 3, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TABLES = {
    "name": "parcels",
    "clouds": ["gcp"],
    "requests": {"per_day": 86_400, "peak": 1.5, "floor": 0.5, "payload": "1KB"},
    "data": {"raw": {"per_day": "1GB/day", "retention": "30d"}},
    "training": {"runs_per_month": 1, "hours": {"cpu": 1}},
    "services": [{"name": "model", "mean": "20ms", "vcpus": 2}],
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    asked = request_of(TABLES)
    prices = PriceTable.load(today=MADE.date())
    return make_plan(asked.workload, asked.services, asked.training, prices, draws=200, today=MADE.date())


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    made = lw.Loop("parcels")
    parcels = made.dataset(
        "parcels", source=lw.files("data/*.csv"), key="parcel_id",
        contract=[lw.column("parcel_id", "string"), lw.column("kg", "float"), lw.column("price", "float")],
    )  # fmt: skip

    @made.model(
        "price", label=lw.label(parcels.price), features=[parcels.kg], holdout=lw.fraction(0.3), metrics=["mae"]
    )
    def price(train: lw.TrainingSet) -> object:
        raise NotImplementedError

    return made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MADE)


@pytest.fixture
def workspace(stores: Stores) -> Workspace:
    return Workspace(stores)


def keep(workspace: Workspace, plan: Plan) -> None:
    path = plan_path(workspace.stores.settings.project)
    path.write_text(json.dumps(plan.to_json()))


def serve(workspace: Workspace, hours: int, *, times: float = 1.0, latency_ms: float = 20.0) -> None:
    """Put hours of traffic that runs as the plan's day does on record, and let them pass."""
    now = workspace.stores.clock.now()
    rows = []
    for number in range(hours * 12):
        at = now + number * BUCKET
        count = round(300 * times * (1.4 if 8 <= at.hour < 20 else 0.6))
        latency = list(LatencyHistogram.of([latency_ms] * count).counts)
        rows.append({"model": "price", "started_at": at, "requests": count, "errors": 0, "latency": latency})
    with workspace.stores.facts.write() as connection:
        connection.execute(sa.insert(system_buckets), [{**row, "error_classes": {}} for row in rows])
    workspace.stores.clock.advance(hours * HOUR)  # type: ignore[attr-defined]


def test_without_a_plan_nothing_is_looked_at(loop: Loop, workspace: Workspace) -> None:
    assert watch_stored_plan(loop, workspace) == ()


def test_the_stores_say_what_came(loop: Loop, workspace: Workspace, plan: Plan) -> None:
    serve(workspace, 48)
    with workspace.stores.facts.write() as connection:
        for number, size in enumerate((10**9, 2 * 10**9)):
            connection.execute(
                sa.insert(ingests).values(
                    id=f"i{number}", dataset="parcels", number=number, status="done", staged="", started_at=MADE,
                    finished_at=MADE + (number + 0.5) * DAY, total_rows=1, has_superseded=False, schema_digest="",
                    contract_digest="", rows_accepted=1, rows_quarantined=0, report={},
                )
            )  # fmt: skip
            connection.execute(
                sa.insert(source_units).values(
                    dataset="parcels", name=f"{number}.csv", digest="", size=size, modified_ns=0, rows=1, state="read",
                    ingest_id=f"i{number}",
                )
            )  # fmt: skip
    record_kpi(workspace.stores, "price", "usd_per_month", 120.0)
    seen = seen_of(loop, workspace, plan)
    assert (len(seen.hourly), seen.first_hour, seen.requests) == (48, 0, 2 * 86_400)
    assert seen.busiest_rps == pytest.approx(1.4)
    assert seen.arrived_bytes == 3e9
    assert seen.usd_per_month == 120.0
    held = {one.check: one.state for one in watch_plan(loop, workspace, plan, raises=False).held}
    assert held["requests"] == held["service_time"] == held["latency"] == "holds"
    assert held["data_arrival"] == "broken"
    assert Signals(workspace.stores).list() == []


def test_a_broken_assumption_is_one_signal_a_day_and_ends_after_two_clean_days(
    loop: Loop, workspace: Workspace, plan: Plan
) -> None:
    keep(workspace, plan)
    serve(workspace, 24)
    assert watch_stored_plan(loop, workspace) == ()
    serve(workspace, 36, times=4.0)
    found = watch_stored_plan(loop, workspace)
    assert {one.check for one in found} == {"plan:requests", "plan:peak"}
    assert watch_stored_plan(loop, workspace) == ()
    serve(workspace, 1, times=4.0)
    assert watch_stored_plan(loop, workspace) == ()  # the same day
    incident = next(one for one in Incidents(workspace.stores).list(live=True) if one.check == "plan:requests")
    (signal,) = (one for one in found if one.check == "plan:requests")
    assert incident.signals == (signal.id,)
    assert signal.evidence["planned"] == 86_400
    assert signal.threshold is not None
    assert signal.certainty["low"] > signal.threshold
    assert "loopwright plan --per-day" in str(signal.evidence["advice"])
    for _ in range(9):
        serve(workspace, 24)
        watch_stored_plan(loop, workspace)
    assert [one for one in Incidents(workspace.stores).list(live=True) if one.check.startswith("plan:")] == []


def test_the_controller_looks_by_itself(loop: Loop, workspace: Workspace, plan: Plan) -> None:
    keep(workspace, plan)
    serve(workspace, 30, latency_ms=150.0)
    controller = Controller(loop, workspace, lambda _: None)
    report = controller.tick()
    assert "plan:service_time" in {one.check for one in report.signals}
    assert controller.tick().signals == ()


def test_a_plan_that_cannot_be_read_is_a_signal_and_stops_nothing(loop: Loop, workspace: Workspace, plan: Plan) -> None:
    plan_path(workspace.stores.settings.project).write_text("{")
    (signal,) = watch_stored_plan(loop, workspace)
    assert signal.check == "monitor:plan"
    assert "is no plan" in str(signal.evidence["error"])
    workspace.stores.clock.advance(HOUR)  # type: ignore[attr-defined]
    assert watch_stored_plan(loop, workspace) == ()
    keep(workspace, plan)
    for _ in range(2):
        workspace.stores.clock.advance(HOUR)  # type: ignore[attr-defined]
        watch_stored_plan(loop, workspace)
    assert Incidents(workspace.stores).list(live=True) == []


@pytest.mark.parametrize("text", ["[]", "null", '{"schema": 1}', '{"schema": "x"}', "[" * 5000, "\udcff"])
def test_what_is_no_plan_has_one_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LoopwrightError, match="plan"):
        read_plan(path)
