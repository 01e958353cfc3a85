from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from loopwright.loop.model import RetrainPolicy
from loopwright.loop.policy import PastTurn, SeenSignal, Situation, decide, next_allowed
from loopwright.loop.triggers import DriftSeen, LossAboveReference, NewRows, Schedule

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = RetrainPolicy(
    on=(Schedule("0 3 1 * *"), LossAboveReference(100), NewRows(1000), DriftSeen(2)),
    approval="automatic",
    cooldown=timedelta(hours=1),
    max_turns=3,
    per=timedelta(days=30),
)
LOSS = SeenSignal("s1", "loss", 150, 1, "loss 0.4 above 0.1")

moments = st.integers(min_value=0, max_value=60 * 24 * 60).map(lambda minutes: NOW - timedelta(minutes=minutes))
signals = st.builds(
    SeenSignal,
    id=st.uuids().map(str),
    check=st.sampled_from(["loss", "drift", "latency"]),
    fresh_rows=st.integers(0, 300),
    windows=st.integers(0, 4),
    text=st.just("seen"),
)
situations = st.builds(
    Situation,
    now=st.just(NOW),
    signals=st.lists(signals, max_size=4).map(tuple),
    past_turns=st.lists(st.builds(PastTurn, moments, st.sampled_from([True, False, None])), max_size=6).map(
        lambda turns: tuple(sorted(turns, key=lambda turn: turn.started_at))
    ),
    turn_running=st.booleans(),
    release_open=st.booleans(),
    proposal_waiting=st.booleans(),
    new_rows=st.integers(0, 2000),
    last_due=st.just(()) | moments.map(lambda moment: (("0 3 1 * *", moment),)),
)
policies = st.builds(
    RetrainPolicy,
    on=st.lists(
        st.sampled_from([Schedule("0 3 1 * *"), LossAboveReference(100), NewRows(1000), DriftSeen(2)]), unique=True
    ).map(tuple),
    approval=st.sampled_from(["automatic", "manual"]),
    cooldown=st.integers(0, 48).map(lambda hours: timedelta(hours=hours)),
    max_turns=st.integers(1, 5),
    per=st.integers(1, 60).map(lambda days: timedelta(days=days)),
)


@given(policies, situations)
def test_it_never_doubles_what_is_open(policy: RetrainPolicy, situation: Situation) -> None:
    if situation.turn_running or situation.release_open or situation.proposal_waiting:
        assert decide(policy, situation).action in {"nothing", "wait"}


@given(policies, situations)
def test_it_starts_only_with_approval_and_a_reason(policy: RetrainPolicy, situation: Situation) -> None:
    decision = decide(policy, situation)
    if decision.action == "start":
        assert policy.approval == "automatic"
    if decision.action == "propose":
        assert policy.approval == "manual"
    assert (decision.action == "nothing") == (not decision.reasons)
    known = {signal.id for signal in situation.signals}
    assert all(set(reason.signals) <= known for reason in decision.reasons)


@given(policies, situations)
def test_cooldown_and_budget_hold(policy: RetrainPolicy, situation: Situation) -> None:
    if decide(policy, situation).action not in {"start", "propose"}:
        return
    past = situation.past_turns
    if past:
        assert NOW - past[-1].started_at >= policy.cooldown
    assert sum(turn.started_at > NOW - policy.per for turn in past) < policy.max_turns


@given(policies, situations)
def test_waiting_ends_when_it_is_said_to(policy: RetrainPolicy, situation: Situation) -> None:
    free = replace(situation, turn_running=False, release_open=False, proposal_waiting=False)
    later = replace(free, now=next_allowed(policy, free))
    if decide(policy, free).reasons:
        assert decide(policy, later).action in {"start", "propose"}


@given(policies, situations)
def test_it_is_a_function(policy: RetrainPolicy, situation: Situation) -> None:
    assert decide(policy, situation) == decide(policy, situation)


def test_fruitless_turns_double_the_cooldown() -> None:
    turns = tuple(PastTurn(NOW - timedelta(days=20 + n), promoted=False) for n in (2, 1, 0))
    policy = replace(POLICY, max_turns=10)
    situation = Situation(NOW, signals=(LOSS,), past_turns=turns)
    assert next_allowed(policy, replace(situation, now=turns[-1].started_at)) == turns[-1].started_at + timedelta(
        hours=8
    )
    once_good = (*turns, PastTurn(NOW - timedelta(minutes=30), promoted=True))
    decision = decide(policy, replace(situation, past_turns=once_good))
    assert decision.action == "wait"
    assert "cool-down for another 30m" in decision.text


def test_reasons_in_words() -> None:
    assert decide(POLICY, Situation(NOW, signals=(LOSS,))).text == "loss 0.4 above 0.1"
    assert decide(POLICY, Situation(NOW, new_rows=1000)).text == "1,000 new rows since the last training"
    due = (("0 3 1 * *", NOW - timedelta(hours=1)),)
    assert "due at 2026-05-31 23:00 UTC" in decide(POLICY, Situation(NOW, last_due=due)).text
    assert decide(POLICY, Situation(NOW, signals=(replace(LOSS, fresh_rows=99),))).action == "nothing"


def test_the_budget_is_named() -> None:
    turns = tuple(PastTurn(NOW - timedelta(days=n), promoted=True) for n in (3, 2, 1))
    decision = decide(POLICY, Situation(NOW, signals=(LOSS,), past_turns=turns))
    assert decision.action == "wait"
    assert "the budget of 3 turns per 30d is spent for another 27d" in decision.text
