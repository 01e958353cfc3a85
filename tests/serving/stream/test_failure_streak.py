"""A version that fails on everything: its events wait for another one; poison among good events does not stop it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.serving.stream.conftest import PLAN, event

from loopwright.serving.calls.endpoint import Active
from loopwright.serving.releases.router import Routing
from loopwright.serving.stream.answering import Batch, Tried
from loopwright.serving.stream.failure_streak import FailureStreak


def test_events_wait_for_a_version_that_answers(stores, make_door, slots, outputs, monkeypatch):
    real = slots(1).predictor.__class__.predict_many

    def fails_in_version_1(self, rows, **options):
        return real(self, [{"x": -1}] * len(rows) if self.version == 1 else rows, **options)

    said = []

    def rolled_back(pauses: int) -> None:
        said.append((running.tally.waiting_for, stores.events.end(PLAN.dead)))
        if pauses == 3:
            running.desk.active = Active(Routing(2), slots(2))

    running = make_door(max_rows=4, failures_in_a_row=6, on_pause=rolled_back)
    monkeypatch.setattr(slots(1).predictor.__class__, "predict_many", fails_in_version_1)
    stores.events.append("in", [event(x) for x in range(10)])
    while running.door.step(0.05):
        pass
    assert stores.events.end(PLAN.dead) == 4, "the first batch is short of six failures"
    assert [one["prediction"] for one in outputs()] == [2000.0 + x for x in range(4, 10)]
    assert {dead for _, dead in said} == {4}
    assert "failed on 8 events in a row" in said[0][0]
    assert "ZeroDivisionError" in said[0][0]
    assert running.tally.waiting_for is None
    assert running.pauses == [0.25] * 3


def test_poison_between_good_events_is_set_aside_however_much_there_is(stores, make_door, outputs):
    running = make_door(max_rows=10, failures_in_a_row=3)
    stores.events.append("in", [event(-1 if x % 10 else x) for x in range(100)])
    while running.door.step(0.05):
        pass
    assert (stores.events.end(PLAN.dead), len(outputs())) == (90, 10)
    assert running.pauses == []


def test_unreadable_events_are_their_own_fault(stores, make_door):
    running = make_door(failures_in_a_row=3)
    stores.events.append("in", [event("text")] * 50)
    while running.door.step(0.05):
        pass
    assert stores.events.end(PLAN.dead) == 50
    assert running.pauses == []


def test_a_stream_that_waits_for_a_version_ends_when_asked_and_leaves_the_events(stores, make_door, outputs):
    running = make_door(failures_in_a_row=1, most_pauses=5)
    stores.events.append("in", [event(-1)])
    assert running.door.step(0.05) == 0
    assert (stores.events.end(PLAN.dead), len(outputs())) == (0, 0)
    other = make_door(exchange=running.exchange, failures_in_a_row=None)
    assert other.door.step(0.05) == 1
    assert stores.events.end(PLAN.dead) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30), st.integers(1, 12))
def test_a_version_is_broken_when_so_many_failures_follow_each_other(batches, most):
    streak, in_a_row = FailureStreak(most), 0
    for predicted, failed in batches:
        batch = Batch([], failed, (Tried(7, predicted, failed, "no."),), None)
        in_a_row = 0 if predicted else in_a_row + failed
        assert (streak.broken_by(batch) is not None) is bool(failed and in_a_row >= most)
        assert FailureStreak(None).broken_by(batch) is None
        streak.put(batch)
