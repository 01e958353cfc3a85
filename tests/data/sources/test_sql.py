"""Tables and queries of SQLite: exactly once, in every type, and what is said when something is wrong."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import loopwright as lw
from loopwright.core.errors import DeclarationError, SourceError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources import window

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

CREATE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, city TEXT, minutes REAL, updated_at TIMESTAMP)"
CONTRACT = [lw.column("minutes", "float", required=False), lw.column("updated_at", "timestamp")]
SOURCE = lw.sql("sqlite:///shop.db", table="orders", watermark="updated_at", overlap="5m")


@pytest.fixture
def lake(stores: Stores, tmp_path: Path) -> Lake:
    execute(tmp_path, CREATE)
    return Lake(stores)


def execute(folder: Path, statement: str, rows: Iterable[tuple[object, ...]] | None = None) -> None:
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        connection.executemany(statement, rows) if rows is not None else connection.execute(statement)


def insert(folder: Path, *rows: tuple[int, str | None, object, str | None]) -> None:
    execute(folder, "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", rows)


def at(minute: int) -> str:
    return f"2025-12-31 {minute // 60:02d}:{minute % 60:02d}:00"


def ids_of(lake: Lake, name: str = "orders") -> list[int]:
    return sorted(lake.read(lake.snapshot(name))["id"].to_pylist())


ORDERS = Dataset("orders", SOURCE, contract=CONTRACT)
KEYED = Dataset("orders", SOURCE, key="id", contract=CONTRACT, on_duplicate="upsert", event_time="updated_at")


@pytest.mark.parametrize("dataset", [ORDERS, KEYED])
def test_rows_past_the_watermark_come_once(lake: Lake, tmp_path: Path, dataset: Dataset) -> None:
    assert not lake.has_new(dataset)
    insert(tmp_path, (1, "Oslo", 3.5, at(1)), (2, "Bergen", None, at(2)))
    assert lake.has_new(dataset)
    report = lake.ingest(dataset)
    assert (report.rows_read, report.rows_accepted, report.rows_duplicate) == (2, 2, 0)
    assert not lake.has_new(dataset)
    assert lake.ingest(dataset).rows_read == 0
    insert(tmp_path, (3, "Oslo", 1.0, at(4)), (4, "Oslo", 1.0, at(90)))
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_read == 2
    assert lake.ingest(dataset).rows_read == 0
    table = lake.read(lake.snapshot("orders"))
    assert set(table["_source"].to_pylist()) == {"sql:orders"}
    assert sorted(table["_source_row"].to_pylist()) == [0, 1, 2, 3]
    assert table.schema.field("updated_at").type == pa.timestamp("us", tz="UTC")
    origin = lake.row("orders", "id", 3)
    assert origin is not None
    assert (origin.source, origin.source_row) == ("sql:orders", 2)


def test_a_row_that_is_committed_late_is_found_within_the_overlap(lake: Lake, tmp_path: Path) -> None:
    insert(tmp_path, (1, "a", 1, at(10)))
    lake.ingest(ORDERS)
    insert(tmp_path, (2, "late", 1, at(7)), (3, "equal", 1, at(10)), (4, "beyond", 1, at(4)))
    assert lake.has_new(ORDERS)
    assert lake.ingest(ORDERS).rows_read == 2
    assert ids_of(lake) == [1, 2, 3]  # what lies further back than the overlap is not looked for
    assert not lake.has_new(ORDERS)


def test_updates_arrive_as_newer_rows(lake: Lake, tmp_path: Path) -> None:
    insert(tmp_path, *((number, "a", number, at(number)) for number in range(20)))
    lake.ingest(KEYED)
    insert(tmp_path, (3, "b", 33.0, at(30)), (19, "b", 99.0, at(19)))
    assert lake.ingest(KEYED).rows_read == 2
    rows = {row["id"]: row for row in lake.read(lake.snapshot("orders")).to_pylist()}
    assert len(rows) == 20
    assert (rows[3]["minutes"], rows[19]["minutes"], rows[4]["minutes"]) == (33.0, 99.0, 4.0)


def test_equal_rows_without_a_key_are_all_kept_and_not_repeated(lake: Lake, tmp_path: Path) -> None:
    execute(tmp_path, "CREATE TABLE clicks (page TEXT, at INTEGER)")
    clicks = Dataset("clicks", lw.sql("sqlite:///shop.db", table="clicks", watermark="at", overlap=10))
    execute(tmp_path, "INSERT INTO clicks VALUES (?, ?)", [("a", 100)] * 3)
    assert lake.ingest(clicks).rows_accepted == 3
    execute(tmp_path, "INSERT INTO clicks VALUES (?, ?)", [("a", 100)] * 2)
    assert lake.ingest(clicks).rows_accepted == 2
    assert lake.ingest(clicks).rows_read == 0
    assert lake.snapshot("clicks").rows == 5


def test_bad_rows_are_quarantined_once_and_the_good_ones_are_in(lake: Lake, tmp_path: Path) -> None:
    insert(tmp_path, (1, "a", "much", at(1)), (2, "a", 2.0, at(2)), (3, "a", 2.0, "yesterday"), (4, "a", 1, None))
    report = lake.ingest(KEYED)
    assert (report.rows_accepted, report.rows_quarantined) == (1, 2)
    assert any("without a value in 'updated_at'" in line for line in report.warnings)
    found = {
        (entry.source, reason.column, reason.value)
        for entry in lake.quarantine("orders").entries()
        for reason in entry.reasons
    }
    assert found == {("sql:orders", "minutes", "much"), ("sql:orders", "updated_at", "yesterday")}
    assert lake.ingest(KEYED).rows_read == 0


def test_a_time_in_the_future_hides_nothing(lake: Lake, tmp_path: Path, clock: ManualClock) -> None:
    insert(tmp_path, (1, "wrong clock", 1, "2099-01-01 00:00:00"), (2, "a", 1, at(1)))
    lake.ingest(ORDERS)
    insert(tmp_path, (3, "a", 1, "2025-12-31 23:58:00"))
    assert lake.ingest(ORDERS).rows_read == 1
    clock.advance(3600)
    insert(tmp_path, (4, "a", 1, "2026-01-01 00:30:00"))
    assert lake.has_new(ORDERS)
    assert lake.ingest(ORDERS).rows_read == 1
    assert lake.ingest(ORDERS).rows_read == 0
    assert ids_of(lake) == [1, 2, 3, 4]


def test_a_new_column_repeats_no_row(lake: Lake, tmp_path: Path) -> None:
    insert(tmp_path, (1, "a", 1, at(1)))
    lake.ingest(ORDERS)
    execute(tmp_path, "ALTER TABLE orders ADD COLUMN tip REAL DEFAULT 0")
    assert lake.ingest(ORDERS).rows_read == 0
    execute(tmp_path, "INSERT INTO orders VALUES (2, 'b', 2, ?, 1.5)", [(at(2),)])
    assert lake.ingest(ORDERS).rows_read == 1
    assert lake.ingest(ORDERS).rows_read == 0
    tips = {row["id"]: row["tip"] for row in lake.read(lake.snapshot("orders")).to_pylist()}
    assert tips == {1: None, 2: 1.5}


def test_a_table_without_watermark_is_read_where_its_content_changed(lake: Lake, tmp_path: Path) -> None:
    whole = lw.sql("sqlite:///shop.db", table="orders")
    keyless, keyed = Dataset("a", whole), Dataset("b", whole, key="id", on_duplicate="upsert")
    insert(tmp_path, (1, "a", 1, at(1)), (2, "a", 1, at(1)))
    for dataset in (keyless, keyed):
        assert lake.has_new(dataset)
        assert lake.ingest(dataset).rows_accepted == 2
        assert not lake.has_new(dataset)
        assert lake.ingest(dataset).rows_read == 0
    insert(tmp_path, (1, "changed", 1, at(1)), (3, "a", 1, at(1)))
    report = lake.ingest(keyed)
    assert (report.rows_accepted, report.rows_duplicate) == (2, 1)
    assert ids_of(lake, "b") == [1, 2, 3]
    assert "no key to tell old rows from new" in lake.ingest(keyless).refused["sql:orders"]
    assert ids_of(lake, "a") == [1, 2]
    assert lake.ingest(keyless).refused == {}  # said once
    insert(tmp_path, (2, "moved", 1, at(1)))
    assert lake.has_new(keyed)


def test_a_query_is_read_like_a_table(lake: Lake, tmp_path: Path) -> None:
    query = "SELECT id, upper(city) AS city, ':x %' AS note, updated_at FROM orders WHERE minutes > 1;"
    source = lw.sql("sqlite:///shop.db", query=query, watermark="updated_at")
    assert source.name.startswith("sql:query-")
    dataset = Dataset("big", source, key="id", contract=[lw.column("updated_at", "timestamp")])
    insert(tmp_path, (1, "a", 1, at(1)), (2, "b", 2, at(2)))
    assert lake.ingest(dataset).rows_accepted == 1
    assert lake.ingest(dataset).rows_read == 0
    (row,) = lake.read(lake.snapshot("big")).to_pylist()
    assert (row["city"], row["note"]) == ("B", ":x %")


def test_another_watermark_is_refused_without_a_key(lake: Lake, tmp_path: Path) -> None:
    insert(tmp_path, (1, "a", 1, at(1)))
    by_id = lw.sql("sqlite:///shop.db", table="orders", watermark="id")
    lake.ingest(ORDERS)
    lake.ingest(Dataset("keyed", SOURCE, key="id"))
    with pytest.raises(SourceError, match="was filled from sql:orders:updated_at before"):
        lake.ingest(Dataset("orders", by_id, contract=CONTRACT))
    with pytest.raises(SourceError, match="was filled from sql:orders:updated_at before"):
        lake.ingest(Dataset("orders", lw.sql("sqlite:///shop.db", table="orders"), contract=CONTRACT))
    assert lake.ingest(Dataset("keyed", by_id, key="id")).rows_duplicate == 1


def test_more_rows_than_can_be_remembered_need_a_key(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "MOST_REMEMBERED", 5)
    insert(tmp_path, *((number, "a", 1, at(1)) for number in range(30)))
    with pytest.raises(SourceError, match=r"30 rows have a 'updated_at' .* more than the 5 that can be told apart"):
        lake.ingest(ORDERS)
    assert lake.ingest(KEYED).rows_accepted == 30
    assert not lake.has_new(KEYED)
    insert(tmp_path, (99, "a", 1, at(1)))
    assert lake.has_new(KEYED)
    report = lake.ingest(KEYED)
    assert (report.rows_accepted, report.rows_duplicate) == (1, 30)


def test_much_is_spilled_to_files(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopwright.data.sources.spool.IN_MEMORY_BYTES", 1_000)
    monkeypatch.setattr("loopwright.data.sources.sql_reader.BATCH_ROWS", 100)
    insert(tmp_path, *((number, "a", number / 7, at(number % 700)) for number in range(1_050)))
    assert lake.ingest(ORDERS).rows_accepted == 1_050
    assert ids_of(lake) == list(range(1_050))
    assert lake.ingest(ORDERS).rows_read == 0
    assert not (tmp_path / ".loopwright/ingest/orders/fetched").exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lw.sql("sqlite:///none.db", table="orders"), "there is no database .*none.db"),
        (lw.sql("sqlite:///shop.db", table="order"), "no table 'order' in sqlite.*Did you mean 'orders'"),
        (lw.sql("sqlite:///shop.db", table="orders", watermark="updated"), "no column 'updated'.*mean 'updated_at'"),
        (lw.sql("sqlite:///shop.db", table="orders", columns=["id", "town"]), "no column 'town' in sql:orders"),
        (lw.sql("sqlite:///shop.db", query="SELECT town FROM orders"), "no such column: town.*Correct the table"),
        (lw.sql("postgress://a:s3cret@h/d", table="t"), "no database 'postgress' .*Did you mean 'postgresql'"),
        (lw.sql("mysql+pymysql://a:s3cret@h/d", table="t"), "the driver 'pymysql' is not installed"),
        (lw.sql("postgresql://a:s3cret@h:port/d", table="t"), "is no database URL|invalid literal"),
        (lw.sql("sqlite:///text.db", table="t"), "file is not a database"),
        (lw.sql("orders_db", table="t"), r"no connection 'orders_db'.*LOOPWRIGHT_SOURCES_ORDERS_DB"),
    ],
)
def test_what_is_wrong_is_said(lake: Lake, tmp_path: Path, source: lw.data.sources.sql.SqlSource, said: str) -> None:
    (tmp_path / "text.db").write_text("no database at all" * 100)
    with pytest.raises(SourceError, match=said) as caught:
        lake.ingest(Dataset("d", source))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert lake.names() == []


def test_a_connection_is_named_and_never_shown(tmp_path: Path, clock: ManualClock) -> None:
    execute(tmp_path, CREATE)
    insert(tmp_path, (1, "a", 1, at(1)))
    (tmp_path / "loopwright.toml").write_text('[sources]\nshop = "sqlite:///elsewhere.db"\n')
    settings = Settings.load(tmp_path, environ={"LOOPWRIGHT_SOURCES_SHOP": "sqlite:///shop.db"})
    assert "shop.db" not in repr(settings)
    stores = open_stores(settings, clock=clock)
    source = lw.sql("shop", table="orders", watermark="updated_at")
    assert Lake(stores).ingest(Dataset("orders", source)).rows_accepted == 1
    assert source.describe() == {"kind": "sql", "url": "shop", "table": "orders", "watermark": "updated_at"}
    stores.close()
    literal = lw.sql("postgresql://ann:p%40ss@h/d?sslpassword=q&x=1", table="t")
    assert "p%40ss" not in f"{literal}{literal.describe()}"
    assert literal.describe()["url"] == "postgresql://ann:***@h/d?sslpassword=***&x=1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "neither"),
        ({"table": "t", "query": "SELECT 1"}, "both"),
        ({"query": "DELETE FROM t"}, "no SELECT"),
        ({"query": "SELECT 1", "columns": ["a"]}, "neither columns="),
        ({"table": "t", "overlap": "5m"}, "no watermark="),
        ({"table": "t", "watermark": "w", "overlap": "soon"}, "not a duration"),
        ({"table": "t", "watermark": "w", "overlap": -1}, "at least 0"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        lw.sql("sqlite:///a.db", **options)  # type: ignore[arg-type]
