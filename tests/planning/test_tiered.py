from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.planning.cost import total
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.tiered import tiered_lines

PRICES = PriceTable.load(today=date(2026, 11, 23))
KEYS = [
    ("aws", "egress", "internet"),
    ("azure", "egress", "internet"),
    ("gcp", "egress", "internet"),
    ("gcp", "monitoring", "metric_mb"),
]


def usd(quantity: float, provider: str, service: str, tier: str) -> float:
    return total(tiered_lines("network", "x", quantity, PRICES.tiers(provider, service, tier)))


@pytest.mark.parametrize(
    ("gigabytes", "expected"),
    [
        (100, 0.0),
        (101, 0.09),
        (10_000, 9_900 * 0.09),
        (10_240, 10_140 * 0.09),
        (10_241, 10_140 * 0.09 + 0.085),
        (51_200, 10_140 * 0.09 + 40_960 * 0.085),
        (200_000, 10_140 * 0.09 + 40_960 * 0.085 + 102_400 * 0.07 + 46_400 * 0.05),
    ],
)
def test_the_first_ten_terabytes_are_10240_gigabytes(gigabytes: float, expected: float) -> None:
    assert usd(gigabytes, "aws", "egress", "internet") == pytest.approx(expected)


@given(st.sampled_from(KEYS), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_never_costs_less(key: tuple[str, str, str], first: float, second: float) -> None:
    less, more = sorted((first, second))
    assert usd(less, *key) <= usd(more, *key) + 1e-9


@given(st.sampled_from(KEYS), st.floats(0, 1e6))
def test_quantities_add_up(key: tuple[str, str, str], quantity: float) -> None:
    lines = tiered_lines("network", "x", quantity, PRICES.tiers(*key))
    assert sum(line.quantity for line in lines) == pytest.approx(quantity)
    assert all(line.quantity > 0 for line in lines)


@pytest.mark.parametrize("key", KEYS)
def test_there_is_no_step_at_a_border(key: tuple[str, str, str]) -> None:
    for tier in PRICES.tiers(*key):
        border = tier.from_quantity
        assert usd(border + 1e-6, *key) - usd(max(0.0, border - 1e-6), *key) < 1e-5
