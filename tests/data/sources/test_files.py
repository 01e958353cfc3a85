from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import ContractError, DeclarationError, IngestStoppedError, SourceError, TurnInProgressError
from loopwright.data.contract.check import fresh, row_count, unique
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest.lock import dataset_lock
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows_of(lake: Lake, name: str, column_name: str) -> list[object]:
    return lake.read(lake.snapshot(name), columns=[column_name])[column_name].to_pylist()


def test_every_format_gives_the_same_rows(lake: Lake, tmp_path: Path) -> None:
    rows = [{"id": 1, "city": "Oslo", "km": 1.5}, {"id": 2, "city": None, "km": None}]
    write(tmp_path / "d/a.csv", "id,city,km\n1,Oslo,1.5\n2,,\n")
    write(tmp_path / "d/b.tsv", "id\tcity\tkm\n1\tOslo\t1.5\n2\t\t\n")
    write(tmp_path / "d/c.jsonl", "\n".join(json.dumps(row) for row in rows) + "\n\n")
    write(tmp_path / "d/d.json", json.dumps(rows))
    write(tmp_path / "d/e.csv.gz", gzip.compress(b"\xef\xbb\xbfid;city;km\r\n1;Oslo;1.5\r\n2;;\r\n"))
    write(tmp_path / "d/g.csv", "id,city,km\n1,Oslo,1.5\n2,,")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d/f.parquet")
    for name in ("a.csv", "b.tsv", "c.jsonl", "d.json", "e.csv.gz", "f.parquet", "g.csv"):
        dataset = Dataset(
            "t" + name.replace(".", "_"),
            files(f"d/{name}"),
            contract=[column("id", "int"), column("city", "string", required=False)],
        )
        report = lake.ingest(dataset)
        assert report.rows_accepted == 2, (name, report)
        table = lake.read(lake.snapshot(dataset.name), columns=["id", "city", "km"])
        assert table.to_pylist() == rows, name


def test_a_wrong_type_in_row_40001_is_the_only_row_kept_out(lake: Lake, tmp_path: Path) -> None:
    lines = [f"{i},{i * 0.5}" for i in range(60_000)]
    lines[40_001] = "40001,much"
    lines[50_000] = "50000,1,2,3"
    write(tmp_path / "big.csv", "id,x\n" + "\n".join(lines) + "\n")
    report = lake.ingest(Dataset("big", files("big.csv"), key="id", contract=[column("x", "float")]))
    assert (report.rows_read, report.rows_accepted, report.rows_quarantined) == (60_000, 59_998, 2)
    first, second = sorted(lake.quarantine("big").entries(), key=lambda row: row.source_row)
    assert (first.source, first.source_row, first.raw) == ("big.csv", 40_001, {"id": "40001", "x": "much"})
    assert [(r.check, r.column, r.value) for r in first.reasons] == [("type", "x", "much")]
    assert (second.source_row, second.raw) == (50_000, "50000,1,2,3")
    assert second.reasons[0].value == "csv: 4 fields where the header has 2"
    origin = lake.row("big", "id", 59_999)
    assert origin is not None
    assert (origin.source, origin.source_row, origin.row) == ("big.csv", 59_999, {"id": 59_999, "x": 29_999.5})


def test_row_numbers_hold_across_blocks_and_broken_rows(lake: Lake, tmp_path: Path) -> None:
    pad = "p" * 400
    lines = [f"{i},{pad}" if i % 9_999 else f"{i}" for i in range(60_000)]  # 24 MB: several blocks
    write(tmp_path / "wide.csv", "id,pad\n" + "\n".join(lines) + "\n")
    report = lake.ingest(Dataset("wide", files("wide.csv")))
    assert report.rows_quarantined == 7
    assert [row.source_row for row in lake.quarantine("wide").entries()] == [i * 9_999 for i in range(7)]
    table = lake.read(lake.snapshot("wide"), columns=["id", "_source_row"])
    assert table["id"].to_pylist() == table["_source_row"].to_pylist()


