"""Binomial intervals against SciPy, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loopwright.core.statistics.binomial import clopper_pearson, clopper_pearson_upper, wilson

trials = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(trials, st.sampled_from([0.8, 0.95, 0.99]))
def test_both_equal_scipy(pair: tuple[int, int], confidence: float) -> None:
    successes, total = pair
    result = stats.binomtest(successes, total)
    for ours, method in ((clopper_pearson, "exact"), (wilson, "wilson")):
        expected = result.proportion_ci(confidence, method=method)
        interval = ours(successes, total, confidence=confidence)
        assert interval.low == pytest.approx(expected.low, abs=1e-9)
        assert interval.high == pytest.approx(expected.high, abs=1e-9)


def test_the_exact_interval_covers() -> None:
    rng = np.random.default_rng(0)
    for p in (0.02, 0.3):
        hits = rng.binomial(40, p, size=2000)
        assert np.mean([clopper_pearson(int(k), 40).contains(p) for k in hits]) >= 0.95


def test_no_alarm_in_1500_windows_shows_two_per_mille() -> None:
    assert clopper_pearson_upper(0, 1500) <= 0.002
    assert clopper_pearson_upper(3, 3) == 1.0
    with pytest.raises(ValueError, match="successes"):
        wilson(4, 3)
