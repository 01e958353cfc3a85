from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from loopwright.data.contract.check import expect, unique
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def test_blank_charges_of_telco_are_missing(lake: Lake, shared_data: Path) -> None:
    source = files(str(shared_data / "telco_churn.parquet"))
    rules = [
        unique("customerID"),
        column("MonthlyCharges", "float", between=(0, 200)),
        column("Churn", "category", among=["Yes", "No"]),
        expect("TotalCharges IS NOT NULL OR tenure = 0", name="only new customers have no total"),
    ]
    lenient = Dataset("lenient", source, contract=[*rules, column("TotalCharges", "float", required=False)])
    report = lake.ingest(lenient)
    assert (report.rows_accepted, report.rows_quarantined) == (7043, 0)
    table = lake.read(lake.snapshot("lenient"), columns=["TotalCharges", "tenure"])
    assert table["TotalCharges"].null_count == 11
    strict = Dataset("strict", source, key="customerID", contract=[*rules, column("TotalCharges", "float")])
    report = lake.ingest(strict)
    assert (report.rows_accepted, report.rows_quarantined) == (7032, 11)
    assert report.reasons == {"required(TotalCharges)": 11}
    assert {row.raw["tenure"] for row in lake.quarantine("strict").entries()} == {0}  # type: ignore[index]
    assert {row.raw["TotalCharges"] for row in lake.quarantine("strict").entries()} == {" "}  # type: ignore[index]


def test_air_quality_by_station_and_hour(lake: Lake, shared_data: Path) -> None:
    path = shared_data / "beijing_air_quality.parquet"
    dataset = Dataset(
        "air",
        files(str(path)),
        event_time="ts",
        key=("station_id", "ts"),
        contract=[column("PM2_5", "float", required=False, between=(0, 999)), column("RAIN", "float", required=False)],
    )
    report = lake.ingest(dataset)
    assert (report.rows_read, report.rows_accepted, report.rows_duplicate) == (420_768, 420_768, 0)
    table = lake.read(lake.snapshot("air"), columns=["ts", "PM2_5", "RAIN", "wd"])
    assert [table[name].null_count for name in ("PM2_5", "RAIN", "wd")] == [8_739, 390, 1_822]
    assert round(pc.mean(table["PM2_5"]).as_py(), 2) == 79.79
    assert str(table["ts"].type) == "timestamp[us, tz=UTC]"
    raw = pq.read_table(path, columns=["PM2_5"])
    assert pc.sum(table["PM2_5"]).as_py() == pytest.approx(pc.sum(raw["PM2_5"]).as_py(), rel=1e-6)
