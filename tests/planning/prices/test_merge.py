from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning.prices.diff import diff_prices
from loopwright.planning.prices.merge import merge_prices, write_prices
from loopwright.planning.prices.table import PriceTable

TODAY = date(2026, 11, 23)
PRICES = PriceTable.load(today=TODAY)
HEAD = "provider,region,type,on_demand_usd_per_hour,source,as_of"


def own(tmp_path: Path, *rows: str, head: str = HEAD) -> Path:
    path = tmp_path / "own.csv"
    path.write_text("\n".join((head, *rows)) + "\n")
    return path


def test_a_row_of_ones_own_replaces_ours_and_the_rest_stays(tmp_path: Path) -> None:
    found = merge_prices(PRICES, own(tmp_path, "aws,us-east-1,c6i.xlarge,0.165,our contract,2026-11-01"))
    one = found.table.instance("aws", "us-east-1", "c6i.xlarge")
    assert (one.on_demand.usd, one.on_demand.source, one.on_demand.as_of) == (0.165, "our contract", "2026-11-01")
    before = PRICES.instance("aws", "us-east-1", "c6i.xlarge")
    assert (one.vcpus, one.spot, one.spot_high) == (before.vcpus, before.spot, before.spot_high)
    assert found.changed == ("aws us-east-1 c6i.xlarge",)
    assert PRICES.instance("aws", "us-east-1", "c6i.xlarge").on_demand.usd == 0.17
    assert len(found.table.machines) == len(PRICES.machines)


def test_a_new_machine_needs_all_of_its_row(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"line 2, vcpus=''.*must not be empty"):
        merge_prices(PRICES, own(tmp_path, "aws,us-east-1,x9.huge,5,our contract,2026-11-01"))
    head = f"{HEAD},vcpus,memory_gib,architecture"
    row = "aws,us-east-1,x9.huge,5,our contract,2026-11-01,64,256,arm"
    found = merge_prices(PRICES, own(tmp_path, row, head=head))
    assert found.came == ("aws us-east-1 x9.huge",)
    assert found.table.instance("aws", "us-east-1", "x9.huge").cores == 64


def test_a_price_without_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="source=''"):
        merge_prices(PRICES, own(tmp_path, "aws,us-east-1,c6i.xlarge,0.165,,2026-11-01"))


def test_prices_far_apart_need_a_choice(tmp_path: Path) -> None:
    path = own(tmp_path, "aws,us-east-1,c6i.xlarge,0.20,our contract,2026-11-01")
    with pytest.raises(DeclarationError, match=r"0\.17 here, 0\.2 in line 2.*--take theirs"):
        merge_prices(PRICES, path)
    theirs = merge_prices(PRICES, path, take="theirs")
    assert theirs.table.instance("aws", "us-east-1", "c6i.xlarge").on_demand.usd == 0.20
    assert theirs.conflicts[0].column == "on_demand_usd_per_hour"
    ours = merge_prices(PRICES, path, take="ours")
    assert ours.table.instance("aws", "us-east-1", "c6i.xlarge").on_demand.usd == 0.17
    assert ours.same == ("aws us-east-1 c6i.xlarge",)


def test_a_spot_price_brings_its_own_day_and_zones(tmp_path: Path) -> None:
    head = "provider,region,type,spot_usd_per_hour,source,as_of"
    path = own(tmp_path, "aws,us-east-1,c6i.xlarge,0.07,spot history,2026-11-20", head=head)
    one = merge_prices(PRICES, path).table.instance("aws", "us-east-1", "c6i.xlarge")
    assert one.spot is not None
    assert (one.spot.usd, one.spot.source, one.spot.as_of, one.spot_low) == (0.07, "spot history", "2026-11-20", None)
    assert one.on_demand.as_of == "2026-07-20"


def test_units_and_commitments_too(tmp_path: Path) -> None:
    head = "provider,service,tier,unit,usd,from_quantity,source,as_of"
    path = own(tmp_path, "aws,egress,internet,GB,0.088,100.0,our contract,2026-11-01", head=head)
    found = merge_prices(PRICES, path)
    assert (found.file, found.changed) == ("units.csv", ("aws egress internet 100",))
    assert [step.price.usd for step in found.table.tiers("aws", "egress", "internet")][:3] == [0.0, 0.088, 0.085]
    head = "provider,region,type,commit_1y_usd_per_month,source,as_of"
    path = own(tmp_path, "aws,us-east-1,c6i.xlarge,80,our contract,2026-11-01", head=head)
    committed = merge_prices(PRICES, path).table.instance("aws", "us-east-1", "c6i.xlarge").commit_1y
    assert committed is not None
    assert committed.usd * 730 == pytest.approx(80)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="no price table"):
        merge_prices(PRICES, own(tmp_path, "1,2", head="a,b"))
    with pytest.raises(DeclarationError, match="cannot be read"):
        merge_prices(PRICES, tmp_path / "nowhere.csv")
    rows = ["aws,us-east-1,c6i.xlarge,0.165,our contract,2026-11-01"] * 2
    with pytest.raises(DeclarationError, match="stands in line 2 already"):
        merge_prices(PRICES, own(tmp_path, *rows))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = merge_prices(PRICES, own(tmp_path, "aws,us-east-1,c6i.xlarge,0.165,our contract,2026-11-01"))
    write_prices(found.table, tmp_path / "prices")
    again = PriceTable.load(tmp_path / "prices", today=TODAY)
    assert again.machines == found.table.machines
    assert again.units == found.table.units
    assert diff_prices(found.table, again).is_empty


@given(factor=st.floats(0.92, 1.09))
def test_merging_changes_what_it_names_and_nothing_else(
    factor: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    price = 0.17 * factor
    folder = tmp_path_factory.mktemp("own")
    merged = merge_prices(PRICES, own(folder, f"aws,us-east-1,c6i.xlarge,{price!r},our contract,2026-11-01")).table
    changed = [one.type for one, other in zip(PRICES.machines, merged.machines, strict=True) if one != other]
    assert changed == ["c6i.xlarge"]