def test_nothing_there_is_one_clear_error(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"No file matches data/\*\.csv .*Correct the path"):
        lake.ingest(Dataset("a", files("data/*.csv")))
    with pytest.raises(SourceError, match=r"There is no file or folder data/a\.csv"):
        lake.ingest(Dataset("a", files("data/a.csv")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_one_clear_error_and_read_later(lake: Lake, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id\n1\n")
    path.chmod(0)
    with pytest.raises(SourceError, match=r"a\.csv cannot be read: Permission denied"):
        lake.ingest(Dataset("a", files("a.csv")))
    path.chmod(0o600)
    assert lake.ingest(Dataset("a", files("a.csv"))).rows_accepted == 1


def test_empty_files_are_read_and_block_nobody(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "d/empty.csv", "")
    write(tmp_path / "d/header.csv", "id,x\n")
    write(tmp_path / "d/header2.csv", "id,x")
    write(tmp_path / "d/empty.jsonl", "")
    write(tmp_path / "d/rows.csv", "id,x\n1,2\n")
    pq.write_table(pa.table({"id": pa.array([], pa.int64()), "x": pa.array([], pa.int64())}), tmp_path / "d/e.parquet")
    dataset = Dataset("e", files("d"), contract=[column("x", "int")])
    report = lake.ingest(dataset)
    assert (report.rows_read, report.rows_accepted, report.units, report.refused) == (1, 1, 6, {})
    assert not lake.has_new(dataset)


def test_a_file_that_is_not_what_it_says_is_refused_as_one_entry(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "d/a.parquet", b"no parquet at all")
    write(tmp_path / "d/b.csv", "x\n1\n")
    write(tmp_path / "d/c.csv.gz", gzip.compress(b"x\n" + b"1\n" * 100_000)[:-20])
    write(tmp_path / "d/d.csv", "y,Y\n1,2\n")
    write(tmp_path / "d/e.csv", "z\n1\n")
    dataset = Dataset("mixed", files("d"), contract=[column("x", "int")])
    report = lake.ingest(dataset)
    assert report.rows_accepted == 1
    assert sorted(report.refused) == ["d/a.parquet", "d/c.csv.gz", "d/d.csv", "d/e.csv"]
    assert "there is no column 'x', which the contract requires" in report.refused["d/e.csv"]
    kept_out = lake.quarantine("mixed").entries(check="unit")
    assert [(row.source, row.source_row) for row in kept_out] == [(name, -1) for name in sorted(report.refused)]
    assert not lake.has_new(dataset)
    write(tmp_path / "d/e.csv", "x\n7\n")
    assert lake.ingest(dataset).rows_accepted == 1


def test_a_contract_that_no_file_fits_names_the_column(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "distance_km\n1\n")
    wrong = Dataset("a", files("a.csv"), contract=[column("distence_km", "float")])
    with pytest.raises(ContractError, match=r"unknown column 'distence_km'.*Did you mean 'distance_km'"):
        lake.ingest(wrong)
    assert lake.quarantine("a").rows == 0
    right = Dataset("a", files("a.csv"), contract=[column("distance_km", "float")])
    assert lake.ingest(right).rows_accepted == 1
    write(tmp_path / "b.csv", "distance_km\n2\n")
    with pytest.raises(ContractError, match="stored as DOUBLE, and the contract now says int"):
        lake.ingest(Dataset("a", files("*.csv"), contract=[column("distance_km", "int")]))
    assert lake.ingest(Dataset("a", files("*.csv"), contract=[column("distance_km", "float")])).rows_accepted == 1


def test_invalid_text_is_kept_out_cell_by_cell(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", b"id,name\n1,ok\n2,b\xffd\n3,fine\n")
    write(tmp_path / "b.csv", "id,name\n4,Blåbær\n".encode("latin-1"))
    assert lake.ingest(Dataset("a", files("a.csv"))).rows_accepted == 2
    assert lake.quarantine("a").entries()[0].reasons[0].value == "encoding: name is not valid UTF-8"
    lake.ingest(Dataset("b", files("b.csv", encoding="latin-1")))
    assert rows_of(lake, "b", "name") == ["Blåbær"]


def test_json_lines_that_are_none_are_kept_out(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"id": 1, "tags": {"a": [1]}}\n{"id": 2\n[3]\n{"id": "x", "extra": true}\n')
    report = lake.ingest(Dataset("a", files("a.jsonl"), contract=[column("id", "int")]))
    assert report.reasons == {"row()": 2, "type(id)": 1}
    assert rows_of(lake, "a", "tags") == ['{"a":[1]}']


def test_the_same_content_twice_adds_nothing(lake: Lake, tmp_path: Path) -> None:
    path = write(tmp_path / "d/a.csv", "id\n1\n2\n")
    dataset = Dataset("a", files("d/*.csv"))
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_accepted == 2
    assert not lake.has_new(dataset)
    os.utime(path, ns=(1, 1))
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_read == 0
    assert not lake.has_new(dataset)
    write(tmp_path / "d/b.csv", "id\n1\n2\n")
    report = lake.ingest(dataset)
    assert (report.rows_read, report.warnings) == (0, ("d/b.csv has the content of d/a.csv and adds nothing.",))
    assert not lake.has_new(dataset)
    assert len(lake.history("a")) == 1


def test_a_grown_file_gives_its_new_rows(lake: Lake, tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "id\n1\nbad\n")
    dataset = Dataset("log", files("log.csv"), contract=[column("id", "int")])
    lake.ingest(dataset)
    with path.open("a") as file:
        file.write("3\nworse\n")
    report = lake.ingest(dataset)
    assert (report.rows_read, report.rows_accepted, report.rows_quarantined) == (2, 1, 1)
    table = lake.read(lake.snapshot("log"))
    assert (table["id"].to_pylist(), table["_source_row"].to_pylist()) == ([1, 3], [0, 2])
    assert {row.source_row for row in lake.quarantine("log").entries(check="type")} == {1, 3}


def test_a_rewritten_file_needs_a_key(lake: Lake, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,x\n1,1\n2,2\n")
    keyless = Dataset("keyless", files("a.csv"))
    keyed = Dataset("keyed", files("a.csv"), key="id")
    upsert = Dataset("upsert", files("a.csv"), key="id", on_duplicate="upsert")
    ignore = Dataset("ignore", files("a.csv"), key="id", on_duplicate="ignore")
    for dataset in (keyless, keyed, upsert, ignore):
        assert lake.ingest(dataset).rows_accepted == 2
    write(path, "id,x\n1,1\n2,20\n3,30\n3,30\n3,31\n")
    report = lake.ingest(keyless)
    assert report.rows_read == 0
    assert "no key" in report.refused["a.csv"]
    report = lake.ingest(keyed)  # 1 equal, 2 changed, 3 new, 3 equal to it, 3 other
    assert (report.rows_accepted, report.rows_duplicate, report.rows_quarantined) == (1, 2, 2)
    assert report.reasons == {"key(id)": 2}
    assert rows_of(lake, "keyed", "x") == [1, 2, 30]
    report = lake.ingest(ignore)
    assert (report.rows_accepted, report.rows_duplicate, report.rows_quarantined) == (1, 4, 0)
    report = lake.ingest(upsert)
    assert (report.rows_accepted, report.rows_duplicate) == (3, 2)
    assert report.snapshot is not None
    assert report.snapshot.rows == 3
    found = lake.read(report.snapshot, columns=["id", "x"])
    assert sorted(found.to_pylist(), key=lambda row: row["id"]) == [
        {"id": 1, "x": 1},
        {"id": 2, "x": 20},
        {"id": 3, "x": 31},
    ]
    assert lake.read(lake.snapshot("upsert", version=1))["x"].to_pylist() == [1, 2]


def test_unique_across_ingests(lake: Lake, tmp_path: Path) -> None:
    dataset = Dataset("u", files("d/*.csv"), key="id", contract=[unique("mail")])
    write(tmp_path / "d/a.csv", "id,mail\n1,a\n2,b\n3,b\n4,\n5,\n")
    report = lake.ingest(dataset)
    assert (report.rows_accepted, report.reasons) == (4, {"unique(mail)": 1})
    write(tmp_path / "d/b.csv", "id,mail\n6,a\n7,c\n")
    assert lake.ingest(dataset).reasons == {"unique(mail)": 1}
    assert rows_of(lake, "u", "id") == [1, 2, 4, 5, 7]


def test_stop_stores_nothing(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id\n1\nx\n")
    with pytest.raises(IngestStoppedError, match=r"type\(id\): 1 rows"):
        lake.ingest(Dataset("a", files("a.csv"), contract=[column("id", "int", on_failure="stop")]))
    assert lake.history("a") == []
    with pytest.raises(IngestStoppedError, match="row_count"):
        lake.ingest(Dataset("a", files("a.csv"), contract=[row_count(at_least=3, on_failure="stop")]))
    report = lake.ingest(Dataset("a", files("a.csv"), contract=[row_count(at_least=3)]))
    assert report.warnings == ("row_count failed: 2 good rows",)


def test_freshness(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "at\n2025-12-31T23:00:00\n")
    dataset = Dataset("a", files("a.csv"), event_time="at", contract=[fresh("30m")])
    assert lake.ingest(dataset).warnings == ("fresh(30m) failed: the newest event is 3600 s old",)


def test_arrival_time_of_a_row_can_come_from_the_data(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "at,known\n2025-12-31T23:00:00,2026-01-05\n")
    lake.ingest(Dataset("a", files("a.csv"), event_time="at", arrival_time="known"))
    assert rows_of(lake, "a", "_arrived_at")[0].isoformat() == "2026-01-05T00:00:00+00:00"  # type: ignore[attr-defined]


def test_columns_may_come_and_go(lake: Lake, tmp_path: Path) -> None:
    dataset = Dataset("s", files("d/*.csv"), contract=[column("note", "string", required=False)])
    write(tmp_path / "d/a.csv", "id,note\n1,x\n")
    write(tmp_path / "d/b.csv", "id,extra\n2,5\n")
    write(tmp_path / "d/c.csv", "extra,id\n6.5,3\n")
    report = lake.ingest(dataset)
    assert (report.rows_accepted, report.rows_quarantined) == (2, 1)
    table = lake.read(lake.snapshot("s"), columns=["id", "note", "extra"])
    assert table.to_pylist() == [{"id": 1, "note": "x", "extra": None}, {"id": 2, "note": None, "extra": 5}]
    strict = Dataset("st", files("d/a.csv"), contract=[column("id", "int")])
    object.__setattr__(strict.contract, "strict", True)
    assert "does not name the column note" in lake.ingest(strict).refused["d/a.csv"]


def test_system_names_in_the_data_are_refused(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,_arrived_at\n1,2\n")
    assert "kept for the system" in lake.ingest(Dataset("a", files("a.csv"))).refused["a.csv"]


def test_object_store_url(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "bucket/x/a.csv", "id\n1\n")
    write(tmp_path / "bucket/x/deep/b.csv", "id\n2\n")
    write(tmp_path / "bucket/x/c.txt", "no")
    base = f"file://{tmp_path}/bucket"
    dataset = Dataset("r", files(f"{base}/x/**/*.csv"))
    assert lake.ingest(dataset).rows_accepted == 2
    assert not lake.has_new(dataset)
    assert rows_of(lake, "r", "_source") == [f"{base}/x/a.csv", f"{base}/x/deep/b.csv"]


def test_a_second_ingest_is_refused_while_one_runs(lake: Lake, stores: Stores, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id\n1\n")
    with (
        dataset_lock(stores.local / "locks", "a", wait=False),
        pytest.raises(TurnInProgressError, match=f"process {os.getpid()}"),
    ):
        lake.ingest(Dataset("a", files("a.csv")))


def test_declarations_are_checked() -> None:
    with pytest.raises(DeclarationError, match="labels="):
        files("a/*.csv", labels="b.csv")
    with pytest.raises(DeclarationError, match="Did you mean 'parquet'"):
        files("a", format="parqet")  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="needs a path"):
        files("")


def test_a_contract_and_a_key_may_fail_in_one_ingest(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,x\n1,1\n1,2\n2,bad\n3,\n")
    report = lake.ingest(Dataset("a", files("a.csv"), key="id", contract=[column("x", "int")]))
    assert (report.rows_accepted, report.rows_quarantined) == (1, 3)
    assert report.reasons == {"key(id)": 1, "required(x)": 1, "type(x)": 1}
    assert lake.quarantine("a").rows == 3


def test_types_that_no_table_holds_are_refused(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"id": [1], "span": pa.array([3], pa.time64("us"))}), tmp_path / "d/a.parquet")
    pq.write_table(pa.table({"id": pa.array([2**64 - 1], pa.uint64())}), tmp_path / "d/b.parquet")
    pq.write_table(pa.table({"id": [3], "nested": [{"a": [1, 2]}], "blob": [b"x"]}), tmp_path / "d/c.parquet")
    report = lake.ingest(Dataset("t", files("d/*.parquet")))
    assert report.rows_accepted == 1
    assert "column 'span'" in report.refused["d/a.parquet"]
    assert "column 'id'" in report.refused["d/b.parquet"]
    assert lake.read(lake.snapshot("t"), columns=["nested", "blob"]).to_pylist() == [
        {"nested": {"a": [1, 2]}, "blob": b"x"}
    ]
