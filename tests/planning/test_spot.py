from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning import spot

TABLE = [
    (600, 5, 5, 1440, 120.00, 116.69, 655.18, 116.5, 746.9),
    (600, 1, 5, 1200, 48.99, 48.33, 627.79, 48.5, 781.7),
    (600, 1, 5, 300, 24.49, 23.83, 662.73, 24.0, 1948.9),
    (6000, 5, 10, 1440, 120.00, 116.69, 6574.58, 116.5, 92077),
]


@pytest.mark.parametrize(("work", "save", "restart", "mtbf", "young", "daly", "wall", "best", "without"), TABLE)
def test_published_intervals(
    work: float,
    save: float,
    restart: float,
    mtbf: float,
    young: float,
    daly: float,
    wall: float,
    best: float,
    without: float,
) -> None:
    assert spot.young_interval(save, mtbf) == pytest.approx(young, abs=5e-3)
    assert spot.daly_interval(save, mtbf) == pytest.approx(daly, abs=5e-3)
    found = spot.expected_wall(work, checkpoint=save, restart=restart, between_failures=mtbf)
    assert found == pytest.approx(wall, abs=5e-3)
    options = {"checkpoint": save, "restart": restart, "between_failures": mtbf}
    lowest = min((tau / 2 for tau in range(2, 800)), key=lambda tau: spot.expected_wall(work, interval=tau, **options))
    assert lowest == pytest.approx(best, abs=0.5)
    bare = spot.expected_wall_without_checkpoints(work, restart=restart, between_failures=mtbf)
    assert bare == pytest.approx(without, rel=1e-4)


@pytest.mark.parametrize(("hours", "ratio"), [(24, 0.960), (5, 0.905), (2, 0.841)])
def test_break_even(hours: float, ratio: float) -> None:
    wall = spot.expected_wall(600, checkpoint=1, restart=5, between_failures=hours * 60)
    assert spot.break_even_price(600, wall) == pytest.approx(ratio, abs=1.1e-3)


def test_without_checkpoints_a_discount_of_60_percent_loses() -> None:
    wall = spot.expected_wall_without_checkpoints(600, restart=5, between_failures=300)
    assert wall / 600 == pytest.approx(3.2, abs=0.05)
    assert spot.break_even_price(600, wall) < 0.4


@given(st.floats(0.1, 60), st.floats(0, 60), st.floats(30, 5000), st.floats(10, 5000))
def test_no_interval_beats_dalys_by_much(save: float, restart: float, mtbf: float, work: float) -> None:
    options = {"checkpoint": save, "restart": restart, "between_failures": mtbf}
    daly = spot.expected_wall(work, **options)
    assert daly >= work
    for factor in (0.5, 0.8, 1.25, 2.0):
        other = spot.expected_wall(work, interval=factor * spot.daly_interval(save, mtbf), **options)
        assert daly <= other * 1.12 or math.isinf(other)


def test_times_must_be_positive() -> None:
    with pytest.raises(DeclarationError, match="failures are apart"):
        spot.daly_interval(0, 10)
