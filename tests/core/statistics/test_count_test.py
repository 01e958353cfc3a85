"""The sequential count test: published values and order of arms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.count_test import (
    compare_counts,
    multinomial_log_bayes_factor,
    multinomial_p_value,
    sample_ratio_mismatch,
)


@pytest.mark.parametrize(
    ("counts", "shares", "p"),
    [
        ((100, 100), (0.5, 0.5), 1.0),
        ((120, 80), (0.5, 0.5), 0.118524),
        ((140, 80), (0.5, 0.5), 0.00613915),
        ((1000, 1100), (0.5, 0.5), 0.483532),
        ((5200, 4800), (0.5, 0.5), 0.00364786),
        ((990, 30), (0.99, 0.01), 3.90074e-5),
        ((950, 30), (0.95, 0.05), 0.0497296),
    ],
)
def test_published_values(counts: tuple[int, int], shares: tuple[float, float], p: float) -> None:
    assert float(multinomial_p_value(counts, shares)) == pytest.approx(p, rel=2e-6)


def test_published_log_bayes_factor() -> None:
    assert float(multinomial_log_bayes_factor([100, 100], [0.5, 0.5])) == pytest.approx(-0.5509728, abs=1e-7)


@given(st.lists(st.integers(0, 5000), min_size=3, max_size=3), st.permutations([0, 1, 2]))
def test_the_order_of_arms_does_not_matter(counts: list[int], order: list[int]) -> None:
    shares = np.array([0.2, 0.3, 0.5])
    left = multinomial_log_bayes_factor(counts, shares)
    right = multinomial_log_bayes_factor(np.asarray(counts)[order], shares[order])
    assert float(left) == pytest.approx(float(right), abs=1e-6)


def test_a_canary_is_worse_only_upwards_and_only_if_it_matters() -> None:
    assert compare_counts(80, 140, canary_share=0.5).worse
    assert not compare_counts(140, 80, canary_share=0.5).worse
    slight = compare_counts(100_000, 103_000, canary_share=0.5)
    assert slight.p_value < 0.01
    assert not slight.worse
    assert compare_counts(0, 40, canary_share=0.5).relative_risk == float("inf")
    assert compare_counts(0, 0, canary_share=0.5).relative_risk == 1.0


def test_false_alarms_over_all_times() -> None:
    rng = np.random.default_rng(5)
    canary = rng.random((1000, 4000)) < 0.05
    seen = np.arange(1, 4001)
    counts = np.stack([seen - canary.cumsum(axis=1), canary.cumsum(axis=1)], axis=-1)[:, 19::20]
    alarmed = (multinomial_p_value(counts, [0.95, 0.05]) <= 0.01).any(axis=1)
    assert alarmed.mean() <= 0.01 + 2 * np.sqrt(0.01 * 0.99 / 1000)


def test_mismatch_and_nonsense() -> None:
    assert sample_ratio_mismatch([990, 30], [0.99, 0.01])
    assert not sample_ratio_mismatch([950, 50], [0.95, 0.05])
    with pytest.raises(ValueError, match="shares"):
        multinomial_p_value([1, 1], [0.5, 0.6])
