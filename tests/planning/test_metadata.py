from __future__ import annotations

import dataclasses
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning.cost import total
from loopwright.planning.metadata import Facts, control_plane_lines, database_lines, metadata_stage, registry_lines
from loopwright.planning.prices.table import PriceTable

PRICES = PriceTable.load(today=date(2026, 11, 23))
CLOUDS = ["aws", "gcp", "azure"]
HOME = {cloud: PRICES.regions(cloud)[0] for cloud in CLOUDS}


def test_a_second_zone_doubles_the_database() -> None:
    one = total(database_lines(Facts(), PRICES, "aws"))
    assert one == pytest.approx(0.145 * 730 + 20 * 0.115)
    assert total(database_lines(Facts(is_highly_available=True), PRICES, "aws")) == pytest.approx(2 * one)
    assert total(database_lines(Facts(database_vcpus=3), PRICES, "gcp")) == pytest.approx(
        2 * (2 * 0.0413 + 8 * 0.007) * 730 + 20 * 0.17
    )


def test_a_registry_with_ten_gigabytes_in_it() -> None:
    assert total(registry_lines(Facts(image_gb=10), PRICES, "azure")) == pytest.approx(0.1667 * 730 / 24)
    assert total(registry_lines(Facts(image_gb=30), PRICES, "azure")) == pytest.approx(0.1667 * 730 / 24 + 2)
    assert total(registry_lines(Facts(image_gb=30), PRICES, "aws")) == pytest.approx(3)
    assert "no price on record for gcp" in registry_lines(Facts(), PRICES, "gcp")[0].price.source


def test_an_old_version_of_kubernetes_costs_six_times_as_much() -> None:
    (new,) = control_plane_lines(Facts(clusters=1), PRICES, "aws")
    (old,) = control_plane_lines(Facts(clusters=1, runs_old_kubernetes=True), PRICES, "aws")
    assert (new.usd_per_month, old.usd_per_month) == (pytest.approx(73), pytest.approx(438))
    assert control_plane_lines(Facts(), PRICES, "aws") == ()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_managed_or_ones_own(cloud: str) -> None:
    options = metadata_stage(Facts(online_gb=4), PRICES, cloud, HOME[cloud])
    assert {str(one.settings["database"]) for one in options} == {"managed", "own"}
    online = [line for line in options[0].lines if "online store" in line.note]
    assert len(online) == 1
    assert "7" in online[0].note or "6.6" in online[0].note  # 4 GB, half as much again, and the system


def test_figures_that_cannot_be_are_refused() -> None:
    with pytest.raises(DeclarationError):
        Facts(database_gb=-1)


@given(
    cloud=st.sampled_from(CLOUDS),
    name=st.sampled_from(["database_gb", "database_vcpus", "backup_gb", "online_gb", "image_gb"]),
    first=st.floats(0, 60),
    second=st.floats(0, 60),
    available=st.booleans(),
)
def test_more_never_costs_less(cloud: str, name: str, first: float, second: float, available: bool) -> None:
    if name == "database_vcpus":
        first, second = min(first, 8), min(second, 8)
    if name == "online_gb":
        first, second = min(first, 8), min(second, 8)
    base = Facts(is_highly_available=available, clusters=1)
    found = [
        {
            one.settings["database"]: one
            for one in metadata_stage(dataclasses.replace(base, **{name: value}), PRICES, cloud, HOME[cloud])
        }
        for value in sorted((first, second))
    ]
    for way, less in found[0].items():
        assert less.usd_per_month <= found[1][way].usd_per_month * (1 + 1e-12)
        assert all(line.quantity >= 0 for line in less.lines)
        assert less.usd_per_month == pytest.approx(total(less.lines))


def test_every_region_has_an_answer() -> None:
    for cloud in CLOUDS:
        for region in PRICES.regions(cloud):
            assert metadata_stage(Facts(), PRICES, cloud, region)
    with pytest.raises(DeclarationError, match="No machine with a price"):
        metadata_stage(Facts(online_gb=1e6), PRICES, "aws", "us-east-1")
    (managed,) = metadata_stage(Facts(database_vcpus=1e4), PRICES, "aws", "us-east-1")
    assert "no machine with a price" in managed.notes[0]
