from __future__ import annotations

import csv
import shutil
from datetime import date
from pathlib import Path

import pytest

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.planning.prices.rows import SHIPPED
from loopwright.planning.prices.table import PriceTable

TODAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def prices() -> PriceTable:
    return PriceTable.load(today=TODAY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("instances.csv", "units.csv", "commitments.csv"):
        shutil.copy(SHIPPED / name, tmp_path / name)
    return tmp_path


def change(path: Path, line: int, column: str, value: str) -> None:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[line - 1][rows[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def test_the_shipped_table_is_usable(prices: PriceTable) -> None:
    assert prices.providers() == ("aws", "gcp", "azure")
    assert len(prices.machines) > 190
    assert prices.regions("aws")[0] == "us-east-1"
    for one in prices.machines:
        assert one.on_demand.source
        assert one.vcpus > 0
        assert one.memory_gib > 0
        assert one.on_demand.spread > 0
        assert one.spot is None or one.spot.usd <= one.on_demand.usd
        assert one.commit_3y is None or one.commit_1y is None or one.commit_3y.usd < one.commit_1y.usd
    for steps in prices.units.values():
        assert all(step.price.source for step in steps)
        assert [step.from_quantity for step in steps] == sorted({step.from_quantity for step in steps})


def test_figures_are_those_of_their_source(prices: PriceTable, shared_data: Path) -> None:
    with (shared_data / "prices.csv").open() as file:
        known = {(row["provider"], row["region"], row["instance_type"]): row for row in csv.DictReader(file)}
    for one in prices.machines:
        row = known[one.provider, one.region, one.type]
        assert one.on_demand.usd == float(row["on_demand_usd_per_hour"])
        assert (one.spot.usd if one.spot else None) == (float(row["spot_usd_per_hour"] or 0) or None)
        assert one.on_demand.as_of == row["as_of"].replace("undated", "")
    left_out = set(known) - {(one.provider, one.region, one.type) for one in prices.machines}
    assert left_out == {("azure", "westus2", "Standard_ND96isr_H200_v5")}  # its memory is in no source
    with (shared_data / "commitment_prices.csv").open() as file:
        for row in csv.DictReader(file):
            one = prices.instance("gcp", row["region"], row["instance_type"])
            for price, column in (
                (one.commit_1y, "commit_1y_usd_per_month"),
                (one.commit_3y, "commit_3y_usd_per_month"),
            ):
                assert (price.usd * 730 if price else 0.0) == pytest.approx(float(row[column] or 0))


def test_zones_are_kept(prices: PriceTable) -> None:
    one = prices.instance("aws", "us-east-1", "p4d.24xlarge")
    assert (one.spot_low, one.spot_high) == (2.4655, 8.1915)
    assert one.spot is not None
    assert one.spot.spread > one.on_demand.spread


def test_architectures_and_cores(prices: PriceTable) -> None:
    arm = {one.type for one in prices.machines if one.architecture == "arm"}
    assert {"c7g.xlarge", "t4g.medium", "g5g.xlarge", "m8g.2xlarge", "c4a-standard-4", "t2a-standard-4"} <= arm
    assert {"Standard_D4ps_v5", "Standard_D4pls_v5"} <= arm
    assert not arm & {"c6i.xlarge", "g4dn.xlarge", "g5.xlarge", "g6e.xlarge", "c4-standard-4", "Standard_D4as_v5"}
    assert prices.instance("aws", "us-east-1", "c6i.xlarge").cores == 2
    assert prices.instance("aws", "us-east-1", "c7g.xlarge").cores == 4
    assert prices.instance("aws", "us-east-1", "t3.medium").is_burstable


def test_measured_commitments_come_before_averages(prices: PriceTable) -> None:
    measured = prices.instance("aws", "us-east-1", "t3.medium").commit_1y
    average = prices.instance("aws", "us-east-1", "c6i.xlarge").commit_1y
    assert measured is not None
    assert average is not None
    assert measured.usd * 730 == pytest.approx(19.05)
    assert average.usd == pytest.approx(0.17 * 0.68)
    assert "an average over families" in average.source
    assert average.spread > 0.1
    assert prices.instance("gcp", "us-central1", "t2a-standard-4").commit_1y is None


def test_instances_by_cloud_and_region(prices: PriceTable) -> None:
    found = prices.instances(["aws", "gcp"], ["us-east-1", "us-central1"])
    assert {(one.provider, one.region) for one in found} == {("aws", "us-east-1"), ("gcp", "us-central1")}
    with pytest.raises(UnknownNameError, match=r"'us-east-9'.*Did you mean 'us-east-"):
        prices.instances(["aws"], ["us-east-9"])
    with pytest.raises(UnknownNameError, match=r"cloud with prices 'awz'.*aws"):
        prices.instances(["awz"])
    with pytest.raises(UnknownNameError, match=r"Did you mean 'c6i.xlarge'"):
        prices.instance("aws", "us-east-1", "c6i.xlarg")


def test_units(prices: PriceTable) -> None:
    assert prices.unit("aws", "nat_gateway", "gb").usd == 0.045
    assert prices.unit("aws", "egress", "internet").usd == 0.09  # the first that is not free
    with pytest.raises(UnknownNameError, match=r"service .*'nat_gatewy' of aws.*nat_gateway"):
        prices.unit("aws", "nat_gatewy", "gb")
    with pytest.raises(UnknownNameError, match=r"tier .*'hourr' of aws nat_gateway.*hour"):
        prices.unit("aws", "nat_gateway", "hourr")
    with pytest.raises(UnknownNameError, match="cloud"):
        prices.unit("hetzner", "nat_gateway", "gb")


def test_a_price_that_a_cloud_lacks_is_borrowed_and_said(prices: PriceTable) -> None:
    assert not prices.has("azure", "monitoring", "alarm_month")
    borrowed = prices.unit_or_nearest("azure", "monitoring", "alarm_month")
    assert (borrowed.usd, borrowed.spread) == (0.1, 0.5)
    assert borrowed.source.startswith("no price on record for azure; the dearest of the others, aws")
    assert prices.unit_or_nearest("aws", "nat_gateway", "gb") == prices.unit("aws", "nat_gateway", "gb")
    with pytest.raises(UnknownNameError):
        prices.unit_or_nearest("aws", "nat_gateway", "nothing")


def test_a_stale_table_is_said_and_widens(prices: PriceTable) -> None:
    later = PriceTable.load(today=date(2029, 1, 1))
    assert later.stale is not None
    assert "older than a year" in later.stale
    assert later.warnings[0] == later.stale
    for one, aged in zip(prices.machines, later.machines, strict=True):
        assert aged.on_demand.spread >= one.on_demand.spread


def test_doubtful_rows_are_kept_and_said(folder: Path) -> None:
    change(folder / "instances.csv", 3, "spot_usd_per_hour", "0.0832")
    change(folder / "instances.csv", 9, "spot_usd_per_hour", "0.001")
    change(folder / "instances.csv", 9, "spot_low_usd_per_hour", "")
    change(folder / "instances.csv", 10, "on_demand_usd_per_hour", "0.25")
    table = PriceTable.load(folder, today=TODAY)
    said = {(one.line, one.text) for one in table.doubtful}
    assert any(line == 3 and "no spot market" in text for line, text in said)
    assert any(line == 9 and "more than spot markets give" in text for line, text in said)
    assert any(line == 10 and "off its family c6i" in text for line, text in said)
    assert any(line == 51 and "in one zone" in text for line, text in said)


def test_a_region_far_from_the_others_is_doubtful(folder: Path) -> None:
    with (folder / "instances.csv").open() as file:
        lines = list(csv.reader(file))
    head = lines[0]
    line = next(
        number
        for number, row in enumerate(lines, 1)
        if row[head.index("region")] == "us-west-2" and row[head.index("type")] == "g5.xlarge"
    )
    change(folder / "instances.csv", line, "on_demand_usd_per_hour", "2.5")
    table = PriceTable.load(folder, today=TODAY)
    assert any(one.line == line and "times the median of the regions" in one.text for one in table.doubtful)


@pytest.mark.parametrize(
    ("file", "column", "value", "rule"),
    [
        ("instances.csv", "on_demand_usd_per_hour", "700.0", "no machine costs 200"),
        ("instances.csv", "on_demand_usd_per_hour", "0", "more than 0"),
        ("instances.csv", "on_demand_usd_per_hour", "-1", "more than 0"),
        ("instances.csv", "on_demand_usd_per_hour", "0,17", "a figure was expected"),
        ("instances.csv", "on_demand_usd_per_hour", "nan", "a figure was expected"),
        ("instances.csv", "on_demand_usd_per_hour", "", "must not be empty"),
        ("instances.csv", "spot_usd_per_hour", "0.2", "spot is dearer than on demand"),
        ("instances.csv", "spot_low_usd_per_hour", "0.07", "does not hold the price"),
        ("instances.csv", "accelerators", "12", "1/8, 1/6"),
        ("instances.csv", "architecture", "risc", "x86 or arm"),
        ("instances.csv", "source", "", "must not be empty"),
        ("instances.csv", "as_of", "20.7.2026", "YYYY-MM-DD"),
        ("instances.csv", "vcpus", "many", "a figure was expected"),
        ("units.csv", "usd", "-0.1", "more than 0"),
        ("units.csv", "usd", "200", "no unit costs 200"),
        ("units.csv", "unit", "", "must not be empty"),
        ("commitments.csv", "commit_1y_usd_per_month", "x", "a figure was expected"),
    ],
)
def test_a_broken_row_is_refused_with_its_place(folder: Path, file: str, column: str, value: str, rule: str) -> None:
    line = 10  # c6i.xlarge; the egress of a cloud; a commitment
    change(folder / file, line, column, value)
    with pytest.raises(DeclarationError) as caught:
        PriceTable.load(folder, today=TODAY)
    assert f"{file}, line {line}, {column}={value!r}" in str(caught.value)
    assert rule in str(caught.value)
    assert "loopwright prices check" in str(caught.value)


def test_one_message_for_many_rows(folder: Path) -> None:
    for line in (5, 6, 7):
        change(folder / "instances.csv", line, "vcpus", "none")
    with pytest.raises(DeclarationError, match=r"line 5.*And 2 more\."):
        PriceTable.load(folder, today=TODAY)


def test_a_free_unit_says_so(folder: Path) -> None:
    change(folder / "units.csv", 3, "usd", "0")
    with pytest.raises(DeclarationError, match="begins with 'free'"):
        PriceTable.load(folder, today=TODAY)


def test_the_same_row_twice_is_refused(folder: Path) -> None:
    path = folder / "commitments.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(DeclarationError, match="stands in line 2 already"):
        PriceTable.load(folder, today=TODAY)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no column"),
        (b"provider,region\xff\n", "cannot be read"),
        (b"provider,region,type\n", "no rows"),
        (b"provider,region,type\naws,us-east-1\n", "more or fewer cells"),
        (b"provider,region,type,vcpu\naws,us-east-1,x,2\n", "Did you mean 'vcpus'"),
    ],
)
def test_a_corrupt_file_is_one_message(folder: Path, content: bytes, said: str) -> None:
    (folder / "instances.csv").write_bytes(content)
    with pytest.raises(DeclarationError, match=said):
        PriceTable.load(folder, today=TODAY)


def test_a_folder_may_hold_one_table_only(tmp_path: Path, folder: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with pytest.raises(DeclarationError, match="has no price table"):
        PriceTable.load(own, today=TODAY)
    shutil.copy(folder / "units.csv", own / "units.csv")
    assert PriceTable.load(own, today=TODAY).providers() == ("aws", "gcp", "azure")
