"""Power of the e-detector on Bernoulli error streams: false alarms and delay, seeded, all streams at once."""

from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.statistics.edetector import EDetector, first_alarms

RATE, ROWS, CHANGE = 0.20, 10_000, 5_000


@pytest.mark.parametrize(
    ("run_length", "most_alarms", "delay_large", "delay_small"), [(1e6, 0.015, 380, 1300), (1e5, 0.10, 300, 900)]
)
def test_false_alarms_and_delay(run_length: float, most_alarms: float, delay_large: float, delay_small: float) -> None:
    rng = np.random.default_rng(0)
    detector = EDetector(RATE, average_run_length=run_length)
    stable = rng.random((300, ROWS)) < RATE
    silent = first_alarms(detector, stable[:, :CHANGE])
    assert (first_alarms(detector, stable) >= 0).mean() <= most_alarms
    for after, limit in ((0.30, delay_large), (0.25, delay_small)):
        streams = stable[silent < 0].copy()
        streams[:, CHANGE:] = rng.random((len(streams), ROWS - CHANGE)) < after
        first = first_alarms(detector, streams)
        assert np.all(first >= CHANGE)
        assert (first - CHANGE).mean() <= limit


def test_the_betting_form_sees_a_rise_of_a_bounded_loss() -> None:
    rng = np.random.default_rng(1)
    # Absolute errors, exponential, clipped at their 99.5 % quantile and scaled by it.
    scale = -np.log(0.005)
    stable = np.minimum(rng.exponential(size=(200, 6000)), scale) / scale
    rate = (1 - 0.005) / scale
    detector = EDetector(rate, average_run_length=1e6, form="betting")
    assert (first_alarms(detector, stable) >= 0).mean() <= 0.015
    worse = stable.copy()
    worse[:, 3000:] = np.minimum(worse[:, 3000:] * 1.3, 1.0)
    first = first_alarms(detector, worse)
    assert (first >= 3000).mean() >= 0.98
    assert (first[first >= 3000] - 3000).mean() <= 500
