"""Power of the two-stage drift rule: silent without change, sure of changes that matter. Seeded.

Source of the targets: the design's table of monitoring figures, in the short form.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loopwright.core.statistics.binning import freeze_numeric
from loopwright.core.statistics.distance import psi_corrected
from loopwright.core.statistics.drift import DEFAULT_GATE, effective_rows, homogeneity_p_value
from loopwright.core.statistics.multiplicity import holm

FEATURES, CELLS, REFERENCE = 50, 10, 10_000
ALPHA = 0.001
CUTS = np.concatenate([[-np.inf], stats.norm.ppf(np.arange(1, CELLS) / CELLS), [np.inf]])


def alarms(shares: np.ndarray, rows: int, windows: int, seed: int) -> np.ndarray:
    """Judge windows in which the first feature has the given shares and the other 49 did not change."""
    rng = np.random.default_rng(seed)
    p = np.empty((windows, FEATURES))
    size = np.empty((windows, FEATURES))
    for feature in range(FEATURES):
        reference = np.full(CELLS, REFERENCE // CELLS)
        now = shares if feature == 0 else np.full(CELLS, 1 / CELLS)
        window = rng.multinomial(rows, now, size=windows)
        p[:, feature] = homogeneity_p_value(reference, window)
        size[:, feature] = psi_corrected(reference, window)
    return ((holm(p) <= ALPHA) & (size >= DEFAULT_GATE)).any(axis=1)


def shifted(sigmas: float) -> np.ndarray:
    return np.diff(stats.norm.cdf(CUTS - sigmas))


@pytest.mark.parametrize("rows", [100, 200, 500, 1000, 5000])
def test_null_windows_stay_silent(rows: int) -> None:
    # Nominal 0.001 of 1,500 windows is 1.5; P(Poisson(1.5) > 7) = 0.0004.
    assert alarms(shifted(0.0), rows, 1500, seed=rows).sum() <= 7


@pytest.mark.parametrize(("sigmas", "rows"), [(0.5, 500), (0.35, 2000)])
def test_shifts_that_matter_are_found(sigmas: float, rows: int) -> None:
    assert alarms(shifted(sigmas), rows, 300, seed=1).mean() >= 0.95


def test_a_category_that_doubles_is_found() -> None:
    rng = np.random.default_rng(2)
    reference = np.array([1000, 3000, 3000, 3000])
    window = rng.multinomial(2000, [0.2, 0.8 / 3, 0.8 / 3, 0.8 / 3], size=300)
    found = (homogeneity_p_value(reference, window) <= ALPHA / FEATURES) & (
        psi_corrected(reference, window) >= DEFAULT_GATE
    )
    assert found.mean() >= 0.95


def test_a_shift_that_does_not_matter_never_alarms() -> None:
    assert alarms(shifted(0.05), 1_000_000, 200, seed=3).sum() == 0


def autoregression(rng: np.random.Generator, streams: int, rows: int, phi: float) -> np.ndarray:
    values = np.empty((rows, streams))
    values[0] = rng.normal(size=streams)
    noise = rng.normal(size=(rows, streams)) * np.sqrt(1 - phi**2)
    for row in range(1, rows):
        values[row] = phi * values[row - 1] + noise[row]
    return values.T


@pytest.mark.parametrize(("phi", "naive_at_least"), [(0.5, 0.005), (0.9, 0.3), (0.98, 0.8)])
def test_rows_that_follow_each_other_raise_no_false_alarm(phi: float, naive_at_least: float) -> None:
    rng = np.random.default_rng(4)
    naive, deflated = [], []
    for reference in autoregression(rng, 10, 10_000, phi):
        bins = freeze_numeric(reference, bins=CELLS)
        share = effective_rows(reference) / len(reference)
        counts = bins.count(reference)
        windows = np.stack([bins.count(window) for window in autoregression(rng, 100, 1000, phi)])
        naive += (homogeneity_p_value(counts, windows) <= ALPHA).tolist()
        deflated += (homogeneity_p_value(counts, windows, reference_share=share, window_share=share) <= ALPHA).tolist()
    assert np.mean(naive) >= naive_at_least
    assert np.mean(deflated) <= 3 * ALPHA


def test_a_week_that_repeats_raises_no_false_alarm() -> None:
    rng = np.random.default_rng(5)
    hours = np.arange(4 * 168 * 15) / 15  # four weeks, 15 rows an hour
    alarmed = []
    for _ in range(20):
        reference = np.sin(2 * np.pi * hours / 168) + rng.normal(size=len(hours))
        bins = freeze_numeric(reference, bins=CELLS)
        share = effective_rows(reference) / len(reference)
        days = (np.sin(2 * np.pi * hours / 168) + rng.normal(size=len(hours))).reshape(28, 360)
        windows = np.stack([bins.count(day) for day in days])
        p = homogeneity_p_value(bins.count(reference), windows, reference_share=share, window_share=share)
        alarmed += (p <= ALPHA).tolist()
    assert np.mean(alarmed) <= 3 * ALPHA
