"""Drift distances and tests: published values, SciPy as an oracle, and invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from loopwright.core.statistics.drift import (
    effective_rows,
    historical_p_value,
    homogeneity_p_value,
    js_distance,
    psi,
    psi_corrected,
    psi_critical,
    psi_null_mean,
    two_stage,
)

count_pairs = st.integers(2, 8).flatmap(
    lambda cells: st.tuples(
        st.lists(st.integers(0, 500), min_size=cells, max_size=cells).filter(any),
        st.lists(st.integers(0, 500), min_size=cells, max_size=cells).filter(any),
    )
)


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.1, 0.0096), (0.25, 0.0598), (0.32, 0.0979), (0.5, 0.2377), (1.0, 0.926)]
)
def test_psi_of_a_shifted_normal_on_deciles(shift: float, expected: float) -> None:
    cuts = np.concatenate([[-np.inf], stats.norm.ppf(np.arange(1, 10) / 10), [np.inf]])
    shares = np.diff(stats.norm.cdf(cuts - shift))
    assert float(psi(np.full(10, 1e9), shares * 1e10)) == pytest.approx(expected, abs=5e-5 if shift < 1 else 5e-4)


@pytest.mark.parametrize(
    ("rows", "expected"), [(100, 0.1709), (200, 0.0863), (500, 0.0355), (1000, 0.0186), (10_000, 0.0034)]
)
def test_psi_critical_values(rows: int, expected: float) -> None:
    assert psi_critical(10, 10_000, rows) == pytest.approx(expected, abs=5e-5)


def test_psi_of_noise_follows_its_null_distribution() -> None:
    rng = np.random.default_rng(1)
    reference = rng.multinomial(10_000, np.full(10, 0.1), size=4000)
    window = rng.multinomial(500, np.full(10, 0.1), size=4000)
    values = psi(reference, window)
    assert np.mean(values) == pytest.approx(float(psi_null_mean(reference[0], window[0])), rel=0.05)
    assert np.mean(values > psi_critical(10, 10_000, 500)) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("rows", "expected"), [(100, 0.378), (200, 0.025), (500, 0.0)])
def test_a_fixed_psi_threshold_alarms_on_noise(rows: int, expected: float) -> None:
    rng = np.random.default_rng(2)
    window = rng.multinomial(rows, np.full(10, 0.1), size=2000)
    assert np.mean(psi(np.full(10, 1000), window) >= 0.1) == pytest.approx(expected, abs=0.04)


@given(count_pairs)
def test_distances_are_symmetric_bounded_and_zero_for_equal_counts(pair: tuple[list[int], list[int]]) -> None:
    left, right = pair
    assert float(psi(left, right)) == pytest.approx(float(psi(right, left)))
    assert float(psi(left, right)) >= 0
    assert float(psi(left, left)) == 0
    assert float(psi_corrected(left, right)) <= float(psi(left, right))
    assert float(js_distance(left, right)) == pytest.approx(float(jensenshannon(left, right, base=2)), abs=1e-7)


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
