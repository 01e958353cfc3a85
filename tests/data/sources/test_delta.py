"""Delta tables of others: their appends come once, and what is no append is said."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import loopwright as lw
from loopwright.core.errors import DeclarationError, SourceError
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "theirs/orders")


KEYLESS = Dataset("keyless", lw.delta("theirs/orders"))
KEYED = Dataset("keyed", lw.delta("theirs/orders"), key="id", on_duplicate="upsert")


def append(table: str, first: int, count: int, **more: Any) -> None:
    ids = list(range(first, first + count))
    rows = {"id": ids, "price": [number / 4 for number in ids], "city": ["Oslo å" if n % 2 else "Bergen" for n in ids]}
    write_deltalake(table, pa.table(rows | more), mode="append", partition_by=["city"], schema_mode="merge")


def ids_of(lake: Lake, name: str = "keyless") -> list[int]:
    return sorted(lake.read(lake.snapshot(name))["id"].to_pylist())


def test_appends_come_once(lake: Lake, table: str) -> None:
    append(table, 0, 10)
    append(table, 10, 5)
    assert lake.has_new(KEYLESS)
    assert lake.ingest(KEYLESS).rows_accepted == 15
    assert not lake.has_new(KEYLESS)
    assert lake.ingest(KEYLESS).rows_read == 0
    append(table, 15, 2)
    append(table, 17, 3)
    assert lake.has_new(KEYLESS)
    assert lake.ingest(KEYLESS).rows_read == 5
    assert ids_of(lake) == list(range(20))
    origin = lake.row("keyless", "id", 19)
    assert origin is not None
    assert origin.source == "delta:orders@3"
    assert origin.row["city"] == "Oslo å"


def test_files_that_are_only_rewritten_add_nothing(lake: Lake, table: str) -> None:
    append(table, 0, 4)
    lake.ingest(KEYLESS)
    append(table, 4, 4)
    append(table, 8, 4)
    DeltaTable(table).optimize.compact()
    append(table, 12, 4)
    assert lake.ingest(KEYLESS).rows_read == 12
    DeltaTable(table).optimize.compact()
    assert lake.ingest(KEYLESS).rows_read == 0
    assert ids_of(lake) == list(range(16))


def test_a_change_needs_a_key(lake: Lake, table: str) -> None:
    append(table, 0, 6)
    for dataset in (KEYLESS, KEYED):
        lake.ingest(dataset)
    DeltaTable(table).update(updates={"price": "99.0"}, predicate="id = 3")
    append(table, 6, 2)
    assert lake.has_new(KEYLESS)
    with pytest.raises(SourceError, match=r"rows were changed or removed: UPDATE in version 1, and the .* key="):
        lake.ingest(KEYLESS)
    assert ids_of(lake) == list(range(6))
    report = lake.ingest(KEYED)
    assert (report.rows_read, report.rows_accepted, report.rows_duplicate) == (8, 3, 5)
    assert any("UPDATE in version 1; the whole of version 2 is compared" in line for line in report.warnings)
    prices = {row["id"]: row["price"] for row in lake.read(lake.snapshot("keyed")).to_pylist()}
    assert (len(prices), prices[3], prices[4]) == (8, 99.0, 1.0)
    assert lake.ingest(KEYED).rows_read == 0


@pytest.mark.parametrize("operation", ["merge", "delete", "overwrite"])
def test_every_other_change_is_named(lake: Lake, table: str, operation: str) -> None:
    append(table, 0, 4)
    lake.ingest(KEYLESS)
    rows = pa.table({"id": [1], "price": [7.5], "city": ["Oslo å"]})
    if operation == "merge":
        merge = DeltaTable(table).merge(rows, "s.id = t.id", source_alias="s", target_alias="t")
        merge.when_matched_update_all().execute()
    elif operation == "delete":
        DeltaTable(table).delete("id = 2")
    else:
        write_deltalake(table, rows, mode="overwrite")
    named = {"merge": "MERGE", "delete": "DELETE", "overwrite": "WRITE"}[operation]
    with pytest.raises(SourceError, match=f"removed: {named} in version 1"):
        lake.ingest(KEYLESS)


def test_a_new_column_comes_with_its_rows(lake: Lake, table: str) -> None:
    append(table, 0, 2)
    lake.ingest(KEYLESS)
    append(table, 2, 2, tip=[1.5, None])
    assert lake.ingest(KEYLESS).rows_accepted == 2
    tips = {row["id"]: row["tip"] for row in lake.read(lake.snapshot("keyless")).to_pylist()}
    assert tips == {0: None, 1: None, 2: 1.5, 3: None}


def test_a_log_that_was_cleaned_needs_a_key(lake: Lake, table: str, tmp_path: Path) -> None:
    append(table, 0, 2)
    for dataset in (KEYLESS, KEYED):
        lake.ingest(dataset)
    append(table, 2, 2)
    append(table, 4, 2)
    DeltaTable(table).create_checkpoint()
    for version in (0, 1):
        (tmp_path / f"theirs/orders/_delta_log/{version:020}.json").unlink()
    with pytest.raises(SourceError, match=r"commit of version 1 is no longer in its log, and the dataset has no key"):
        lake.ingest(KEYLESS)
    assert lake.ingest(KEYED).rows_accepted == 4
    assert ids_of(lake, "keyed") == list(range(6))


def test_vacuumed_files_are_said_and_the_next_version_is_read(lake: Lake, table: str) -> None:
    append(table, 0, 4)
    lake.ingest(KEYLESS)
    append(table, 4, 4)
    append(table, 8, 4)
    DeltaTable(table).optimize.compact()
    DeltaTable(table).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(SourceError, match=r"a file of the version that is read is gone.*vacuumed"):
        lake.ingest(KEYLESS)
    assert ids_of(lake) == list(range(4))


def test_another_table_at_the_place_needs_a_key(lake: Lake, table: str) -> None:
    append(table, 0, 2)
    lake.ingest(KEYLESS)
    shutil.rmtree(table)
    with pytest.raises(SourceError, match=r"there is no Delta table\. Correct the URL"):
        lake.ingest(KEYLESS)
    append(table, 0, 2)
    with pytest.raises(SourceError, match="another table is at its place now"):
        lake.ingest(KEYLESS)


def test_bad_rows_are_named_by_version_and_row(lake: Lake, table: str) -> None:
    append(table, 0, 4)
    source = lw.delta("theirs/orders", columns=["id", "price"])
    report = lake.ingest(Dataset("d", source, contract=[lw.column("price", "float", at_most=0.6)]))
    assert (report.rows_accepted, report.rows_quarantined) == (3, 1)
    (entry,) = lake.quarantine("d").entries()
    assert entry.source == "delta:orders@0"
    assert (entry.reasons[0].column, entry.reasons[0].value) == ("price", "0.75")
    assert "city" not in lake.read(lake.snapshot("d")).column_names
    with pytest.raises(SourceError, match=r"no column 'prise' in delta:orders. Did you mean 'price'"):
        lake.ingest(Dataset("e", lw.delta("theirs/orders", columns=["prise"])))


def test_secrets_of_the_store_are_not_shown(lake: Lake) -> None:
    source = lw.delta("s3://b/t", options={"AWS_SECRET_ACCESS_KEY": "abc", "AWS_REGION": "eu", "token": "{shop}"})
    assert source.describe()["options"] == {"AWS_SECRET_ACCESS_KEY": "***", "AWS_REGION": "eu", "token": "{shop}"}
    assert "abc" not in repr(source)
    with pytest.raises(SourceError, match="no connection 'shop'"):
        lake.has_new(Dataset("d", source))
    with pytest.raises(DeclarationError, match="folder or URL"):
        lw.delta("")
