"""Latency histograms: one grid, exact merging, quantiles within a bucket."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.histogram import BUCKETS, EDGES_MS, LatencyHistogram

latencies = st.lists(st.floats(0, 20_000), min_size=1, max_size=60)


def test_the_grid_has_four_buckets_per_doubling() -> None:
    assert EDGES_MS[0] == 0.25
    assert EDGES_MS[4] == 0.5
    assert EDGES_MS[-1] == 10_000
    assert all(a < b for a, b in itertools.pairwise(EDGES_MS))
    assert len(EDGES_MS) + 1 == BUCKETS


@given(latencies, latencies)
def test_parts_add_up_to_the_whole(left: list[float], right: list[float]) -> None:
    assert LatencyHistogram.of(left) + LatencyHistogram.of(right) == LatencyHistogram.of(left + right)


@given(latencies, st.floats(0, 1))
def test_a_quantile_is_right_within_one_bucket(values: list[float], q: float) -> None:
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    upper = LatencyHistogram.of(values).quantile_ms(q)
    assert upper >= exact
    if exact > EDGES_MS[0] and math.isfinite(upper):
        assert upper <= exact * 2 ** (1 / 4) * (1 + 1e-12)


@given(latencies, st.floats(0.3, 9000))
def test_share_above_never_hides_a_slow_request(values: list[float], limit: float) -> None:
    share = LatencyHistogram.of(values).share_above(limit)
    assert share >= np.mean(np.asarray(values) > limit) - 1e-12


def test_empty_and_malformed() -> None:
    assert math.isnan(LatencyHistogram().quantile_ms(0.5))
    assert LatencyHistogram().share_above(1.0) == 0.0
    with pytest.raises(ValueError, match="buckets"):
        LatencyHistogram((1, 2))
    with pytest.raises(ValueError, match="q must"):
        LatencyHistogram().quantile_ms(2.0)
