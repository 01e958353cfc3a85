"""Paired comparisons: the right test for each metric, signed so that positive is better."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.core.statistics.delong import compare_auc
from loopwright.core.statistics.mcnemar import mcnemar
from loopwright.evaluation.compare import Comparison, compare
from loopwright.evaluation.metrics import metric
from loopwright.evaluation.outputs import Outputs


def regression(seed: int, rows: int = 80) -> tuple[np.ndarray, Outputs, Outputs]:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=rows)
    return y, Outputs("regression", y + rng.normal(size=rows)), Outputs("regression", y + 1.3 * rng.normal(size=rows))


def binary(seed: int, rows: int = 200) -> tuple[np.ndarray, Outputs, Outputs]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)

    def model(noise: float) -> Outputs:
        p = 1 / (1 + np.exp(-(2 * y - 1) - rng.normal(0, noise, rows)))
        return Outputs("binary", (p > 0.5).astype(int), np.stack([1 - p, p], axis=1), (0, 1))

    return y, model(1.0), model(2.0)


@given(st.integers(0, 10_000), st.sampled_from(["mae", "rmse", "r2"]))
@settings(max_examples=20)
def test_swapping_the_models_flips_the_sign(seed: int, name: str) -> None:
    y, first, second = regression(seed)
    forward = compare(metric(name), y, first, second, seed=1, resamples=200)
    backward = compare(metric(name), y, second, first, seed=1, resamples=200)
    assert forward.difference.value == pytest.approx(-backward.difference.value)
    assert forward.p_value == backward.p_value
    better = 1 if metric(name).greater_is_better else -1
    assert forward.difference.value == pytest.approx(better * (forward.challenger - forward.champion))
    assert Comparison.from_json(json.loads(json.dumps(forward.to_json()))) == forward


def test_accuracy_takes_mcnemar_and_area_takes_delong() -> None:
    y, first, second = binary(0)
    accuracy = compare(metric("accuracy"), y, first, second, seed=0)
    gained = int(((first.values == y) & (second.values != y)).sum())
    lost = int(((first.values != y) & (second.values == y)).sum())
    assert (accuracy.method, accuracy.p_value) == ("mcnemar", mcnemar(gained, lost).exact)
    assert accuracy.difference.value == pytest.approx((gained - lost) / len(y))

    area = compare(metric("roc_auc"), y, first, second, seed=0)
    expected = compare_auc(y == 1, second.positive_scores, first.positive_scores)
    assert (area.method, area.p_value) == ("delong", expected.p_value)
    assert area.difference.interval(0.95).low == pytest.approx(expected.interval.low)
    assert compare(metric("log_loss"), y, first, second, seed=0).method == "paired bootstrap"


def test_equal_answers_differ_by_nothing() -> None:
    y, first, _ = binary(1)
    for name in ("accuracy", "roc_auc", "log_loss", "f1"):
        compared = compare(metric(name), y, first, first, seed=0, resamples=100)
        assert compared.p_value == 1.0
        assert compared.difference.low(0.95) == compared.difference.high(0.95) == 0.0


def test_agresti_min_interval_covers() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        y = np.zeros(150, dtype=int)
        first = (rng.random(150) < 0.10).astype(int)
        second = np.where(rng.random(150) < 0.8, first, (rng.random(150) < 0.20).astype(int))
        truth = 0.8 * 0.10 + 0.2 * 0.20 - 0.10
        compared = compare(metric("accuracy"), y, Outputs("binary", first), Outputs("binary", second), seed=0)
        covered += compared.difference.interval(0.95).contains(truth)
    assert covered / 400 >= 0.92


def test_dependent_rows_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    courier = np.repeat(np.arange(30), 20)
    y = np.zeros(600)
    first, second = Outputs("regression", rng.normal(size=30)[courier]), Outputs("regression", np.full(600, 0.8))
    by_row = compare(metric("mae"), y, first, second, seed=0).difference
    by_courier = compare(metric("mae"), y, first, second, seed=0, clusters=courier).difference
    assert by_courier.standard_error > 3 * by_row.standard_error


def test_rows_must_pair_up() -> None:
    y, first, second = regression(0)
    with pytest.raises(DeclarationError, match="same rows"):
        compare(metric("mae"), y, first, second.take(slice(0, 10)), seed=0)
