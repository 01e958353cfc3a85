from __future__ import annotations

import dataclasses
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.planning.metadata import Facts
from loopwright.planning.network import Traffic
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.stored_data import StoredData
from loopwright.planning.traps import extended_support_trap, lifecycle_trap, nat_trap, spot_market_traps

TODAY = date(2026, 11, 23)
PRICES = PriceTable.load(today=TODAY)
IMAGES = StoredData("raw", 1_000_000, 100_000, 365)


def test_small_objects_are_dear_to_move() -> None:
    trap = lifecycle_trap(IMAGES, "aws", today=TODAY)
    assert trap is not None
    assert trap.usd_per_month == pytest.approx(69.67, abs=0.01)
    for part in ("1,061", "992", "14.3 months", "pack into shards"):
        assert part in trap.text
    never = lifecycle_trap(dataclasses.replace(IMAGES, object_bytes=50_000), "aws", today=TODAY)
    assert never is not None
    assert "never pays for itself" in never.text


def test_large_objects_or_short_stays_are_no_trap() -> None:
    assert lifecycle_trap(dataclasses.replace(IMAGES, object_bytes=1e7), "aws", today=TODAY) is None
    assert lifecycle_trap(dataclasses.replace(IMAGES, kept_days=20), "aws", today=TODAY) is None
    assert lifecycle_trap(dataclasses.replace(IMAGES, kept_days=600), "aws", today=TODAY) is None  # past 14.3 months


@given(st.floats(1e3, 1e9), st.floats(31, 3000), st.sampled_from(["aws", "gcp", "azure"]))
def test_a_trap_always_costs_something(size: float, days: float, provider: str) -> None:
    trap = lifecycle_trap(StoredData("raw", 1e5, size, days), provider, today=TODAY)
    assert trap is None or trap.usd_per_month > 0


def test_object_storage_through_a_gateway() -> None:
    traffic = Traffic(requests=1e6, request_bytes=1e5, answer_bytes=1e3, stored_bytes=3e12, other_bytes=1e9)
    trap = nat_trap(traffic, PRICES, "aws")
    assert trap is not None
    assert trap.usd_per_month == pytest.approx(135)
    assert "3,000 GB a month" in trap.text
    assert nat_trap(dataclasses.replace(traffic, stored_bytes=0), PRICES, "aws") is None


def test_spot_that_saves_nothing() -> None:
    traps = spot_market_traps(PRICES.machines)
    assert {trap.text.split(" costs")[0] for trap in traps} == {
        "aws us-east-1 p5.48xlarge",
        "aws eu-central-1 g6e.12xlarge",
    }
    same = dataclasses.replace(PRICES.machines[0], spot=PRICES.machines[0].on_demand)
    (trap,) = spot_market_traps([same])
    assert "no spot market" in trap.text
    assert trap.usd_per_month == 0


def test_extended_support() -> None:
    trap = extended_support_trap(Facts(clusters=1, runs_old_kubernetes=True), PRICES, "aws")
    assert trap is not None
    assert trap.usd_per_month == pytest.approx(365)
    assert "6 times" in trap.text
    assert extended_support_trap(Facts(clusters=1), PRICES, "aws") is None
    assert extended_support_trap(Facts(clusters=1, runs_old_kubernetes=True), PRICES, "gcp") is None
