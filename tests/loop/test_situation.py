from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

import loopwright as lw
from loopwright.core.clock import ManualClock
from loopwright.core.storage.stores import Stores
from loopwright.evaluation.loss import reference_loss
from loopwright.evaluation.outputs import Outputs
from loopwright.loop.decisions import DecisionLog
from loopwright.loop.model import ModelDeclaration
from loopwright.loop.policy import Decision, Reason, Situation
from loopwright.loop.project import Loop
from loopwright.loop.situation import situation_of
from loopwright.loop.turn_log import Cause, TurnLog
from loopwright.monitoring.loss_state import LossState, loss_states
from loopwright.monitoring.reference import ReferenceProfiles, freeze
from loopwright.monitoring.signal import Signal, Signals
from loopwright.monitoring.watch import LossWatch
from loopwright.registry.alias import Aliases, Override
from loopwright.registry.version import model_versions
from loopwright.serving.deploy import online
from loopwright.serving.releases.release import ReleasePlan
from loopwright.workspace import Workspace

REFERENCE = reference_loss("regression", np.linspace(0, 1, 100))


@pytest.fixture
def workspace(stores: Stores) -> Workspace:
    return Workspace(stores)


@pytest.fixture
def model() -> ModelDeclaration:
    loop = Loop("parcels")
    columns = [lw.column("id", "string"), lw.column("kg", "float"), lw.column("price", "float")]
    contract = [*columns, lw.column("at", "timestamp")]
    parcels = loop.dataset("parcels", source=lw.push(), event_time="at", key="id", contract=contract)
    label, features = lw.label(parcels.price), [parcels["kg"]]

    @loop.model("price", label=label, features=features, holdout=lw.fraction(0.2), metrics=["mae"])
    def price(train: lw.TrainingSet, params: lw.Params, seed: int) -> None:
        """Never called here."""

    loop.retrain(price, on=[lw.schedule("0 3 1 * *"), lw.loss_above_reference(fresh_rows=100), lw.drift_seen()])
    return price


@pytest.fixture(autouse=True)
def champion(stores: Stores, clock: ManualClock) -> str:
    """Version 1 answers, and has a reference."""
    with stores.facts.write() as connection:
        for version in (1, 2):
            row = {
                "model": "price",
                "version": version,
                "run_id": f"r{version}",
                "created_at": clock.now(),
                "record": {},
            }
            connection.execute(model_versions.insert().values(row))
    Aliases(stores).move("price", "champion", 1, expected=None, by="anna", override=Override("anna", "a test"))
    profile = freeze(
        model="price",
        version="price/1",
        table=pa.table({"x": [1.0, 2.0]}),
        fields=(),
        outputs=Outputs("regression", np.array([1.0, 2.0])),
        labels=[1.0, 2.5],
        loss=REFERENCE,
    )
    ReferenceProfiles(stores).put(profile)
    return profile.version


def labelled(stores: Stores, rows: int) -> None:
    """Let monitoring have seen so many labelled rows of version 1."""
    state = LossState.start(REFERENCE, LossWatch())
    row: dict[str, object] = {
        "version": "price/1",
        "model": "price",
        "rows": rows,
        "state": replace(state, rows=rows).to_json(),
        "updated_at": stores.clock.now(),
    }
    with stores.facts.write() as connection:
        stores.facts.upsert(connection, loss_states, row)


def see(stores: Stores, check: str, rows: int = 0, *, version: str = "price/1", **evidence: object) -> str:
    signal = Signal(
        id=stores.ids.new(),
        model="price",
        version=version,
        dimension="model" if check == "loss" else "data",
        check=check,
        severity="page",
        value=0.4,
        threshold=0.1,
        certainty={},
        rows=rows,
        window=f"row {rows} {stores.ids.new()}",
        evidence=evidence,
        created_at=stores.clock.now(),
    )
    with stores.facts.write() as connection:
        assert Signals(stores).add(connection, signal)
    return signal.id


def situation(workspace: Workspace, model: ModelDeclaration) -> Situation:
    return situation_of(workspace, "parcels", model, turn_running=False)


def test_nothing_happened_yet(workspace: Workspace, model: ModelDeclaration, clock: ManualClock) -> None:
    assert situation(workspace, model) == Situation(clock.now())


def test_fresh_rows_count_from_the_change_on(stores: Stores, workspace: Workspace, model: ModelDeclaration) -> None:
    """The alarm came at row 1,000, 60 rows after the loss began to rise; 150 more labels have come by now."""
    labelled(stores, 1000)
    seen = see(stores, "loss", 1000, rows_since_change=60)
    assert situation(workspace, model).signals[0].fresh_rows == 60
    labelled(stores, 1150)
    (signal,) = situation(workspace, model).signals
    assert (signal.id, signal.check, signal.fresh_rows, signal.windows) == (seen, "loss", 210, 1)
    assert signal.text == "loss of price/1 0.4 above 0.1, seen at row 1,000"


