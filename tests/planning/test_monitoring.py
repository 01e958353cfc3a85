from __future__ import annotations

import dataclasses
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning.cost import total
from loopwright.planning.monitoring import Watched, log_lines, metric_lines, monitoring_stage
from loopwright.planning.prices.table import PriceTable

PRICES = PriceTable.load(today=date(2026, 11, 23))
WATCHED = Watched(requests=30_416_667, log_bytes=500)
CLOUDS = ["aws", "gcp", "azure"]
HOME = {cloud: PRICES.regions(cloud)[0] for cloud in CLOUDS}


def test_logs_come_from_the_traffic() -> None:
    lines = {line.item: line for line in log_lines(WATCHED, PRICES, "aws")}
    assert lines["logs taken in"].quantity == pytest.approx(15.2, abs=0.01)
    assert lines["logs taken in"].usd_per_month == pytest.approx(7.60, abs=0.01)
    assert log_lines(dataclasses.replace(WATCHED, log_days=90), PRICES, "aws")[1].usd_per_month == pytest.approx(
        15.2083 * 90 / (730 / 24) * 0.2 * 0.03, abs=1e-3
    )


def test_storing_is_included_for_a_month_in_two_clouds() -> None:
    for cloud, days in (("gcp", 30), ("azure", 31)):
        assert "logs kept" not in {line.item for line in log_lines(WATCHED, PRICES, cloud)}
        longer = dataclasses.replace(WATCHED, log_days=days + 730 / 24)
        (kept,) = [line for line in log_lines(longer, PRICES, cloud) if line.item == "logs kept"]
        assert kept.quantity == pytest.approx(longer.log_gb)


def test_metrics_by_series_or_by_bytes() -> None:
    by_series = metric_lines(WATCHED, PRICES, "aws")[0]
    assert by_series.usd_per_month == pytest.approx(200 * 0.3)
    by_bytes = metric_lines(WATCHED, PRICES, "gcp")[0]
    assert by_bytes.usd_per_month == pytest.approx(200 * 43_800 * 8 / 1e6 * 0.258)
    borrowed = metric_lines(WATCHED, PRICES, "azure")[0]
    assert "no price on record for azure" in borrowed.price.source


@pytest.mark.parametrize("cloud", CLOUDS)
def test_two_ways_to_watch(cloud: str) -> None:
    options = monitoring_stage(WATCHED, PRICES, cloud, HOME[cloud])
    assert {str(one.settings["metrics"]) for one in options} == {"cloud", "prometheus"}
    assert options[0].usd_per_month <= options[1].usd_per_month


def test_many_series_need_a_larger_machine() -> None:
    small, large = (
        next(
            one
            for one in monitoring_stage(dataclasses.replace(WATCHED, series=series), PRICES, "aws", "us-east-1")
            if one.settings["metrics"] == "prometheus"
        )
        for series in (200, 3_000_000)
    )
    assert small.instance_type == "t4g.medium"
    assert PRICES.instance("aws", "us-east-1", large.instance_type).memory_gib >= 2 + 3e6 * 8000 / 2**30
    (cloud,) = monitoring_stage(dataclasses.replace(WATCHED, series=1e9), PRICES, "aws", "us-east-1")
    assert "no machine with a price" in cloud.notes[0]


def test_figures_that_cannot_be_are_refused() -> None:
    with pytest.raises(DeclarationError):
        Watched(requests=-1)
    with pytest.raises(DeclarationError, match="interval_s"):
        Watched(requests=1, interval_s=0)


@given(
    cloud=st.sampled_from(CLOUDS),
    name=st.sampled_from(["requests", "log_bytes", "log_days", "series", "alarms", "dashboards", "metric_days"]),
    first=st.floats(0, 1e6),
    second=st.floats(0, 1e6),
)
def test_more_to_watch_never_costs_less(cloud: str, name: str, first: float, second: float) -> None:
    found = [
        {
            one.settings["metrics"]: one
            for one in monitoring_stage(dataclasses.replace(WATCHED, **{name: value}), PRICES, cloud, HOME[cloud])
        }
        for value in sorted((first, second))
    ]
    for way, less in found[0].items():
        assert less.usd_per_month <= found[1][way].usd_per_month * (1 + 1e-12)
        assert all(line.quantity > 0 for line in less.lines)
        assert less.usd_per_month == pytest.approx(total(less.lines))


def test_every_region_has_an_answer() -> None:
    for cloud in CLOUDS:
        for region in PRICES.regions(cloud):
            assert monitoring_stage(WATCHED, PRICES, cloud, region)
