"""Forms: first-order resamples of a ROC area follow the exact ones."""

from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.statistics.bootstrap import resample_weights
from loopwright.core.statistics.delong import auc_covariance
from loopwright.evaluation.forms import AreaForm, MeanForm, MedianForm, plain_value


def test_first_order_areas_follow_the_exact_ones() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 400)
    scores = (truth[None, :] == np.arange(3)[:, None]) + rng.normal(size=(3, 400))
    form = AreaForm(truth[None, :] == np.arange(3)[:, None], scores)
    weights = next(iter(resample_weights(400, resamples=500, seed=0)))
    exact, near = form.values(weights), form.resampled(weights)
    assert np.corrcoef(exact, near)[0, 1] > 0.99
    assert near.std() == pytest.approx(exact.std(), rel=0.03)
    assert form.influence.sum() == pytest.approx(0.0, abs=1e-12)


def test_the_spread_of_a_binary_area_is_delongs() -> None:
    rng = np.random.default_rng(1)
    positive = rng.random(600) < 0.3
    scores = positive + rng.normal(size=600)
    form = AreaForm(positive[None, :], scores[None, :])
    weights = next(iter(resample_weights(600, resamples=3000, seed=0)))
    _, covariance = auc_covariance(positive, scores)
    assert form.resampled(weights).std() == pytest.approx(np.sqrt(covariance[0, 0]), rel=0.06)
    groups = np.arange(600) % 100
    left_out = form.left_out(groups)
    assert left_out is not None
    some = groups != 3
    assert left_out[3] == pytest.approx(plain_value(form.take(some)), abs=1e-3)


def test_left_out_groups_of_a_mean_are_exact() -> None:
    rng = np.random.default_rng(2)
    form = MeanForm(rng.normal(size=(50, 1)), lambda means: means[..., 0])
    groups = np.arange(50) % 7
    left_out = form.left_out(groups)
    assert left_out is not None
    assert left_out[2] == pytest.approx(form.parts[groups != 2].mean())
    assert MedianForm(form.parts[:, 0]).left_out(groups) is None
    assert form.left_out(np.zeros(50, dtype=np.intp)) is None
