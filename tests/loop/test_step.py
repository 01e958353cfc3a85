from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.clock import ManualClock
from loopwright.core.errors import TrainingError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import Stores, open_stores
from loopwright.loop.step import StepEvent, StepRunner
from loopwright.loop.turn_log import MANUAL, Output, TurnLog

Report = Callable[[str], None]


class Listening:
    def __init__(self) -> None:
        self.events: list[StepEvent] = []

    def __call__(self, event: StepEvent) -> None:
        self.events.append(event)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(event.step, event.kind) for event in self.events]


def begin(stores: Stores) -> tuple[StepRunner, Listening]:
    log, listening = TurnLog(stores), Listening()
    return StepRunner(log, log.begin("parcels", (), MANUAL), stores.clock, listening), listening


def end(stores: Stores, runner: StepRunner) -> None:
    TurnLog(stores).finish(runner.turn.id, "finished", {})


def never(report: Report) -> Output:
    raise AssertionError("a finished step is done again")


def test_a_step_is_run_recorded_and_told(stores: Stores, clock: ManualClock) -> None:
    runner, listening = begin(stores)

    def train(report: Report) -> Output:
        report("half way")
        clock.advance(2.5)
        return {"run_id": "r1"}

    assert runner.run("train", train, key="k") == {"run_id": "r1"}
    assert listening.said == [("train", "started"), ("train", "progress"), ("train", "finished")]
    _, progress, finished = listening.events
    assert progress.text == "half way"
    assert finished.seconds == 2.5
    assert finished.output == {"run_id": "r1"}
    assert finished.turn_id == runner.turn.id
    assert runner.done == ["train"]
    (step,) = TurnLog(stores).steps(runner.turn.id)
    assert (step.status, step.key, step.output) == ("finished", "k", {"run_id": "r1"})


def test_nothing_is_visible_before_the_step_is_complete(stores: Stores) -> None:
    runner, _ = begin(stores)

    def look(report: Report) -> Output:
        (step,) = TurnLog(stores).steps(runner.turn.id)
        assert (step.status, step.output) == ("running", {})
        return {"n": 1}

    runner.run("train", look, key="k")


def test_a_killed_turn_goes_on_at_its_first_unfinished_step(stores: Stores) -> None:
    killed, _ = begin(stores)
    killed.run("ingest", lambda _: {"version": 3})
    killed.run("train", lambda _: {"run_id": "r1"}, key="k")
    TurnLog(stores).start_step(killed.turn.id, "evaluate", "e")  # and here the process died
    again, listening = begin(stores)
    assert again.turn.id == killed.turn.id
    assert again.run("ingest", never) == {"version": 3}
    assert again.run("train", never, key="k") == {"run_id": "r1"}
    assert again.run("evaluate", lambda _: {"verdict": "pass"}, key="e") == {"verdict": "pass"}
    assert again.reused == ["ingest", "train"]
    assert again.done == ["evaluate"]
    assert [kind for _, kind in listening.said] == ["reused", "reused", "started", "finished"]
    assert listening.events[0].output == {"version": 3}
    assert {step.status for step in TurnLog(stores).steps(again.turn.id)} == {"finished"}


def test_a_later_turn_reuses_what_has_a_key_and_redoes_what_has_none(stores: Stores) -> None:
    first, _ = begin(stores)
    first.run("ingest", lambda _: {"version": 3})
    first.run("train", lambda _: {"run_id": "r1"}, key="k1")
    end(stores, first)
    second, _ = begin(stores)
    assert second.run("ingest", lambda _: {"version": 4}) == {"version": 4}
    assert second.run("train", never, key="k1") == {"run_id": "r1"}
    assert second.run("train again", lambda _: {"run_id": "r2"}, key="k1") == {"run_id": "r2"}
    assert second.reused == ["train"]
    statuses = {step.name: step.status for step in TurnLog(stores).steps(second.turn.id)}
    assert statuses == {"ingest": "finished", "train": "reused", "train again": "finished"}
    end(stores, second)
    third, _ = begin(stores)
    assert third.run("train", never, key="k1") == {"run_id": "r1"}
    assert third.run("train", lambda _: {"run_id": "r3"}, key="k2") == {"run_id": "r3"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TrainingError("The training ran out of memory.", hint="Raise memory=."), "ran out of memory. Raise memory=."),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_step_that_raises_is_recorded_and_run_again(
    stores: Stores, clock: ManualClock, error: Exception, said: str
) -> None:
    runner, listening = begin(stores)

    def fail(report: Report) -> Output:
        clock.advance(3)
        raise error

    with pytest.raises(type(error)):
        runner.run("train", fail, key="k")
    (step,) = TurnLog(stores).steps(runner.turn.id)
    assert step.status == "failed"
    assert said in str(step.error)
    assert listening.said == [("train", "started"), ("train", "failed")]
    assert listening.events[-1].seconds == 3
    assert said in listening.events[-1].text
    assert runner.done == []
    assert runner.run("train", lambda _: {"run_id": "r"}, key="k") == {"run_id": "r"}
    (step,) = TurnLog(stores).steps(runner.turn.id)
    assert (step.status, step.error) == ("finished", None)


def test_an_interrupted_step_stays_open(stores: Stores) -> None:
    runner, listening = begin(stores)

    def interrupt(report: Report) -> Output:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run("train", interrupt, key="k")
    (step,) = TurnLog(stores).steps(runner.turn.id)
    assert step.status == "running"
    assert listening.said == [("train", "started")]


steps = st.tuples(st.sampled_from("abc"), st.sampled_from([None, "k1", "k2"]), st.booleans())
turns = st.lists(st.tuples(st.lists(steps, max_size=6), st.booleans()), min_size=1, max_size=5)


@settings(max_examples=30)
@given(turns)
def test_a_step_runs_exactly_when_nothing_finished_stands_for_it(plan: list[tuple[list[tuple], bool]]) -> None:
    """Against an oracle: per turn and name the key and result of the last attempt, None where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        stores = open_stores(Settings.load(Path(folder), environ={}), clock=clock)
        attempts: dict[tuple[str, str], tuple[str | None, int | None]] = {}
        count = 0
        try:
            for wanted, dies in plan:
                runner, _ = begin(stores)
                for name, key, fails in wanted:
                    this = (runner.turn.id, name)
                    if key is None:
                        known = attempts.get(this, (None, None))[1]
                    else:
                        stands = [n for (_, other), (k, n) in attempts.items() if (other, k) == (name, key)]
                        known = next((n for n in stands if n is not None), None)
                    count += 1

                    def action(report: Report, *, fails: bool = fails, number: int = count) -> Output:
                        if fails:
                            raise ValueError("no")
                        return {"n": number}

                    if known is None and fails:
                        with pytest.raises(ValueError, match="no"):
                            runner.run(name, action, key=key)
                        attempts[this] = (key, None)
                        continue
                    assert runner.run(name, action, key=key) == {"n": count if known is None else known}
                    here = attempts.get(this)
                    if known is None or (key is not None and (here is None or here != (key, known))):
                        attempts[this] = (key, count if known is None else known)
                if not dies:
                    end(stores, runner)
        finally:
            stores.close()
