"""Quantile bounds: published values, coverage at all times, and the comparison of two arms."""

from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.statistics.histogram import LatencyHistogram
from loopwright.core.statistics.mixtures import best_rho, beta_binomial_log_mixture
from loopwright.core.statistics.quantile_cs import (
    double_stitching_bound,
    empirical_process_bound,
    poly_stitching_bound,
    quantile_ab_p_value,
    quantile_difference_ms,
    quantile_interval_ms,
)


def test_empirical_process_value() -> None:
    assert empirical_process_bound(1000, alpha=0.05, from_rows=100) == pytest.approx(0.08204769, abs=2e-7)
    assert empirical_process_bound(99, alpha=0.05, from_rows=100) == float("inf")


@pytest.mark.parametrize(("q", "expected"), [(0.5, 68.62803), (0.9, 43.72119), (0.1, 59.96521)])
def test_double_stitching_values(q: float, expected: float) -> None:
    assert double_stitching_bound(q, 1000, alpha=0.05, sharp_at_rows=100) == pytest.approx(expected, abs=1e-5)


def test_poly_stitching_values() -> None:
    assert poly_stitching_bound(100, alpha=0.05, v_min=10, c=3) == pytest.approx(64.48755, abs=1e-5)
    assert poly_stitching_bound(100, alpha=0.05, v_min=10, c=-1) == pytest.approx(28.99389, abs=1e-5)


@pytest.mark.parametrize(
    ("q", "shift", "expected"),
    [(0.5, 70, 0.814704), (0.5, 85, 0.0838055), (0.5, 100, 0.0054947), (0.9, 55, 0.0340463)],
)
def test_quantile_ab_p_values(q: float, shift: int, expected: float) -> None:
    rho = best_rho(100 * q * (1 - q), alpha=0.05)
    arm = np.arange(1, 1001)
    p = quantile_ab_p_value(
        arm, arm + shift, q, log_mixture=lambda s, v: beta_binomial_log_mixture(s, v, g=q, h=1 - q, rho=rho)
    )
    assert p == pytest.approx(expected, abs=1e-6)


def test_the_true_quantile_stays_inside_at_all_times() -> None:
    rng = np.random.default_rng(6)
    truth = float(np.exp(3.0))  # the median of the lognormal below, in ms
    misses = 0
    for _ in range(100):
        values = rng.lognormal(3.0, 0.8, size=2000)
        histogram = LatencyHistogram()
        missed = False
        for start in range(0, 2000, 200):
            histogram += LatencyHistogram.of(values[start : start + 200])
            missed |= not quantile_interval_ms(histogram, 0.5, alpha=0.05).contains(truth)
        misses += missed
    assert misses <= 9  # P(Binomial(100, 0.05) > 9) = 0.03; the bound is conservative, so far fewer are seen


def test_a_slower_canary_is_seen_and_an_equal_one_is_not() -> None:
    rng = np.random.default_rng(7)
    control = LatencyHistogram.of(rng.lognormal(3.0, 0.5, size=20_000))
    equal = LatencyHistogram.of(rng.lognormal(3.0, 0.5, size=20_000))
    slower = LatencyHistogram.of(rng.lognormal(3.7, 0.5, size=20_000))
    for q in (0.5, 0.95):
        assert quantile_difference_ms(control, equal, q, alpha=0.01).contains(0.0)
        assert quantile_difference_ms(control, slower, q, alpha=0.01).low > 0


def test_few_rows_say_nothing() -> None:
    few = LatencyHistogram.of([1.0] * 50)
    interval = quantile_interval_ms(few, 0.5, alpha=0.05)
    assert (interval.low, interval.high) == (0.0, float("inf"))
