"""Bootstrap: SciPy as an oracle, coverage, clusters, and speed by construction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loopwright.core.statistics.bootstrap import (
    Method,
    bootstrap_interval,
    interval_from,
    mean_interval,
    resample_weights,
    resampled_mean,
)


def test_weights_draw_every_row_once_on_average() -> None:
    blocks = list(resample_weights(50, resamples=3000, seed=0))
    weights = np.concatenate(blocks)
    assert weights.shape == (3000, 50)
    assert np.all(weights.sum(axis=1) == 50)
    assert np.allclose(weights.mean(axis=0), 1.0, atol=0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).exponential(size=80)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_bca_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=60)
    ours = mean_interval(values, seed=0, resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=np.random.default_rng(0)).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.015)


def test_the_general_form_equals_the_quick_one() -> None:
    values = np.random.default_rng(2).normal(size=70)
    general = bootstrap_interval(lambda index: float(values[index].mean()), 70, seed=5, resamples=500)
    quick = mean_interval(values, seed=5, resamples=500)
    assert general.low == pytest.approx(quick.low)
    assert general.high == pytest.approx(quick.high)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_coverage_is_near_nominal(method: Method) -> None:
    rng = np.random.default_rng(3)
    covered = sum(
        mean_interval(
            rng.exponential(size=100),
            seed=i,
            confidence=0.9,
            resamples=500,
            method="bca" if method == "bca" else "percentile",
        ).contains(1.0)
        for i in range(300)
    )
    assert 0.84 <= covered / 300 <= 0.94


def test_clusters_widen_the_interval_of_dependent_rows() -> None:
    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(40), 25)
    values = rng.normal(size=40)[clusters] + 0.1 * rng.normal(size=1000)
    by_row, by_cluster = mean_interval(values, seed=0), mean_interval(values, seed=0, clusters=clusters)
    assert by_cluster.high - by_cluster.low > 3 * (by_row.high - by_row.low)
    draws = resampled_mean(values, resamples=2000, seed=0, clusters=clusters)
    assert draws.std() == pytest.approx(values.reshape(40, 25).mean(axis=1).std() / np.sqrt(40), rel=0.1)


def test_undefined_resamples_are_left_out() -> None:
    interval = interval_from([1.0, 2.0, float("nan")], estimate=1.5)
    assert 1.0 <= interval.low <= interval.high <= 2.0
    assert np.isnan(interval_from([float("nan")], estimate=1.0).low)
    with pytest.raises(ValueError, match="at least one row"):
        next(resample_weights(0, resamples=1, seed=0))
    with pytest.raises(ValueError, match="one per row"):
        next(resample_weights(3, resamples=1, seed=0, clusters=[1]))
