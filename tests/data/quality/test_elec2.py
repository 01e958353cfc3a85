"""The known defects of Elec2: which of them contract, profile and drift find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from loopwright.core.storage.duck import connect
from loopwright.data.contract.check import expect, unique
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.quality.infer import infer
from loopwright.data.quality.profile_drift import compare
from loopwright.data.quality.profile_findings import findings
from loopwright.data.quality.profile_run import measure
from loopwright.data.sources.files import files

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores

SHIFT = 17_424
REAL_DATE = "CAST(strptime(CAST(date_yymmdd AS VARCHAR), '%y%m%d') AS DATE)"


@pytest.fixture
def path(shared_data: Path) -> str:
    return str(shared_data / "elec2.parquet")


def said(path: str) -> set[tuple[str, str]]:
    with connect() as con:
        profile = measure(con, f"'{path}'", "elec2")
    return {(one.kind, one.column) for one in findings(profile)}


def test_a_day_that_is_there_twice_is_found_by_a_unique_rule(path: str, stores: Stores) -> None:
    rules = [unique("date_yymmdd", "period"), column("period", "float")]
    lake = Lake(stores)
    report = lake.ingest(Dataset("elec", files(path), contract=rules))
    bad = {row.source_row for row in lake.quarantine("elec").entries(limit=None)}
    assert set(range(SHIFT, SHIFT + 48)) <= bad  # the second 4 May 1997
    # The other rows are those whose date, with day and month swapped, is that of another day: swapped dates collide.
    assert report.rows_quarantined == len(bad)
    with connect() as con:
        profile = measure(con, f"'{path}'", "elec2", key=["date_yymmdd", "period"])
    assert profile.duplicate_keys == report.rows_quarantined


def test_a_weekday_that_shifts_is_found_by_a_rule_between_columns_only(path: str, stores: Stores) -> None:
    lake = Lake(stores)
    rule = expect(f"day = isodow({REAL_DATE})", name="day is the weekday of the date")
    lake.ingest(Dataset("elec", files(path), contract=[rule]))
    with connect() as con:
        lake._stores.tables.attach(con, "bad", "quarantine/elec")  # which rows, by number
        first, late = con.execute(
            f"SELECT min(_source_row), count(*) FILTER (_source_row >= {SHIFT}) FROM bad"
        ).fetchall()[0]
    assert first == SHIFT  # the very row
    assert late > 0.9 * (45_312 - SHIFT)  # every row after the shift, but for a few swapped dates
    assert not [one for one in said(path) if one[1] == "day"]  # its distribution never changes


def test_constant_columns_that_come_alive_are_found_by_profile_and_drift(path: str) -> None:
    assert {("still", "vicprice"), ("still", "vicdemand"), ("still", "transfer")} <= said(path)
    with connect() as con:
        con.execute(f"CREATE VIEW early AS SELECT * FROM '{path}' WHERE row < {SHIFT - 48}")
        con.execute(f"CREATE VIEW late AS SELECT * FROM '{path}' WHERE row >= {SHIFT + 48}")
        before = measure(con, "early", "early", with_pairs=False)
        change = compare(before, measure(con, "late", "late", like=before, with_pairs=False))
        contract = infer(con, "early").contract
    drifted = {one.name for one in change.columns if one.drift and one.drift.drifted}
    assert {"vicprice", "vicdemand", "transfer"} <= drifted
    assert not {"day", "period"} & drifted
    assert (found := contract.column("transfer")) is not None
    assert found.at_least is not None


def test_swapped_dates_are_found_by_profile_and_contract(path: str) -> None:
    assert {("falls_back", "date_yymmdd"), ("falls_back", "date")} <= said(path)
    table = pq.read_table(path, columns=["row", "ts_nominal", "date_yymmdd"])
    with connect() as con:
        con.register("rows", table)
        valid = "TRY_CAST(strptime(CAST(date_yymmdd AS VARCHAR), '%y%m%d') AS DATE)"
        query = (
            f"SELECT count(DISTINCT date_yymmdd) FROM rows WHERE abs(CAST(ts_nominal AS DATE) - TRY({valid})) > 1 "
            f"OR TRY({valid}) IS NULL"
        )
        assert con.execute(query).fetchall()[0][0] == 27
