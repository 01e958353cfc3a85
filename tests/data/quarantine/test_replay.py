from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import IngestStoppedError, SourceError, UnknownNameError, UsageError
from loopwright.data.contract.check import row_count, unique
from loopwright.data.contract.column import column
from loopwright.data.contract.contract import Contract
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.quarantine.allowed import allowed
from loopwright.data.quarantine.export import export
from loopwright.data.quarantine.repair import Repair
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

CITY = column("city", "category", among=["Oslo", "Bergen"])
KM = column("km", "float", at_least=0)
ROWS = "id,city,km\n1,Oslo,3\n2,Olso,4\n3,Bergen,x\n4,Paris,-7\n5,Oslo,4 km\n1,Oslo,9\n"


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def trips(**changes: object) -> Dataset:
    declared: dict[str, object] = {"name": "trips", "source": files("*.csv"), "key": "id", "contract": [CITY, KM]}
    return Dataset(**(declared | changes))  # type: ignore[arg-type]


@pytest.fixture
def bad(lake: Lake, tmp_path: Path) -> Lake:
    (tmp_path / "a.csv").write_text(ROWS)
    assert lake.ingest(trips()).rows_quarantined == 5
    return lake


def inside(lake: Lake) -> list[object]:
    return sorted(lake.read(lake.snapshot("trips"))["id"].to_pylist())


def outside(lake: Lake) -> list[int]:
    return sorted(row.source_row for row in lake.quarantine("trips").entries())


def test_rows_are_grouped_by_reason(bad: Lake) -> None:
    groups = bad.quarantine("trips").groups()
    assert [(one.label, one.rows, one.examples) for one in groups] == [
        ("among(city)", 2, ("Olso", "Paris")),
        ("type(km)", 2, ("4 km", "x")),
        ("at_least(km)", 1, ("-7",)),
        ("key(id)", 1, ('taken by a.csv row 0; with on_duplicate="upsert" the newer row would count',)),
    ]
    assert groups[0].sources == {"a.csv": 2}
    cells = {
        (reason.check, allowed(trips().contract, reason))
        for row in bad.quarantine("trips").entries()
        for reason in row.reasons
    }
    assert cells == {
        ("among", "Oslo, Bergen"),
        ("type", "float"),
        ("at_least", "at least 0"),
        ("key", "one row per key, or on_duplicate='upsert'"),
    }


def test_a_repair_puts_rows_in_and_says_so(bad: Lake, clock: ManualClock) -> None:
    came = bad.quarantine("trips").entries()[0].arrived_at
    clock.advance(timedelta(days=1).total_seconds())
    report = bad.replay(trips(), Repair(where="city = 'Olso'", changes={"city": "'Oslo'"}), by="ada")
    assert (report.rows, report.accepted, report.still_out) == (1, 1, 0)
    row = bad.row("trips", "id", 2)
    assert row is not None
    assert (row.source, row.source_row, row.row["city"]) == ("a.csv", 1, "Oslo")
    assert row.arrived_at == clock.now()  # nobody could have known it before
    report = bad.replay(trips(), Repair(check="type(km)", changes={"km": "replace(km, ' km', '')"}), by="bob")
    assert (report.rows, report.accepted, report.still_out, report.reasons) == (2, 1, 1, {"type(km)": 1})
    assert inside(bad) == [1, 2, 5]
    assert outside(bad) == [2, 3, 5]
    assert {one.arrived_at for one in bad.quarantine("trips").entries()} == {came}
    records = bad.replays("trips")
    assert [(one.by, one.report.rows_accepted) for one in records] == [("bob", 1), ("ada", 1)]
    assert records[1].repair == {"where": "city = 'Olso'", "set": {"city": "'Oslo'"}}
    assert records[1].first_arrival == came.isoformat()


