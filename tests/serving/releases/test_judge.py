from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.histogram import LatencyHistogram
from loopwright.serving.deploy import online
from loopwright.serving.releases.judge import (
    ArmCounts,
    StepEvidence,
    detectable_error_rate,
    disagreement_interval,
    judge,
)
from loopwright.serving.releases.release import ReleasePlan

PLAN = ReleasePlan.from_deployment(online(canary=[50], min_requests_per_step=1000, step_time="10m"))


def arm(requests: int, errors: int = 0, latencies_ms=None) -> ArmCounts:
    latency = LatencyHistogram() if latencies_ms is None else LatencyHistogram.of(latencies_ms)
    return ArmCounts(requests, requests, errors, latency)


def evidence(champion: ArmCounts, challenger: ArmCounts, **changes) -> StepEvidence:
    values = {"stage": "canary", "share": 0.5, "elapsed_s": 700.0, "min_time_s": 600.0, **changes}
    return StepEvidence(champion=champion, challenger=challenger, **values)


def test_without_traffic_it_holds():
    said = judge(evidence(arm(0), arm(0)), PLAN)
    assert said.outcome == "hold"
    assert said.detectable_error_rate is None


@pytest.mark.parametrize(
    ("requests", "elapsed_s", "outcome"), [(999, 700, "hold"), (1000, 599, "hold"), (1000, 600, "advance")]
)
def test_a_step_needs_its_requests_and_its_time(requests, elapsed_s, outcome):
    assert judge(evidence(arm(1000), arm(requests), elapsed_s=elapsed_s), PLAN).outcome == outcome


def test_risen_errors_roll_back_before_the_time_is_up():
    said = judge(evidence(arm(2000, 20), arm(2000, 100), elapsed_s=5), PLAN)
    assert said.outcome == "roll_back"
    assert "100 of 2000" in said.reasons[0]


def test_fewer_errors_than_the_champion_are_no_reason():
    assert judge(evidence(arm(2000, 100), arm(2000, 20)), PLAN).outcome == "advance"


def test_suspicion_without_proof_holds():
    said = judge(evidence(arm(1500, 5), arm(1500, 10)), PLAN)
    assert said.outcome == "hold"
    assert "not proven" in said.reasons[0]


def test_a_split_that_is_not_the_assigned_one_is_invalid():
    said = judge(evidence(arm(1000), arm(1400)), PLAN)
    assert said.outcome == "invalid"


def test_a_slower_challenger_is_rolled_back():
    generator = np.random.default_rng(0)
    fast, slow = generator.lognormal(2, 0.3, 3000), generator.lognormal(2, 0.3, 3000) + 30
    said = judge(evidence(arm(3000, 0, fast), arm(3000, 0, slow)), PLAN)
    assert said.outcome == "roll_back"
    assert "Latency rose" in said.reasons[0]
    assert judge(evidence(arm(3000, 0, fast), arm(3000, 0, fast)), PLAN).outcome == "advance"


def test_a_shadow_is_judged_by_its_errors_and_not_its_latency():
    slow, fast = [200.0] * 3000, [5.0] * 3000
    shadow = {"stage": "shadow", "share": 0.0}
    assert judge(evidence(arm(3000, 0, fast), arm(3000, 0, slow), **shadow), PLAN).outcome == "advance"
    assert judge(evidence(arm(3000, 0, fast), arm(3000, 90, slow), **shadow), PLAN).outcome == "roll_back"


def test_the_detectable_rate_is_where_the_judge_begins_to_see():
    seen = evidence(arm(5000, 50), arm(5000, 0))
    rate = detectable_error_rate(seen, alpha=PLAN.alpha / 2, least_ratio=PLAN.max_error_ratio)
    at = round(rate * 5000)
    assert judge(evidence(arm(5000, 50), arm(5000, at)), PLAN).outcome == "roll_back"
    assert judge(evidence(arm(5000, 50), arm(5000, at - 1)), PLAN).outcome != "roll_back"
    assert 0.01 < rate < 0.03


def test_a_small_canary_cannot_see_a_doubling_early():
    """The reference's own example: 5 % share, 1 % errors, a doubling shows only after some 33,000 requests."""
    small = evidence(arm(9500, 95), arm(500), share=0.05)
    assert detectable_error_rate(small, alpha=0.01, least_ratio=1.25) > 0.02


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 40), st.integers(0, 40))
def test_more_errors_never_help_the_challenger(champion, challenger, errors, more):
    rank = {"advance": 0, "hold": 1, "roll_back": 2, "invalid": 3}
    plan = PLAN
    shadow = {"stage": "shadow", "share": 0.0}
    one = judge(evidence(arm(champion, min(20, champion)), arm(challenger, min(errors, challenger)), **shadow), plan)
    two = judge(
        evidence(arm(champion, min(20, champion)), arm(challenger, min(errors + more, challenger)), **shadow), plan
    )
    assert rank[two.outcome] >= rank[one.outcome]


def test_harmless_releases_are_rarely_rolled_back_however_often_one_looks():
    """200 A/A releases, looked at 20 times each, 1 % errors on both arms: at most alpha = 1 % (+ 3 standard errors)."""
    generator = np.random.default_rng(7)
    rolled_back = 0
    for _ in range(200):
        share = generator.binomial(100, 0.5, size=100).cumsum()
        a, b = (
            generator.binomial(100 - np.diff(share, prepend=0), 0.01),
            generator.binomial(np.diff(share, prepend=0), 0.01),
        )
        for look in range(4, 100, 5):
            n = (look + 1) * 100
            seen = evidence(arm(n - share[look], int(a[: look + 1].sum())), arm(share[look], int(b[: look + 1].sum())))
            if judge(seen, PLAN).outcome in ("roll_back", "invalid"):
                rolled_back += 1
                break
    assert rolled_back <= 200 * 0.011 + 3 * np.sqrt(200 * 0.011)


def test_disagreement_is_reported_and_bounded():
    seen = evidence(arm(2000), arm(2000), pairs=2000, disagreements=100)
    assert judge(seen, PLAN).disagreement == 0.05
    low, high = disagreement_interval(seen)
    assert low < 0.05 < high
    assert disagreement_interval(evidence(arm(1), arm(1))) is None


def test_evidence_is_json():
    json.dumps(evidence(arm(10), arm(10, 1, [3.0])).to_json())
    json.dumps(judge(evidence(arm(10), arm(10)), PLAN).to_json())
