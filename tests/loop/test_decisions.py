from __future__ import annotations

import threading

import pytest

from loopwright.core.clock import ManualClock
from loopwright.core.errors import LoopwrightError, RefusedError, UnknownNameError
from loopwright.core.storage.stores import Stores
from loopwright.loop.decisions import DecisionLog
from loopwright.loop.policy import Action, Decision, Reason

LOSS = Reason("loss", "loss 0.4 above 0.1", ("s1", "s2"))
ROWS = Reason("new_rows", "5,000 new rows since the last training", ("s2",))


def decision(action: Action = "propose") -> Decision:
    return Decision(action, (LOSS, ROWS), f"{LOSS.text}; {ROWS.text}")


@pytest.fixture
def log(stores: Stores) -> DecisionLog:
    return DecisionLog(stores)


def test_a_proposal_waits_for_a_person(log: DecisionLog, clock: ManualClock) -> None:
    made = log.record("parcels", "price", decision("propose"))
    assert log.get(made.id) == made
    assert (made.status, made.answered_by, made.answered_at) == ("waiting", None, None)
    assert made.trigger == "loss+new_rows"
    assert made.signals == ("s1", "s2")
    assert made.decided_at == clock.now()


def test_what_the_policy_starts_is_approved_by_it(log: DecisionLog, clock: ManualClock) -> None:
    made = log.record("parcels", "price", decision("start"))
    assert (made.status, made.answered_by, made.answered_at) == ("approved", "policy", clock.now())
    assert log.get(made.id) == made


@pytest.mark.parametrize(("approve", "status"), [(True, "approved"), (False, "declined")])
def test_an_answer_is_on_record_with_its_name(log: DecisionLog, clock: ManualClock, approve: bool, status: str) -> None:
    made = log.record("parcels", "price", decision())
    clock.advance(60)
    answered = log.answer(made.id, approve=approve, by="kari")
    assert (answered.status, answered.answered_by, answered.answered_at) == (status, "kari", clock.now())
    assert answered.decided_at == made.decided_at
    with pytest.raises(RefusedError, match=f"{status} already"):
        log.answer(made.id, approve=not approve, by="ola")
    assert log.get(made.id) == answered


def test_of_several_answers_at_once_one_counts(log: DecisionLog) -> None:
    made = log.record("parcels", "price", decision())
    refused: list[LoopwrightError] = []
    together = threading.Barrier(4)

    def answer(name: str) -> None:
        together.wait()
        try:
            log.answer(made.id, approve=True, by=name)
        except RefusedError as error:
            refused.append(error)

    answering = [threading.Thread(target=answer, args=(name,)) for name in ("a", "b", "c", "d")]
    for thread in answering:
        thread.start()
    for thread in answering:
        thread.join()
    assert len(refused) == 3
    assert log.get(made.id).status == "approved"


def test_a_turn_is_noted_with_the_decision_that_led_to_it(log: DecisionLog) -> None:
    made = log.record("parcels", "price", decision("start"))
    log.turned(made.id, "t1")
    assert (log.get(made.id).status, log.get(made.id).turn_id) == ("turned", "t1")
    with pytest.raises(RefusedError, match="turned already"):
        log.answer(made.id, approve=True, by="kari")


def test_an_unknown_decision_is_said_so(log: DecisionLog) -> None:
    with pytest.raises(UnknownNameError, match="There is no decision 'nothing'"):
        log.get("nothing")
    with pytest.raises(UnknownNameError):
        log.answer("nothing", approve=True, by="kari")
    with pytest.raises(UnknownNameError):
        log.turned("nothing", "t1")


def test_decisions_are_listed_newest_first_and_by_what_is_asked(log: DecisionLog, clock: ManualClock) -> None:
    first = log.record("parcels", "price", decision())
    second = log.record("parcels", "price", decision())  # at the same moment
    clock.advance(1)
    third = log.record("parcels", "delay", decision("start"))
    log.record("letters", "price", decision())
    assert [made.id for made in log.list("parcels")] == [third.id, second.id, first.id]
    assert [made.id for made in log.list("parcels", model="price")] == [second.id, first.id]
    assert [made.id for made in log.list("parcels", status="approved")] == [third.id]
    assert [made.id for made in log.list("parcels", limit=1)] == [third.id]
    assert log.list("parcels", model="price", status="turned") == []
