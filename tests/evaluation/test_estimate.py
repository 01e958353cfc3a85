"""Estimates: bounds rise with the confidence, and JSON keeps them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.binomial import wilson
from loopwright.evaluation.estimate import Estimate, drawn_estimate, normal_estimate, rate_estimate


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=50), st.floats(-0.2, 0.2))
def test_bounds_rise_with_the_confidence(draws: list[float], acceleration: float) -> None:
    estimate = drawn_estimate(float(np.mean(draws)), np.array(draws), rows=10, acceleration=acceleration)
    highs = [estimate.high(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)]
    lows = [estimate.low(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)]
    assert highs == sorted(highs)
    assert lows == sorted(lows, reverse=True)
    assert Estimate.from_json(json.loads(json.dumps(estimate.to_json()))) == estimate


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_rates_have_wilson_bounds(pair: tuple[int, int]) -> None:
    interval, expected = rate_estimate(*pair).interval(0.95), wilson(*pair)
    assert interval.low == pytest.approx(expected.low)
    assert interval.high == pytest.approx(expected.high)


def test_an_undefined_number_has_undefined_bounds() -> None:
    estimate = drawn_estimate(float("nan"), np.array([1.0]), rows=3)
    assert math.isnan(estimate.low(0.95))
    again = Estimate.from_json(estimate.to_json())
    assert math.isnan(again.value)
    assert normal_estimate(1.0, 0.0, rows=1, method="delong").interval().low == 1.0
