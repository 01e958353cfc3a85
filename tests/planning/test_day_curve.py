from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning.day_curve import day_curve


def test_a_million_a_day_with_fifty_at_the_peak() -> None:
    curve = day_curve(1_000_000 / 86_400, 50, 2)
    assert curve.sharpness == pytest.approx(7.747, abs=5e-4)
    assert curve.hours_above(25) == pytest.approx(4.68, abs=1 / 60)  # the source counts whole minutes
    assert curve.steepest() == pytest.approx(0.254, abs=5e-4)


@given(st.floats(0, 100), st.floats(0.02, 0.98), st.floats(1, 1000))
def test_the_curve_has_the_mean_peak_and_floor_that_were_asked_for(floor: float, share: float, span: float) -> None:
    mean, peak = floor + share * span, floor + span
    curve = day_curve(mean, peak, floor)
    assert curve.mean_rps == pytest.approx(mean, rel=1e-6)
    rates = [curve.rate(minute / 60) for minute in range(24 * 60)]
    assert max(rates) == pytest.approx(peak, rel=1e-6)
    assert min(rates) >= floor - 1e-9
    assert sum(rates) / len(rates) == pytest.approx(mean, rel=2e-2)


def test_a_flat_day() -> None:
    curve = day_curve(10, 10, 0)
    assert curve.rate(3) == 10
    assert curve.hours_above(9) == 24


@pytest.mark.parametrize(("mean", "peak", "floor"), [(10, 5, 0), (1, 5, 2), (-1, 5, -2), (0, 0, 0)])
def test_what_cannot_be(mean: float, peak: float, floor: float) -> None:
    with pytest.raises(DeclarationError, match="in this order"):
        day_curve(mean, peak, floor)