def test_rows_counted_anew_are_not_fresh_for_an_old_signal(
    stores: Stores, workspace: Workspace, model: ModelDeclaration
) -> None:
    """A version that is champion again starts at row 0."""
    see(stores, "loss", 1000, rows_since_change=60)
    labelled(stores, 10)
    assert situation(workspace, model).signals[0].fresh_rows == 0


def test_only_open_signals_about_the_champion_count(
    stores: Stores, workspace: Workspace, model: ModelDeclaration
) -> None:
    labelled(stores, 1000)
    see(stores, "loss", 500, version="price/2", rows_since_change=60)
    see(stores, "latency")
    answered = see(stores, "loss", 600, rows_since_change=60)
    reason = Reason("loss", "loss", (answered,))
    DecisionLog(stores).record("parcels", "price", Decision("propose", (reason,), "loss"))
    left = see(stores, "loss", 900, rows_since_change=20)
    found = situation(workspace, model)
    assert [(signal.id, signal.fresh_rows) for signal in found.signals] == [(left, 120)]
    assert found.proposal_waiting


def test_drift_counts_its_windows_in_a_row_since_the_last_decision(
    stores: Stores, workspace: Workspace, model: ModelDeclaration
) -> None:
    see(stores, "drift", windows_in_a_row=1)
    see(stores, "drift", windows_in_a_row=1)  # a clean window lay between
    assert [signal.windows for signal in situation(workspace, model).signals] == [1, 1]
    last = see(stores, "drift", windows_in_a_row=2)
    found = situation(workspace, model).signals
    assert [signal.windows for signal in found] == [1, 1, 2]
    reason = Reason("drift", "drift", tuple(signal.id for signal in found))
    log = DecisionLog(stores)
    log.answer(log.record("parcels", "price", Decision("propose", (reason,), "drift")).id, approve=False, by="anna")
    assert situation(workspace, model).signals == ()
    see(stores, "drift", windows_in_a_row=3)
    assert [signal.windows for signal in situation(workspace, model).signals] == [1]
    assert last in log.list("parcels", model="price", limit=1)[0].signals


def test_past_turns_are_those_that_triggers_began_with_their_end(
    stores: Stores, workspace: Workspace, model: ModelDeclaration, clock: ManualClock
) -> None:
    turns = TurnLog(stores)
    outcomes = [
        ("manual", "finished", {"promoted": True}),
        ("loss", "finished", {"promoted": False}),
        ("drift", "failed", {}),
        ("schedule", "finished", {"promoted": True}),
    ]
    for trigger, status, outcome in outcomes:
        clock.advance(timedelta(hours=1))
        turn = turns.begin("parcels", ("price",), Cause(trigger, trigger))
        turns.finish(turn.id, status, {"price": outcome})
    other = turns.begin("parcels", ("another",), Cause("loss", "loss"))
    turns.finish(other.id, "finished", {"another": {"promoted": True}})
    assert [past.promoted for past in situation(workspace, model).past_turns] == [False, False, True]


def test_a_release_is_open_until_it_ends_and_says_what_its_turn_came_to(
    stores: Stores, workspace: Workspace, model: ModelDeclaration
) -> None:
    plan = ReleasePlan.from_deployment(online(canary=[100]))
    release = workspace.releases.open("price", champion="price/1", challenger="price/2", plan=plan)
    turns = TurnLog(stores)
    turn = turns.begin("parcels", ("price",), Cause("loss", "loss"))
    turns.finish(turn.id, "finished", {"price": {"promoted": None, "release": release.id}})
    found = situation(workspace, model)
    assert (found.release_open, found.past_turns[0].promoted) == (True, None)
    workspace.releases.move(release, "roll_back", reasons=["worse"])
    found = situation(workspace, model)
    assert (found.release_open, found.past_turns[0].promoted) == (False, False)


def test_new_rows_count_from_the_last_training(
    stores: Stores, workspace: Workspace, model: ModelDeclaration, clock: ManualClock
) -> None:
    dataset = model.label.dataset
    rows = [{"id": str(n), "kg": 1.0, "at": clock.now().isoformat(), "price": 2.0} for n in range(5)]
    workspace.data.push(dataset, rows)
    turns = TurnLog(stores)
    turn = turns.begin("parcels", ("price",), Cause("manual", "by hand"))
    turns.finish(turn.id, "finished", {"price": {"rows": 2}})
    assert situation(workspace, model).new_rows == 3


def test_a_schedule_is_due_once_after_the_last_turn(
    stores: Stores, workspace: Workspace, model: ModelDeclaration, clock: ManualClock
) -> None:
    clock.advance(timedelta(days=60))
    assert situation(workspace, model).last_due == ()
    turns = TurnLog(stores)
    turns.finish(turns.begin("parcels", ("price",), Cause("manual", "by hand")).id, "finished", {})
    assert situation(workspace, model).last_due == ()
    clock.advance(timedelta(days=31))
    ((cron, due),) = situation(workspace, model).last_due
    assert (cron, due.isoformat()) == ("0 3 1 * *", "2026-04-01T03:00:00+00:00")
