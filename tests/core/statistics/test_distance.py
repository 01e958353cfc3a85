"""Distances: published values, SciPy as an oracle, and invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from loopwright.core.statistics.distance import js_distance, psi, psi_corrected, psi_critical, psi_null_mean

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