def test_a_relaxed_contract_takes_all_that_now_pass(bad: Lake) -> None:
    lenient = trips(contract=[column("city", "string"), KM])
    report = bad.replay(lenient, by="ada")
    assert (report.rows, report.accepted, report.still_out) == (5, 1, 4)
    assert report.reasons == {"at_least(km)": 1, "key(id)": 1, "type(km)": 2}
    again = bad.replay(lenient, by="ada")
    assert (again.accepted, again.still_out) == (0, 4)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_an_exported_and_edited_file_comes_back(ending: str, bad: Lake, tmp_path: Path) -> None:
    path = tmp_path / f"out/rows.{ending}"
    assert export(bad.quarantine("trips").entries(limit=None), path) == 5
    if ending == "parquet":
        table = pq.read_table(path)
        fixed = ["Oslo" if one == "Olso" else one for one in table["city"].to_pylist()]
        pq.write_table(table.set_column(table.column_names.index("city"), "city", [fixed]), path)
    else:
        path.write_text(
            "".join(line for line in path.read_text().replace('"Olso"', '"Oslo"').splitlines(keepends=True))
        )
    report = bad.replay(trips(), Repair(file=path), by="ada")
    assert (report.rows, report.accepted, report.still_out, report.gone) == (5, 1, 4, 0)
    report = bad.replay(trips(), Repair(file=path), by="ada")  # the same file again
    assert (report.accepted, report.still_out, report.gone) == (0, 4, 1)
    assert inside(bad) == [1, 2]


