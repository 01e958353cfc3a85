from __future__ import annotations

import dataclasses
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.planning.cost import HOURS_PER_MONTH, SECONDS_PER_MONTH, total
from loopwright.planning.network import (
    Traffic,
    balancer_lines,
    capacity_units,
    gateway_excess_usd,
    network_stage,
    way_out_lines,
)
from loopwright.planning.prices.table import PriceTable

PRICES = PriceTable.load(today=date(2026, 11, 23))
MONTH = 1_000_000 * 730 / 24
IMAGES = Traffic(
    requests=MONTH, request_bytes=100_000, answer_bytes=1000, internal_bytes=2000, stored_bytes=3e12, machines=3
)
PROVIDERS = st.sampled_from(["aws", "gcp", "azure"])


@pytest.mark.parametrize(
    ("change", "dimension", "units"),
    [
        ({"requests": 50 * SECONDS_PER_MONTH, "request_bytes": 1, "connection_s": 1}, "new connections", 2.0),
        ({"requests": 50 * SECONDS_PER_MONTH, "request_bytes": 1, "connection_s": 600}, "active connections", 10.0),
        ({"requests": MONTH, "request_bytes": 99_000, "requests_per_connection": 100}, "bytes", 1e6 / 24 * 1e5 / 1e9),
        (
            {"requests": 50 * SECONDS_PER_MONTH, "request_bytes": 1, "requests_per_connection": 1e6, "rules": 100,
             "answer_bytes": 1},
            "rules", 5.0,
        ),
    ],
)  # fmt: skip
def test_only_the_largest_dimension_is_billed(change: dict[str, float], dimension: str, units: float) -> None:
    traffic = dataclasses.replace(IMAGES, **change)
    found, name = capacity_units(traffic)
    assert name == dimension
    assert found == pytest.approx(units, rel=1e-6)
    (line,) = [one for one in balancer_lines(traffic, PRICES, "aws") if "capacity" in one.item]
    assert line.usd_per_month == pytest.approx(units * 730 * 0.008)


def test_gateways_stand_in_each_zone_and_bill_each_byte() -> None:
    lines = way_out_lines(dataclasses.replace(IMAGES, zones=3), PRICES, "aws", "nat")
    assert [round(line.usd_per_month, 2) for line in lines] == [98.55, 135.0]
    through_endpoint = way_out_lines(dataclasses.replace(IMAGES, zones=3), PRICES, "aws", "nat_and_endpoint")
    assert total(through_endpoint) == pytest.approx(3 * 32.85)


def test_one_cloud_bills_its_gateway_by_the_machine() -> None:
    def hours_usd(machines: float) -> float:
        traffic = dataclasses.replace(IMAGES, machines=machines)
        return way_out_lines(traffic, PRICES, "gcp", "nat")[0].usd_per_month

    assert hours_usd(3) == pytest.approx(3 * 0.0014 * 730)
    assert hours_usd(32) == hours_usd(100) == pytest.approx(0.0448 * 730)


def test_traffic_between_zones_is_billed_on_both_sides() -> None:
    (option, *_) = network_stage(IMAGES, PRICES, "aws")
    between = {line.item: line.usd_per_month for line in option.lines if line.item.startswith("between")}
    crossing = MONTH * 2000 / 1e9 / 2
    assert between == {
        "between zones, sent": pytest.approx(crossing * 0.01),
        "between zones, received": pytest.approx(crossing * 0.01),
    }
    alone = network_stage(dataclasses.replace(IMAGES, zones=1), PRICES, "aws")[0]
    assert not any(line.item.startswith("between") for line in alone.lines)


def test_endpoints_alone_cannot_reach_elsewhere() -> None:
    options = network_stage(dataclasses.replace(IMAGES, other_bytes=5e9), PRICES, "aws")
    assert options[0].settings["way_out"] == "nat_and_endpoint"
    assert options[-1].settings["way_out"] == "endpoint"
    assert "5.0 GB a month" in options[-1].reasons[0].text


@pytest.mark.parametrize("provider", ["aws", "gcp", "azure"])
def test_a_gateway_for_everything_is_never_the_cheapest(provider: str) -> None:
    options = network_stage(IMAGES, PRICES, provider)
    assert options[-1].settings["way_out"] == "nat"
    assert gateway_excess_usd(IMAGES, PRICES, provider) == pytest.approx(
        options[-1].usd_per_month - options[0].usd_per_month
    )


def test_images_are_pulled_the_same_way_out() -> None:
    pulling = dataclasses.replace(IMAGES, image_bytes=2e9, image_pulls=500, stored_bytes=0)
    nat = way_out_lines(pulling, PRICES, "aws", "nat")
    assert nat[1].quantity == pytest.approx(1000)
    endpoint = way_out_lines(pulling, PRICES, "aws", "endpoint")
    assert total(endpoint) == pytest.approx(4 * HOURS_PER_MONTH * 0.01 + 1000 * 0.01)


@pytest.mark.parametrize(
    "wrong", [{"requests": -1}, {"zones": 0}, {"internet_share": 1.5}, {"answer_bytes": float("inf")}]
)
def test_figures_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DeclarationError):
        dataclasses.replace(IMAGES, **wrong)


def test_a_cloud_without_prices() -> None:
    with pytest.raises(UnknownNameError, match="hetzner"):
        network_stage(IMAGES, PRICES, "hetzner")


@given(
    provider=PROVIDERS,
    amounts=st.fixed_dictionaries(
        {
            name: st.floats(0, 1e9)
            for name in ("requests", "request_bytes", "answer_bytes", "internal_bytes", "stored_bytes", "image_bytes",
                         "image_pulls", "other_bytes", "region_bytes", "machines")
        }
    ),
    name=st.sampled_from(["requests", "request_bytes", "answer_bytes", "internal_bytes", "stored_bytes", "other_bytes",
                          "image_pulls", "region_bytes", "machines"]),
    factor=st.floats(1, 10),
)  # fmt: skip
def test_more_traffic_never_costs_less(provider: str, amounts: dict[str, float], name: str, factor: float) -> None:
    less = Traffic(**amounts)
    more = dataclasses.replace(less, **{name: amounts[name] * factor})
    before = {one.name: one for one in network_stage(less, PRICES, provider)}
    for one in network_stage(more, PRICES, provider):
        assert one.usd_per_month >= before[one.name].usd_per_month * (1 - 1e-12)
        assert all(line.quantity > 0 for line in one.lines)
        assert one.usd_per_month == pytest.approx(total(one.lines))
