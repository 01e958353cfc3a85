"""Judging: three outcomes, monotone in the limit, and honest about small samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.evaluation.compare import compare
from loopwright.evaluation.estimate import normal_estimate, rate_estimate
from loopwright.evaluation.gate import at_least, at_most, beats_champion, every_slice, no_worse_than_champion
from loopwright.evaluation.judge import judge
from loopwright.evaluation.metrics import metric
from loopwright.evaluation.outputs import Outputs
from loopwright.evaluation.slices import SliceResult

RANK = {"fail": 0, "not_enough_evidence": 1, "pass": 2}
MAE = {"mae": normal_estimate(5.0, 0.2, rows=100, method="bootstrap")}


@pytest.mark.parametrize(("limit", "outcome"), [(6.0, "pass"), (5.1, "not_enough_evidence"), (4.0, "fail")])
def test_a_limit_has_three_outcomes(limit: float, outcome: str) -> None:
    result = judge(at_most("mae", limit), MAE, (), None)
    assert result.outcome == outcome
    assert "mae is 5," in result.reason
    assert result.limit == limit


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_laxer_limit_never_hurts(first: float, second: float) -> None:
    low, high = sorted((first, second))
    below = [RANK[judge(at_most("mae", limit), MAE, (), None).outcome] for limit in (low, high)]
    above = [RANK[judge(at_least("mae", limit), MAE, (), None).outcome] for limit in (high, low)]
    assert below == sorted(below)
    assert above == sorted(above)


def test_twenty_rows_all_right_are_no_proof_of_99_percent() -> None:
    metrics = {"accuracy": rate_estimate(20, 20)}
    assert judge(at_least("accuracy", 0.99), metrics, (), None).outcome == "not_enough_evidence"
    assert judge(at_least("accuracy", 0.8), metrics, (), None).outcome == "pass"


def test_a_first_model_has_nobody_to_beat() -> None:
    result = judge(beats_champion("mae"), MAE, (), None)
    assert (result.outcome, result.reason) == ("pass", "No champion: mae is 5.")


def compared(gain: float, rows: int = 400, seed: int = 0) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    y = np.zeros(rows)
    noise = rng.normal(size=rows)
    ours, theirs = Outputs("regression", noise * (1 - gain)), Outputs("regression", noise)
    return {"mae": compare(metric("mae"), y, ours, theirs, seed=0, resamples=400)}


@pytest.mark.parametrize(("gain", "outcome"), [(0.3, "pass"), (-0.3, "fail"), (0.0, "fail")])
def test_beating_the_champion(gain: float, outcome: str) -> None:
    assert judge(beats_champion("mae"), MAE, (), compared(gain)).outcome == outcome  # type: ignore[arg-type]


def test_a_margin_asks_for_more_and_a_guardrail_for_less() -> None:
    slight = compared(0.05)
    assert judge(beats_champion("mae"), MAE, (), slight).outcome == "pass"  # type: ignore[arg-type]
    assert judge(beats_champion("mae", margin=0.5), MAE, (), slight).outcome == "fail"  # type: ignore[arg-type]
    worse = compared(-0.05)
    assert judge(no_worse_than_champion("mae", by=0.2), MAE, (), worse).outcome == "pass"  # type: ignore[arg-type]
    assert judge(no_worse_than_champion("mae", by=0.001), MAE, (), worse).outcome == "fail"  # type: ignore[arg-type]
    same = compared(0.0)
    assert judge(no_worse_than_champion("mae", by=0.1), MAE, (), same).outcome == "pass"  # type: ignore[arg-type]


def test_few_discordant_rows_are_not_enough() -> None:
    y = np.zeros(100, dtype=int)
    ours, theirs = y.copy(), y.copy()
    theirs[:3] = 1  # the champion is wrong on three rows more: exact one-sided p is 1/8
    both = {
        "accuracy": compare(metric("accuracy"), y, Outputs("binary", ours), Outputs("binary", theirs), seed=0),
    }
    result = judge(beats_champion("accuracy"), {"accuracy": rate_estimate(100, 100)}, (), both)
    assert result.outcome == "not_enough_evidence"


def sliced(label: str, excess: float, error: float, rows: int = 100) -> SliceResult:
    estimate = normal_estimate(1.0, 0.1, rows=rows, method="bootstrap")
    return SliceResult(
        "city", label, "mae", rows, estimate, normal_estimate(excess, error, rows=rows, method="bootstrap")
    )


def test_slices() -> None:
    gate = every_slice("city", "mae", within=0.15)
    fine, bad, unsure = sliced("Oslo", 0.0, 0.02), sliced("Bergen", 0.5, 0.05), sliced("Voss", 0.12, 0.1)
    small = SliceResult("city", "Flåm", "mae", 3, None, None)
    assert judge(gate, MAE, [fine, small], None).outcome == "pass"
    assert "Left out, under 30 rows: Flåm" in judge(gate, MAE, [fine, small], None).reason
    assert judge(gate, MAE, [fine, unsure], None).outcome == "not_enough_evidence"
    failed = judge(gate, MAE, [fine, bad, unsure], None)
    assert failed.outcome == "fail"
    assert "too bad for city Bergen" in failed.reason
    assert judge(gate, MAE, [small], None).outcome == "not_enough_evidence"


def test_noise_over_many_slices_seldom_fails() -> None:
    rng = np.random.default_rng(1)
    gate = every_slice("city", "mae", within=0.15)
    fails = sum(
        judge(gate, MAE, [sliced(str(i), 0.15 + 0.05 * rng.normal(), 0.05) for i in range(20)], None).outcome == "fail"
        for _ in range(300)
    )
    assert fails / 300 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)
