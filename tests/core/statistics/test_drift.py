"""Drift distances and tests: published values, SciPy as an oracle, and invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loopwright.core.statistics.drift import effective_rows, historical_p_value, homogeneity_p_value, two_stage

count_pairs = st.integers(2, 8).flatmap(
    lambda cells: st.tuples(
        st.lists(st.integers(0, 500), min_size=cells, max_size=cells).filter(any),
        st.lists(st.integers(0, 500), min_size=cells, max_size=cells).filter(any),
    )
)


@given(count_pairs)
def test_p_values_are_probabilities(pair: tuple[list[int], list[int]]) -> None:
    p = float(homogeneity_p_value(*pair))
    assert 0 <= p <= 1


def test_well_filled_cells_give_pearsons_test() -> None:
    left, right = [100, 120, 80, 300], [30, 20, 25, 90]
    expected = stats.chi2_contingency([left, right], correction=False).pvalue
    assert float(homogeneity_p_value(left, right)) == pytest.approx(expected, rel=1e-10)


def test_ill_filled_cells_are_tested_exactly() -> None:
    # Nothing missing among 10,000, then some among 100: the hypergeometric tail, doubled twice (two sides, two tests).
    for found in (1, 3):
        tail = stats.hypergeom.sf(found - 1, 10_100, found, 100)
        p = float(homogeneity_p_value([10_000, 0], [100 - found, found]))
        assert p == pytest.approx(min(4 * tail, 1.0), rel=1e-9)


def test_windows_are_judged_at_once_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    reference = [0, 400, 500, 600, 2, 1]
    windows = rng.multinomial(300, [0.01, 0.28, 0.3, 0.4, 0.005, 0.005], size=5)
    together = homogeneity_p_value(reference, windows)
    assert np.allclose(together, [float(homogeneity_p_value(reference, window)) for window in windows])


def test_two_stage_asks_for_significance_and_size() -> None:
    reference = [np.full(10, 100_000)]
    slight = np.full(10, 100_000) + np.linspace(-3000, 3000, 10)
    (feature,) = two_stage(reference, [slight])
    assert feature.p_value < 1e-6
    assert not feature.drifted
    (noise,) = two_stage(reference, [np.array([5, 1, 3, 0, 2, 1, 4, 2, 1, 1])])
    assert noise.psi > 0.1
    assert not noise.drifted


def test_a_feature_without_rows_never_drifts() -> None:
    (empty,) = two_stage([[10, 10]], [[0, 0]])
    assert (empty.p_value, empty.drifted, empty.window_rows) == (1.0, False, 0)
    assert two_stage([], []) == ()
    with pytest.raises(ValueError, match="pair up"):
        two_stage([[1, 1]], [])


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=80))
def test_effective_rows_never_exceed_the_rows(values: list[float]) -> None:
    assert 0 < effective_rows(values) <= len(values)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_effective_rows_of_an_autoregression(phi: float) -> None:
    rng = np.random.default_rng(4)
    estimates = []
    for _ in range(20):
        series = np.empty(5000)
        series[0] = rng.normal()
        noise = rng.normal(size=5000) * np.sqrt(1 - phi**2)
        for i in range(1, 5000):
            series[i] = phi * series[i - 1] + noise[i]
        estimates.append(effective_rows(series))
    assert np.mean(estimates) == pytest.approx(5000 * (1 - phi) / (1 + phi), rel=0.15)


def test_history_gives_rank_p_values() -> None:
    assert historical_p_value(5.0, [1.0, 2.0, 3.0]) == 0.25
    assert historical_p_value(0.0, [1.0, 2.0, 3.0]) == 1.0


def test_shares_deflate_each_feature_on_its_own() -> None:
    reference, window = [250] * 4, [90, 60, 50, 50]
    once = two_stage([reference] * 2, [window] * 2)
    apart = two_stage([reference] * 2, [window] * 2, reference_share=0.5, window_share=[1.0, 0.1])
    assert once[0] == once[1]
    assert once[0].p_value < apart[0].p_value < apart[1].p_value
    assert apart[0].psi == once[0].psi
