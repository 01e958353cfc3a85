from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning.machine_hours import (
    break_even_utilisation,
    can_buy,
    commitment_pays,
    disk_line,
    machine_line,
    smallest_machine,
)
from loopwright.planning.prices.table import PriceTable

PRICES = PriceTable.load(today=date(2026, 11, 23))
T3 = PRICES.instance("aws", "us-east-1", "t3.medium")
N2 = PRICES.instance("gcp", "us-central1", "n2-standard-4")
MACHINES = st.sampled_from(PRICES.machines)


def test_a_small_machine_all_month() -> None:
    assert machine_line("serving", T3, "on_demand").usd_per_month == pytest.approx(30.37, abs=0.01)
    assert machine_line("serving", T3, "on_demand", count=2, hours=10).usd_per_month == pytest.approx(0.832)


def test_a_commitment_is_paid_whether_used_or_not() -> None:
    assert machine_line("serving", T3, "commit_1y", hours=10).usd_per_month == pytest.approx(19.05)


def test_a_whole_month_costs_less_where_sustained_use_does() -> None:
    assert machine_line("serving", N2, "on_demand").usd_per_month == pytest.approx(113.46)
    assert machine_line("serving", N2, "on_demand", hours=100).usd_per_month == pytest.approx(19.4236)


@pytest.mark.parametrize(
    ("region", "name", "purchase", "share"),
    [
        ("us-central1", "g2-standard-4", "commit_1y", 0.63),
        ("us-central1", "g2-standard-4", "commit_3y", 0.45),
        ("us-central1", "a2-highgpu-1g", "commit_3y", 0.35),
        ("us-central1", "c4a-standard-4", "commit_1y", 0.66),
    ],
)
def test_when_a_commitment_pays(region: str, name: str, purchase: str, share: float) -> None:
    one = PRICES.instance("gcp", region, name)
    found = break_even_utilisation(one, purchase)  # type: ignore[arg-type]
    assert found == pytest.approx(share, abs=0.01)
    assert found is not None
    assert commitment_pays(one, purchase, found + 0.005)  # type: ignore[arg-type]
    assert not commitment_pays(one, purchase, found - 0.005)  # type: ignore[arg-type]


def test_there_is_no_commitment_without_a_price() -> None:
    one = PRICES.instance("gcp", "us-central1", "t2a-standard-4")
    assert not can_buy(one, "commit_1y")
    assert break_even_utilisation(one, "commit_1y") is None
    assert break_even_utilisation(one, "spot") is None
    assert not commitment_pays(one, "commit_1y", 1.0)
    with pytest.raises(DeclarationError, match="no price for gcp us-central1 t2a-standard-4 bought committed"):
        machine_line("serving", one, "commit_1y")


@pytest.mark.parametrize(("count", "hours"), [(-1.0, 1.0), (1.0, 731.0), (1.0, -1.0)])
def test_hours_must_fit_into_a_month(count: float, hours: float) -> None:
    with pytest.raises(DeclarationError, match="do not fit"):
        machine_line("serving", T3, "on_demand", count=count, hours=hours)


def test_the_smallest_machine_that_is_large_enough() -> None:
    machines = PRICES.instances(["aws"], ["us-east-1"])
    assert smallest_machine(machines, vcpus=2, memory_gib=4).type == "c7g.large"
    assert smallest_machine(machines, vcpus=2, memory_gib=4, may_burst=True).type == "t4g.medium"
    with pytest.raises(DeclarationError, match="No machine"):
        smallest_machine(machines, vcpus=2, memory_gib=1e5)


def test_disks() -> None:
    assert disk_line("serving", PRICES, "aws", 100).usd_per_month == pytest.approx(8.0)


@given(MACHINES, st.floats(0, 730), st.floats(0, 730), st.floats(0, 50), st.floats(0, 50))
def test_more_never_costs_less(one: object, first: float, second: float, few: float, many: float) -> None:
    hours, counts = sorted((first, second)), sorted((few, many))
    for purchase in ("on_demand", "spot", "commit_1y", "commit_3y"):
        if not can_buy(one, purchase):  # type: ignore[arg-type]
            continue
        costs = [
            machine_line("serving", one, purchase, count=count, hours=hour).usd_per_month  # type: ignore[arg-type]
            for count, hour in zip(counts, hours, strict=True)
        ]
        assert 0 <= costs[0] <= costs[1] * (1 + 1e-12)


@given(MACHINES, st.floats(0, 1))
def test_a_commitment_pays_above_one_less_the_discount(one: object, utilisation: float) -> None:
    share = break_even_utilisation(one, "commit_1y")  # type: ignore[arg-type]
    if share is None or abs(utilisation - share) < 1e-6:
        return
    full = one.full_month  # type: ignore[attr-defined]
    if full is None or full.usd >= 0.99 * 730 * one.on_demand.usd:  # type: ignore[attr-defined]
        assert commitment_pays(one, "commit_1y", utilisation) == (utilisation > share)  # type: ignore[arg-type]
