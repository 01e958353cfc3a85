"""Verdicts: the worst rule decides, and JSON gives the same verdict back."""

from __future__ import annotations

import json
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from loopwright.evaluation.verdict import Outcome, RuleResult, Verdict, overall

outcomes = st.sampled_from(get_args(Outcome))
rules = st.builds(
    RuleResult,
    rule=st.text(max_size=10),
    outcome=outcomes,
    reason=st.text(max_size=10),
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    limit=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
RANK = {"pass": 0, "not_enough_evidence": 1, "fail": 2}


@given(st.lists(outcomes), outcomes)
def test_one_more_rule_never_helps(before: list[Outcome], more: Outcome) -> None:
    assert RANK[overall([*before, more])] == max(RANK[overall(before)], RANK[more])


@given(st.lists(rules, max_size=4), st.none() | st.just("model:eta/1"))
def test_json_round_trip(results: list[RuleResult], champion: str | None) -> None:
    verdict = Verdict("v", "model:eta/2", champion, "ab", tuple(results))
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    assert verdict.passed == (verdict.outcome == "pass")
    assert all(reason in [rule.reason for rule in results] for reason in verdict.reasons)
