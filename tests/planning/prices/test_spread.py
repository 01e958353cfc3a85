from __future__ import annotations

import math
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.planning.prices.spread import deviation_of, deviation_of_zones, spread_of

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("days", "expected", "expected_gpu"),
    [(0, 0.05, 0.05), (89, 0.05, 0.05), (90, 0.15, 0.15), (364, 0.15, 0.15), (365, 0.25, 0.40), (900, 0.25, 0.40)],
)
def test_bands_widen_with_age(days: int, expected: float, expected_gpu: float) -> None:
    as_of = (TODAY - timedelta(days=days)).isoformat()
    assert spread_of(as_of, TODAY) == expected
    assert spread_of(as_of, TODAY, is_gpu=True) == expected_gpu


def test_without_a_day_it_is_the_oldest_and_of_tomorrow_it_is_new() -> None:
    assert (spread_of("", TODAY), spread_of("", TODAY, is_gpu=True)) == (0.25, 0.40)
    assert spread_of("2027-01-01", TODAY) == 0.05


@given(st.integers(0, 3000), st.integers(0, 3000), st.booleans())
def test_older_is_never_narrower(first: int, second: int, is_gpu: bool) -> None:
    new, old = sorted((first, second))
    bands = [spread_of((TODAY - timedelta(days=days)).isoformat(), TODAY, is_gpu=is_gpu) for days in (new, old)]
    assert bands[0] <= bands[1]


def test_deviations() -> None:
    assert deviation_of(0.15) == pytest.approx(0.0866, abs=1e-4)
    assert deviation_of_zones(2.4655, 8.1915) == pytest.approx(math.log(8.1915 / 2.4655) / 4)
    assert deviation_of_zones(None, 3.0) == deviation_of_zones(3.0, 3.0) == 0.0
