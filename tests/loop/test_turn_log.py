from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.clock import ManualClock
from loopwright.core.errors import UnknownNameError
from loopwright.core.storage.stores import Stores
from loopwright.loop.turn_log import MANUAL, Cause, TurnLog

CAUSE = Cause("loss", "loss above 0.1", ("s1", "s2"))


@pytest.fixture
def log(stores: Stores) -> TurnLog:
    return TurnLog(stores)


@given(st.builds(Cause, trigger=st.text(), text=st.text(), signals=st.lists(st.text()).map(tuple)))
def test_a_cause_comes_back_from_json(cause: Cause) -> None:
    assert Cause.from_json(cause.to_json()) == cause


def test_a_turn_comes_back_as_it_was_written(log: TurnLog, clock: ManualClock) -> None:
    begun = log.begin("parcels", ("price", "delay"), CAUSE)
    assert log.get(begun.id) == begun
    assert begun.status == "running"
    assert begun.started_at == clock.now()
    clock.advance(90)
    log.finish(begun.id, "finished", {"price": {"version": "price/1"}})
    ended = log.get(begun.id)
    assert ended.status == "finished"
    assert ended.finished_at == clock.now()
    assert ended.outcome == {"price": {"version": "price/1"}}
    assert ended.cause == CAUSE
    assert ended.models == ("price", "delay")


def test_an_unfinished_turn_is_taken_up_again(log: TurnLog) -> None:
    dead = log.begin("parcels", ("price",), CAUSE)
    assert log.begin("parcels", ("price", "delay"), MANUAL) == dead
    log.finish(dead.id, "failed", {"error": "no"})
    assert log.begin("parcels", ("price",), MANUAL).id != dead.id


def test_turns_of_another_loop_are_not_mixed_up(log: TurnLog) -> None:
    ours = log.begin("parcels", (), MANUAL)
    theirs = log.begin("letters", (), MANUAL)
    assert ours.id != theirs.id
    assert [turn.id for turn in log.latest("letters")] == [theirs.id]


def test_the_latest_turns_come_first(log: TurnLog, clock: ManualClock) -> None:
    ids = []
    for number in range(5):
        turn = log.begin("parcels", (), MANUAL)
        log.finish(turn.id, "finished", {})
        ids.append(turn.id)
        clock.advance(number % 2)  # some begin at the same moment
    assert [turn.id for turn in log.latest("parcels")] == ids[::-1]
    assert [turn.id for turn in log.latest("parcels", limit=2)] == ids[:-3:-1]


def test_an_unknown_turn_is_said_so(log: TurnLog) -> None:
    with pytest.raises(UnknownNameError, match="There is no turn 'nothing'"):
        log.get("nothing")
    assert log.steps("nothing") == []


def test_steps_keep_their_order_and_times(log: TurnLog, clock: ManualClock) -> None:
    turn = log.begin("parcels", (), MANUAL)
    log.start_step(turn.id, "ingest", None)
    clock.advance(2)
    log.end_step(turn.id, "ingest", None, "finished", output={"rows": 3, "reasons": {"null": 1}, "version": None})
    log.end_step(turn.id, "train", "k1", "reused", output={"run_id": "r"})
    log.start_step(turn.id, "evaluate", "k2")
    ingest, train, evaluate = log.steps(turn.id)
    assert (ingest.name, train.name, evaluate.name) == ("ingest", "train", "evaluate")
    assert ingest.output == {"rows": 3, "reasons": {"null": 1}, "version": None}
    assert ingest.finished_at == ingest.started_at + timedelta(seconds=2)
    assert (train.status, train.started_at, train.finished_at) == ("reused", clock.now(), clock.now())
    assert (evaluate.status, evaluate.finished_at, evaluate.output) == ("running", None, {})


def test_a_step_that_is_run_again_has_the_times_of_its_last_attempt(log: TurnLog, clock: ManualClock) -> None:
    turn = log.begin("parcels", (), MANUAL)
    log.start_step(turn.id, "first", None)
    log.start_step(turn.id, "train", "k1")
    log.end_step(turn.id, "train", "k1", "failed", output={}, error="no memory")
    assert [step.error for step in log.steps(turn.id)] == [None, "no memory"]
    clock.advance(3600)
    log.start_step(turn.id, "train", "k2")
    _, again = log.steps(turn.id)
    assert (again.status, again.started_at, again.finished_at, again.error) == ("running", clock.now(), None, None)
    assert again.key == "k2"
    clock.advance(5)
    log.end_step(turn.id, "train", "k2", "finished", output={"run_id": "r"})
    _, done = log.steps(turn.id)
    assert done.finished_at == done.started_at + timedelta(seconds=5)
    assert len(log.steps(turn.id)) == 2


@pytest.mark.parametrize("status", ["running", "failed"])
def test_what_is_not_finished_is_not_found(log: TurnLog, status: str) -> None:
    turn = log.begin("parcels", (), MANUAL)
    log.start_step(turn.id, "train", "k1")
    if status == "failed":
        log.end_step(turn.id, "train", "k1", "failed", output={}, error="no")
    assert log.finished_step(turn.id, "train", "k1") is None


def test_a_finished_step_is_found_by_its_key_in_any_turn_and_without_one_in_its_own(
    log: TurnLog, clock: ManualClock
) -> None:
    first = log.begin("parcels", (), MANUAL)
    log.end_step(first.id, "train", "k1", "finished", output={"n": 1})
    log.end_step(first.id, "ingest", None, "finished", output={"n": 2})
    log.finish(first.id, "finished", {})
    clock.advance(1)
    second = log.begin("parcels", (), MANUAL)
    found = log.finished_step(second.id, "train", "k1")
    assert found is not None
    assert found.turn_id == first.id
    assert log.finished_step(second.id, "train", "k2") is None
    assert log.finished_step(second.id, "evaluate", "k1") is None
    assert log.finished_step(second.id, "ingest", None) is None
    in_its_own = log.finished_step(first.id, "ingest", None)
    assert in_its_own is not None
    assert in_its_own.output == {"n": 2}
