from __future__ import annotations

import dataclasses

import pytest
from sklearn.linear_model import Ridge

from loopwright.core.errors import GateRefusedError
from loopwright.evaluation.records import EvaluationRecords
from loopwright.evaluation.verdict import RuleResult, Verdict
from loopwright.registry.alias import Aliases, Override
from loopwright.registry.registry import Registry


@pytest.fixture
def aliases(stores, runs):
    registry = Registry(stores)
    first = registry.register(runs.candidate(Ridge()))
    for number in (2, 3):
        registry.record(dataclasses.replace(first, run_id=f"run-{number}"), reason="packaged here")
    return Aliases(stores)


@pytest.fixture
def judge(stores, clock):
    def record(subject, outcome, champion=None):
        clock.advance(1)
        verdict = Verdict(
            stores.ids.new(),
            f"model:{subject}",
            champion and f"model:{champion}",
            "h",
            (RuleResult("r", outcome, "x"),),
        )
        with stores.facts.write() as connection:
            EvaluationRecords(stores.facts).add_verdict(
                verdict, question=verdict.id, created_at=clock.now(), connection=connection
            )
        return verdict.id

    return record


def test_a_passing_verdict_lets_a_version_become_champion(aliases, judge):
    first = judge("eta/1", "pass")
    assert aliases.move("eta", "champion", 1, expected=None, by="loop").verdict_id == first
    second = judge("eta/2", "pass", champion="eta/1")
    move = aliases.move("eta", "champion", 2, expected=1, by="loop", verdict_id=second)
    assert move.verdict_id == second
    assert aliases.current("eta") == 2


@pytest.mark.parametrize("outcome", ["fail", "not_enough_evidence"])
def test_any_other_outcome_does_not(aliases, judge, outcome):
    judge("eta/1", "pass")
    judge("eta/1", outcome)
    with pytest.raises(GateRefusedError, match=f"verdict is '{outcome.replace('_', ' ')}'"):
        aliases.move("eta", "champion", 1, expected=None, by="loop")
    assert aliases.history("eta") == []


def test_the_verdict_of_another_version_does_not_count(aliases, judge):
    other = judge("eta/2", "pass")
    with pytest.raises(GateRefusedError, match="no verdict"):
        aliases.move("eta", "champion", 1, expected=None, by="loop", verdict_id=other)


def test_a_verdict_against_a_former_champion_does_not_count(aliases, judge):
    judge("eta/1", "pass")
    aliases.move("eta", "champion", 1, expected=None, by="loop")
    judge("eta/3", "pass", champion="eta/1")
    aliases.move("eta", "champion", 2, expected=1, by="loop", override=Override("anna", "urgent"))
    with pytest.raises(GateRefusedError, match="against eta/1 as champion, and that is eta/2 now"):
        aliases.move("eta", "champion", 3, expected=2, by="loop")
    aliases.rollback("eta", by="anna", reason="it was no better")
    assert aliases.move("eta", "champion", 3, expected=1, by="loop").to_version == 3