def test_rows_that_are_there_already_leave_as_known(bad: Lake, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("id,city,km\n2,Oslo,4\n")
    bad.ingest(trips())
    report = bad.replay(trips(), Repair(where="id = '2'", changes={"city": "'Oslo'"}), by="ada")
    assert (report.accepted, report.known) == (0, 1)
    assert 1 not in outside(bad)


def test_an_older_revision_never_wins_over_a_newer_one(lake: Lake, clock: ManualClock, tmp_path: Path) -> None:
    dataset = trips(on_duplicate="upsert")
    (tmp_path / "a.csv").write_text("id,city,km\n1,Oslo,1\n2,Oslo,1\n1,Oslo,two\n2,Oslo,two\n")
    lake.ingest(dataset)
    clock.advance(60)
    (tmp_path / "b.csv").write_text("id,city,km\n1,Oslo,3\n")
    lake.ingest(dataset)
    clock.advance(60)
    report = lake.replay(dataset, Repair(changes={"km": "'2'"}), by="ada")
    assert (report.accepted, report.outdated) == (1, 1)
    rows = {row["id"]: row["km"] for row in lake.read(lake.snapshot("trips")).to_pylist()}
    assert rows == {1: 3.0, 2: 2.0}
    assert outside(lake) == [2]


def test_a_row_kept_out_twice_comes_in_once(lake: Lake, tmp_path: Path, clock: ManualClock) -> None:
    for km in ("x", "y"):
        (tmp_path / "a.csv").write_text(f"id,city,km\n1,Oslo,{km}\n2,Oslo,2\n")
        lake.ingest(trips())
        clock.advance(60)
    assert outside(lake) == [0, 0]
    report = lake.replay(trips(), Repair(changes={"km": "CASE km WHEN 'y' THEN '2' ELSE '1' END"}), by="ada")
    assert (report.rows, report.accepted) == (1, 1)
    assert lake.read(lake.snapshot("trips"), where="id = 1")["km"].to_pylist() == [2.0]
    assert outside(lake) == []


def test_checks_of_a_whole_ingest_do_not_judge_a_replay(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    dataset = trips(contract=[CITY, KM, row_count(at_most=1, at_least=1, on_failure="stop")])
    lake.ingest(dataset)
    report = lake.replay(dataset, Repair(changes={"city": "'Oslo'", "km": "'1'"}), by="ada")
    assert report.accepted == 4
    stopping = trips(name="others", contract=[KM, column("city", "category", among=["Oslo"], on_failure="quarantine")])
    lake.ingest(stopping)
    before = lake.quarantine("others").rows
    harder = trips(name="others", contract=[KM, column("city", "category", among=["Oslo"], on_failure="stop")])
    with pytest.raises(IngestStoppedError):
        lake.replay(harder, by="ada")
    assert lake.quarantine("others").rows == before


def test_sensitive_values_stay_pseudonyms(lake: Lake) -> None:
    rules = [column("who", "string", sensitive="hash", matches="[a-z]+"), column("pin", "int", sensitive="drop"), KM]
    dataset = Dataset("people", push(), contract=rules)
    rows = [
        {"who": "ada", "pin": 1, "km": 1.0},
        {"who": "ada", "pin": 2, "km": -1.0},
        {"who": "B?!", "pin": 3, "km": 1.0},
    ]
    lake.push(dataset, rows, batch_id="one")
    report = lake.replay(dataset, Repair(changes={"km": "abs(km)"}), by="ada")
    assert (report.accepted, report.withheld) == (1, 1)
    names = lake.read(lake.snapshot("people"))["who"].to_pylist()
    assert len(set(names)) == 1  # the pseudonym of 'ada', not one of the pseudonym
    assert "pin" not in lake.read(lake.snapshot("people")).column_names
    report = lake.replay(dataset, Repair(changes={"who": "'grace'", "pin": "4"}), by="ada")
    assert report.accepted == 1
    assert len(set(lake.read(lake.snapshot("people"))["who"].to_pylist())) == 2
    assert "grace" not in repr(lake.replays("people"))
    assert lake.replays("people")[0].repair == {"set": {"who": "•••", "pin": "•••"}}


def test_broken_lines_and_files_stay(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,city,km\n1,Oslo,1\n2,Oslo,2,3\n")
    (tmp_path / "b.csv").write_text("id,id\n1,2\n")
    lake.ingest(trips())
    assert lake.replay(trips(), by="ada").rows == 0
    assert lake.quarantine("trips").rows == 2
    assert export(lake.quarantine("trips").entries(), tmp_path / "out.jsonl") == 0


def test_nothing_to_replay(lake: Lake) -> None:
    assert lake.replay(trips(), by="ada").rows == 0
    assert lake.replays("trips") == []
    assert lake.quarantine("trips").groups() == []


def test_mistakes_are_told_and_change_nothing(bad: Lake, tmp_path: Path) -> None:
    before = outside(bad)
    with pytest.raises(UnknownNameError, match="'kmm'"):
        bad.replay(trips(), Repair(changes={"kmm": "1"}), by="ada")
    for repair in (
        {"where": "nothing > 3"},
        {"changes": {"km": "sqrt("}},
        {"changes": {"km": "km::INTEGER"}},
        {"where": "km::INTEGER > 1"},
    ):
        with pytest.raises(UsageError, match="cannot be computed"):
            bad.replay(trips(), Repair(**repair), by="ada")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no single SQL expression"):
        Repair(where="true; DROP TABLE x")
    with pytest.raises(UsageError, match="says itself"):
        Repair(where="true", file=tmp_path / "x.csv")
    with pytest.raises(UsageError, match="is on 'km'"):
        bad.replay(trips(), Repair(check="type(km)", column="city"), by="ada")
    file = tmp_path / "edited.csv"
    for text, error in (
        ("id,km\n1,2\n", UsageError),
        ("_id,km\na,1\na,2\n", UsageError),
        ("_id,km\na,1,2\n", SourceError),
    ):
        file.write_text(text)
        with pytest.raises(error):
            bad.replay(trips(name="trips", source=push()), Repair(file=file), by="ada")
    with pytest.raises(SourceError):
        bad.replay(trips(), Repair(file=tmp_path / "absent.csv"), by="ada")
    with pytest.raises(UsageError, match="names no format"):
        export([], tmp_path / "rows.xlsx")

    assert outside(bad) == before


def test_a_strict_contract_keeps_rows_with_other_columns_out(bad: Lake) -> None:
    strict = trips(contract=Contract.of([column("id", "int"), CITY], strict=True))
    assert bad.replay(strict, by="ada").still_out == 5
    assert len(outside(bad)) == 5
    assert bad.replay(trips(contract=[column("city", "string"), KM]), by="ada").accepted == 1  # and they can come later


def test_unique_conflicts_name_the_row(lake: Lake, tmp_path: Path) -> None:
    dataset = trips(key="id", contract=[unique("city")])
    (tmp_path / "a.csv").write_text("id,city,km\n1,Oslo,3\n")
    lake.ingest(dataset)
    (tmp_path / "b.csv").write_text("id,city,km\n2,Oslo,3\n1,Bergen,4\n")
    lake.ingest(dataset)
    values = {reason.label: reason.value for row in lake.quarantine("trips").entries() for reason in row.reasons}
    assert values["unique(city)"] == "taken by a.csv row 0, stored"
    assert str(values["key(id)"]).startswith("taken by a.csv row 0, stored; with on_duplicate")
    assert json.dumps(values)
