"""Slices: every row in exactly one, and a bad one stands out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.evaluation.metrics import metric
from loopwright.evaluation.outputs import Outputs
from loopwright.evaluation.slices import SliceResult, evaluate_slices, slice_masks

columns = st.one_of(
    st.lists(st.none() | st.sampled_from(["Oslo", "Bergen", "other", "missing"]), min_size=1, max_size=40),
    st.lists(st.none() | st.floats(-100, 100), min_size=1, max_size=40),
    st.lists(st.integers(0, 100), min_size=1, max_size=40),
    st.lists(st.booleans(), min_size=1, max_size=10),
)


@given(columns)
def test_every_row_lies_in_exactly_one_slice(values: list[object]) -> None:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    masks = slice_masks(array)
    assert np.array_equal(sum(mask.astype(int) for mask in masks.values()), np.ones(len(values), dtype=int))
    assert all(mask.any() for mask in masks.values())


def test_a_bad_slice_stands_out_and_a_small_one_is_only_counted() -> None:
    rng = np.random.default_rng(0)
    city = np.array(["Oslo"] * 300 + ["Bergen"] * 300 + ["Voss"] * 5, dtype=object)
    error = rng.normal(size=605) * np.where(city == "Bergen", 2.0, 1.0)
    results = {
        result.label: result
        for result in evaluate_slices(
            metric("mae"), np.zeros(605), Outputs("regression", error), "city", city, seed=0, resamples=500, min_rows=30
        )
    }
    assert results["Voss"].estimate is None
    assert results["Voss"].rows == 5
    bergen, oslo = results["Bergen"].excess, results["Oslo"].excess
    assert bergen is not None
    assert oslo is not None
    assert bergen.low(0.99) > 0.15
    assert oslo.high(0.99) < 0
    assert results["Oslo"].estimate is not None
    assert results["Oslo"].estimate.value == pytest.approx(np.abs(error[:300]).mean())
    for result in results.values():
        assert SliceResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_scores_are_worse_when_lower() -> None:
    y = np.zeros(200, dtype=int)
    said = np.concatenate([np.zeros(150, dtype=int), np.ones(50, dtype=int)])
    part = np.array(["good"] * 100 + ["bad"] * 100)
    results = evaluate_slices(
        metric("accuracy"), y, Outputs("binary", said, None, (0, 1)), "part", part, seed=0, resamples=200, min_rows=30
    )
    excess = {result.label: result.excess for result in results}
    assert excess["bad"] is not None
    assert excess["bad"].value == pytest.approx((0.75 - 0.5) / 0.75)
