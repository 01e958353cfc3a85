"""Anytime-valid tests: published values and merging."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.anytime import (
    Moments,
    asymptotic_half_width,
    asymptotic_rho,
    mean_difference_interval,
    mean_interval,
    msprt_likelihood_ratio,
    msprt_p_values,
    rate_interval,
)

values = st.lists(st.floats(-1e3, 1e3), max_size=40)


@pytest.mark.parametrize(
    ("rows", "mean", "ratio"), [(100, 0.2, 1.9221155), (1000, 0.1, 28.403345), (1000, 0.15, 8335.886)]
)
def test_msprt_values(rows: int, mean: float, ratio: float) -> None:
    assert msprt_likelihood_ratio(rows, mean, variance=1.0, tau_squared=0.01) == pytest.approx(ratio, rel=1e-7)
    p = msprt_p_values(np.full(rows, mean), variance=1.0, tau_squared=0.01)[-1]
    assert p == pytest.approx(1 / ratio, rel=1e-6)


def test_msprt_p_values_published() -> None:
    assert 1 / msprt_likelihood_ratio(1000, 0.1, variance=1.0, tau_squared=0.01) == pytest.approx(0.0352071, abs=1e-7)
    assert 1 / msprt_likelihood_ratio(1000, 0.15, variance=1.0, tau_squared=0.01) == pytest.approx(1.19963e-4, abs=1e-9)


def test_asymptotic_values() -> None:
    assert asymptotic_rho(1000, alpha=0.05) == pytest.approx(0.0890851, abs=1e-7)
    for rows, width in ((100, 0.3855055), (1000, 0.0959817), (10_000, 0.0324172)):
        assert asymptotic_half_width(rows, 1.0, alpha=0.05, sharp_at_rows=1000) == pytest.approx(width, abs=1e-7)
    assert asymptotic_half_width(0, 1.0, alpha=0.05, sharp_at_rows=1000) == float("inf")


@pytest.mark.parametrize(
    ("successes", "trials", "sharp", "low", "high"),
    [
        (700, 1000, 100, 0.651629, 0.745949),
        (15, 50, 50, 0.129556, 0.511896),
        (5, 50, 50, 0.013021, 0.269264),
        (1, 50, 50, 0.0, 0.13489),
        (1, 2, 50, 0.0, 1.0),
        (100, 200, 1, 0.328923, 0.671076),
        (0, 1, 50, 0.0, 1.0),
        (1, 1, 50, 0.0, 1.0),
    ],
)
def test_rate_intervals(successes: int, trials: int, sharp: int, low: float, high: float) -> None:
    interval = rate_interval(successes, trials, alpha=0.05, sharp_at_rows=sharp)
    # The published ends are truncated and tested to 1e-5 by their authors.
    assert interval.low == pytest.approx(low, abs=2e-6)
    assert interval.high == pytest.approx(high, abs=2e-6)


@given(values, values)
def test_moments_of_parts_merge_to_those_of_the_whole(left: list[float], right: list[float]) -> None:
    merged, whole = Moments.of(left) + Moments.of(right), Moments.of(left + right)
    assert merged.rows == whole.rows
    assert merged.mean == pytest.approx(whole.mean, abs=1e-9)
    assert merged.variance == pytest.approx(whole.variance, abs=1e-6)


def test_intervals_narrow_round_the_difference() -> None:
    rng = np.random.default_rng(0)
    control, treatment = Moments.of(rng.normal(0.0, 1.0, 9000)), Moments.of(rng.normal(0.5, 1.0, 1000))
    interval = mean_difference_interval(control, treatment, alpha=0.05, sharp_at_rows=10_000, control_share=0.9)
    assert interval.contains(0.5)
    assert interval.low > 0
    assert mean_interval(control, alpha=0.05, sharp_at_rows=9000).contains(0.0)
    assert mean_difference_interval(control, Moments(), alpha=0.05, sharp_at_rows=1).contains(1e9)
    assert rate_interval(0, 0, alpha=0.05, sharp_at_rows=10).high == 1.0
