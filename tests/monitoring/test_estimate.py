from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.monitoring.estimate import CAVEAT, IDENTITY, Calibration, calibrate, estimate_accuracy


def test_the_toy_of_the_literature():
    # p = .9, .8, .3, .6 with a cut at .5: the answers' own probabilities are .9, .8, .7, .6.
    estimate = estimate_accuracy([0.9, 0.8, 0.7, 0.6], IDENTITY)
    assert estimate is not None
    assert estimate.accuracy == pytest.approx(0.75)
    assert estimate.caveat == CAVEAT
    assert estimate_accuracy([], IDENTITY) is None


def test_overconfidence_is_corrected_and_the_estimate_follows_a_shift_of_inputs():
    rng = np.random.default_rng(0)

    def draw(low, high, rows):
        confidence = rng.uniform(low, high, rows)
        return confidence, rng.random(rows) < confidence - 0.15

    confidence, right = draw(0.6, 1.0, 10_000)
    calibration = calibrate(confidence, right)
    assert calibration != IDENTITY
    shifted, truth = draw(0.6, 0.8, 10_000)
    estimate = estimate_accuracy(shifted, calibration)
    assert estimate is not None
    assert estimate.accuracy == pytest.approx(truth.mean(), abs=0.01)
    assert estimate.low < truth.mean() < estimate.high


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0.5, 1.0), st.booleans()), min_size=100, max_size=300))
def test_the_map_never_falls_and_survives_json(pairs):
    calibration = calibrate([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    chances = calibration.chance(np.linspace(0, 1, 50))
    assert (np.diff(chances) >= -1e-12).all()
    assert ((chances >= 0) & (chances <= 1)).all()
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_a_calibrated_model_and_a_small_holdout_keep_the_confidence_as_it_is():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1.0, 300)
    assert calibrate(confidence[:50], rng.random(50) < confidence[:50]) == IDENTITY
