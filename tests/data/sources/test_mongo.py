"""Collections of MongoDB: over mongomock, and over a loopback server that the real driver talks to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from tests.data.sources.mongo_server import MongoServer

import loopwright as lw
from loopwright.core.errors import DeclarationError, MissingExtraError, SourceError
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources import mongo_reader, readers
from loopwright.data.sources.mongo_reader import MongoReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.core.storage.stores import Stores

bson = pytest.importorskip("bson")
mongomock = pytest.importorskip("mongomock")
BEGUN = datetime(2025, 12, 31, tzinfo=UTC).replace(tzinfo=None)


class Shop:
    """The collection, and the URL at which it is read."""

    def __init__(self, client: Any, url: str) -> None:
        self.orders = client["shop"]["orders"]
        self.url = url
        self.server: Any = None

    def dataset(self, name: str = "d", **options: Any) -> Dataset:
        contract = options.pop("contract", None)
        declared = {key: options.pop(key) for key in ("key", "on_duplicate") if key in options}
        source = lw.mongo(self.url, database="shop", collection="orders", **options)
        return Dataset(name, source, contract=contract, **declared)

    def insert(self, *rows: tuple[int, int | None], **more: Any) -> None:
        for number, minute in rows:
            at = {} if minute is None else {"at": BEGUN + timedelta(minutes=minute)}
            self.orders.replace_one({"_id": number}, {"_id": number, "n": number} | at | more, upsert=True)


@pytest.fixture(params=["mongomock", "driver"])
def shop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    client = mongomock.MongoClient()
    if request.param == "mongomock":
        monkeypatch.setitem(readers.READERS, "mongo", MongoReader(connect=lambda _: client))
        monkeypatch.setattr(client, "close", lambda: None)
        yield Shop(client, "mongodb://anywhere")
        return
    server = MongoServer(client)
    made = Shop(client, server.url)
    made.server = server
    yield made
    server.close()


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def numbers(lake: Lake, name: str = "d") -> list[int]:
    return sorted(lake.read(lake.snapshot(name))["n"].to_pylist())


def test_documents_past_the_watermark_come_once(shop: Shop, lake: Lake) -> None:
    dataset = shop.dataset(watermark="at", overlap="5m")
    assert not lake.has_new(dataset)
    shop.insert((1, 1), (2, 10), (9, None))
    assert lake.has_new(dataset)
    report = lake.ingest(dataset)
    assert report.rows_accepted == 2
    assert any("without a value in 'at'" in line for line in report.warnings)
    assert not lake.has_new(dataset)
    assert lake.ingest(dataset).rows_read == 0
    shop.insert((3, 7), (4, 10), (5, 60))  # late, equal, new
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_accepted == 3
    assert lake.ingest(dataset).rows_read == 0
    assert numbers(lake) == [1, 2, 3, 4, 5]
    origin = lake.row("d", "n", 5)
    assert origin is not None
    assert (origin.source, origin.source_row) == ("mongo:shop.orders", 4)


def test_an_update_arrives_as_the_newer_row(shop: Shop, lake: Lake) -> None:
    dataset = shop.dataset(watermark="at", key="_id", on_duplicate="upsert")
    shop.insert((1, 1), (2, 2), state="placed")
    lake.ingest(dataset)
    shop.insert((1, 90), state="sent")
    assert lake.ingest(dataset).rows_accepted == 1
    states = {row["_id"]: row["state"] for row in lake.read(lake.snapshot("d")).to_pylist()}
    assert states == {1: "sent", 2: "placed"}


def test_object_ids_are_a_watermark(shop: Shop, lake: Lake) -> None:
    dataset = shop.dataset(watermark="_id")
    made = [bson.ObjectId(f"{1767139200 + number:08x}" + "0" * 16) for number in (0, 60, 3600, 3590)]
    shop.orders.insert_many([{"_id": made[number], "n": number} for number in (0, 1, 2)])
    assert lake.ingest(dataset).rows_accepted == 3
    shop.orders.insert_one({"_id": made[3], "n": 3})  # made earlier, elsewhere
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_accepted == 1
    assert lake.ingest(dataset).rows_read == 0
    assert numbers(lake) == [0, 1, 2, 3]
    assert sorted(lake.read(lake.snapshot("d"))["_id"].to_pylist()) == sorted(map(str, made))


def test_without_a_watermark_the_whole_is_read_where_it_changed(shop: Shop, lake: Lake) -> None:
    dataset = shop.dataset(key="_id", on_duplicate="upsert")
    shop.insert((1, 1), (2, 2))
    assert lake.ingest(dataset).rows_accepted == 2
    assert not lake.has_new(dataset)
    assert lake.ingest(dataset).rows_read == 0
    shop.insert((2, 5))
    assert lake.has_new(dataset)
    assert lake.ingest(dataset).rows_accepted == 1


def test_every_type_is_kept(shop: Shop, lake: Lake) -> None:
    document = {
        "_id": bson.ObjectId("65a1b2c3d4e5f60718293a4b"),
        "whole": 7,
        "big": bson.Int64(2**62),
        "exact": bson.Decimal128("12345678901234567890.5"),
        "flag": True,
        "at": datetime(2026, 1, 2, 3, 4, 5, 678000),  # noqa: DTZ001 - as the driver gives it
        "data": b"\x00\xff",
        "address": {"city": "Oslo", "zip": [1, bson.Decimal128("2.5")]},
        "words": ["a", {"b": None}],
        "nothing": None,
    }
    shop.orders.insert_one(document)
    shop.orders.insert_one({"_id": 2, "whole": 8})
    lake.ingest(shop.dataset(fields={"city": "address.city", "first": "words.0"}, key="_id"))
    rows = {row["_id"]: row for row in lake.read(lake.snapshot("d")).to_pylist()}
    first = {name: value for name, value in rows["65a1b2c3d4e5f60718293a4b"].items() if not name.startswith("_")}
    assert first == {
        "whole": 7,
        "big": 2**62,
        "exact": "12345678901234567890.5",
        "flag": True,
        "at": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        "data": b"\x00\xff",
        "address": '{"city": "Oslo", "zip": [1, "2.5"]}',
        "words": '["a", {"b": null}]',
        "city": "Oslo",
        "first": "a",
    }
    assert rows["2"]["whole"] == 8
    assert Decimal(str(first["exact"])) == Decimal("12345678901234567890.5")


def test_bad_documents_are_quarantined_and_columns_chosen(shop: Shop, lake: Lake) -> None:
    shop.insert((1, 1), price=2.5, other="x")
    shop.insert((2, 2), price="dear")
    dataset = shop.dataset(watermark="at", columns=["n", "price"], contract=[lw.column("price", "float")])
    report = lake.ingest(dataset)
    assert (report.rows_accepted, report.rows_quarantined) == (1, 1)
    (entry,) = lake.quarantine("d").entries()
    assert (entry.source, entry.source_row, entry.reasons[0].value) == ("mongo:shop.orders", 1, "dear")
    names = [name for name in lake.read(lake.snapshot("d")).column_names if not name.startswith("_")]
    assert sorted(names) == ["at", "n", "price"]
    assert lake.ingest(dataset).rows_read == 0


@pytest.mark.parametrize("shop", ["driver"], indirect=True)
def test_a_server_that_goes_away_leaves_nothing(shop: Shop, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo_reader, "BATCH_ROWS", 10)
    shop.insert(*((number, number) for number in range(50)))
    shop.server.hang_up_after = 2
    dataset = shop.dataset(watermark="at")
    with pytest.raises(SourceError, match=r"mongo:shop.orders at mongodb.*closed.*Run again when the server answers"):
        lake.ingest(dataset)
    assert lake.names() == []
    shop.server.hang_up_after = None
    assert lake.ingest(dataset).rows_accepted == 50
    assert shop.server.commands.count("getMore") > 5


def test_what_is_wrong_is_said(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymongo")
    monkeypatch.setattr(mongo_reader, "_PATIENCE_MS", 100)

    def dataset(url: str) -> Dataset:
        return Dataset("d", lw.mongo(url, database="a", collection="b"))

    with pytest.raises(SourceError, match=r"ann:\*\*\*@.*refused.*Run again") as caught:
        lake.ingest(dataset("mongodb://ann:s3cret@127.0.0.1:9/"))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SourceError, match=r"mongo:a.b at mongodb://.*Port contains.*Write mongodb://"):
        lake.ingest(dataset("mongodb://127.0.0.1:none/"))
    with pytest.raises(SourceError, match="no connection 'shop'"):
        lake.ingest(dataset("shop"))
    monkeypatch.setitem(__import__("sys").modules, "pymongo", None)
    with pytest.raises(MissingExtraError, match=r'pip install "loopwright\[mongo\]"'):
        lake.ingest(dataset("mongodb://127.0.0.1:9/"))


def test_a_declaration_that_cannot_be_is_refused() -> None:
    for options, said in [
        ({"database": "", "collection": "c"}, "takes database as a text"),
        ({"database": "d", "collection": "c", "overlap": "5m"}, "no watermark="),
    ]:
        with pytest.raises(DeclarationError, match=said):
            lw.mongo("mongodb://x", **options)  # type: ignore[arg-type]
    assert "pa55" not in repr(lw.mongo("mongodb://a:pa55@x", database="d", collection="c"))
