"""Tables of a real PostgreSQL server, started here on a socket of its own and a loopback port."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from tests.servers import postgresql

import loopwright as lw
from loopwright.core.errors import SourceError
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources import sql_reader
from loopwright.data.sources.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.core.storage.stores import Stores

pytest.importorskip("psycopg")
PASSWORD = "s3cret"  # noqa: S105 - of a server that lives as long as this file's tests


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that asks for a password."""
    with postgresql("ann", PASSWORD) as address:
        yield address


class Shop:
    """A database of its own for each test."""

    def __init__(self, server: str, name: str) -> None:
        self.url = f"postgresql://ann:{PASSWORD}@{server}/{name}"
        everywhere = sa.create_engine(
            f"postgresql+psycopg://ann:{PASSWORD}@{server}/postgres",
            isolation_level="AUTOCOMMIT",
            poolclass=sa.pool.NullPool,
        )
        with everywhere.connect() as connection:
            connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        self.engine = sa.create_engine(self.url.replace("://", "+psycopg://"), poolclass=sa.pool.NullPool)

    def run(self, statement: str, **values: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)


@pytest.fixture
def shop(server: str, request: pytest.FixtureRequest) -> Shop:
    made = Shop(server, request.node.name)
    made.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, price numeric(10, 2), "
        "updated_at timestamptz NOT NULL DEFAULT now())"
    )
    return made


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def orders(shop: Shop, **options: Any) -> Dataset:
    source = lw.sql(shop.url, table="orders", watermark="updated_at", **options)
    return Dataset("orders", source, key="id", on_duplicate="upsert")


def insert(shop: Shop, first: int, count: int, at: str) -> None:
    shop.run(
        "INSERT INTO orders SELECT n, n / 4.0, :at FROM generate_series(:first ::bigint, :last ::bigint) n",
        first=first,
        last=first + count - 1,
        at=datetime.fromisoformat(f"2025-12-31T{at}+00:00"),
    )


def test_a_transaction_that_commits_late_is_not_lost(shop: Shop, lake: Lake) -> None:
    keyless = Dataset("keyless", lw.sql(shop.url, table="orders", watermark="updated_at"))
    insert(shop, 0, 10, "10:00")
    with shop.engine.connect() as late:
        late.execute(sa.text("INSERT INTO orders VALUES (100, 1, '2025-12-31T10:01:00Z')"))  # not committed yet
        insert(shop, 10, 10, "10:05")
        for dataset in (orders(shop), keyless):
            assert lake.ingest(dataset).rows_accepted == 20
            assert not lake.has_new(dataset)
        late.commit()
    for dataset in (orders(shop), keyless):
        assert lake.has_new(dataset)
        assert lake.ingest(dataset).rows_read == 1
        assert lake.ingest(dataset).rows_read == 0
        assert sorted(lake.read(lake.snapshot(dataset.name))["id"].to_pylist()) == [*range(20), 100]


def test_an_update_arrives_as_the_newer_row(shop: Shop, lake: Lake) -> None:
    insert(shop, 0, 10, "10:00")
    lake.ingest(orders(shop))
    shop.run("UPDATE orders SET price = 99.5, updated_at = '2025-12-31T12:00:00Z' WHERE id = 3")
    report = lake.ingest(orders(shop))
    assert (report.rows_read, report.rows_accepted) == (1, 1)
    prices = {row["id"]: row["price"] for row in lake.read(lake.snapshot("orders")).to_pylist()}
    assert len(prices) == 10
    assert (prices[3], prices[4]) == (Decimal("99.50"), Decimal("1.00"))


def test_every_type_is_kept(shop: Shop, lake: Lake) -> None:
    shop.run("CREATE TYPE mood AS ENUM ('good', 'bad')")
    shop.run(
        "CREATE TABLE types (id int, small smallint, big bigint, exact numeric(12, 3), wide numeric, real real, double "
        "double precision, flag bool, day date, local timestamp, zoned timestamptz, clock time, span interval, code "
        "uuid, data bytea, j json, jb jsonb, words text[], mood mood, padded char(4), empty text)"
    )
    shop.run(
        "INSERT INTO types VALUES (1, 2, 9223372036854775807, 123456789.125, 12345678901234567890.123456789, 1.5, "
        "1e300, true, '2026-01-02', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05+02', '10:11:12', '1 day', "
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff', '{\"a\": [1, null]}', '{\"b\": 1.5}', '{x,y}', 'good', "
        "'ab', '')"
    )
    shop.run("INSERT INTO types (id) VALUES (2)")
    query = "SELECT * FROM types"
    for name, source in (("t", lw.sql(shop.url, table="types")), ("q", lw.sql(shop.url, query=query))):
        lake.ingest(Dataset(name, source, key="id"))
        table = lake.read(lake.snapshot(name))
        first, second = sorted(table.to_pylist(), key=lambda row: row["id"])
        assert {key: value for key, value in first.items() if not key.startswith("_")} == {
            "id": 1,
            "small": 2,
            "big": 9223372036854775807,
            "exact": Decimal("123456789.125"),
            "wide": "12345678901234567890.123456789",
            "real": 1.5,
            "double": 1e300,
            "flag": True,
            "day": date(2026, 1, 2),
            "local": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            "zoned": datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC),
            "clock": "10:11:12",
            "span": "1 day, 0:00:00",
            "code": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "data": b"\x00\xff",
            "j": '{"a": [1, null]}',
            "jb": '{"b": 1.5}',
            "words": '["x", "y"]',
            "mood": "good",
            "padded": "ab  ",
            "empty": "",
        }
        assert {value for key, value in second.items() if key != "id" and not key.startswith("_")} == {None}
        assert table.schema.field("exact").type == pa.decimal128(12, 3)
        assert table.schema.field("day").type == pa.date32()


def test_times_beyond_the_calendar_are_quarantined(shop: Shop, lake: Lake) -> None:
    shop.run("CREATE TABLE visits (id int, ended timestamptz)")
    shop.run("INSERT INTO visits VALUES (1, '2026-01-01T00:00:00Z'), (2, 'infinity'), (3, NULL)")
    ended = lw.column("ended", "timestamp", required=False)
    report = lake.ingest(Dataset("visits", lw.sql(shop.url, table="visits", watermark="id"), contract=[ended]))
    assert (report.rows_accepted, report.rows_quarantined) == (2, 1)
    (entry,) = lake.quarantine("visits").entries()
    assert (entry.source, entry.source_row, entry.reasons[0].value) == ("sql:visits", 1, "infinity")


def test_a_server_that_goes_away_leaves_nothing_half_stored(
    shop: Shop, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_reader, "BATCH_ROWS", 100)
    insert(shop, 0, 20_000, "10:00")
    add = Spool.add

    def ended(self: Spool, rows: pa.Table) -> None:
        add(self, rows)
        shop.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "add", ended)
        with pytest.raises(SourceError, match=r"sql:orders at postgresql.*ann:\*\*\*@.*Run again") as caught:
            lake.ingest(orders(shop))
    assert PASSWORD not in str(caught.value)
    assert lake.names() == []
    assert lake.ingest(orders(shop)).rows_accepted == 20_000


def test_what_is_wrong_is_said(shop: Shop, lake: Lake) -> None:
    wrong = shop.url.replace(PASSWORD, "wr0ng")
    for source, said in [
        (lw.sql(wrong, table="orders"), "password authentication failed.*Correct the user and password"),
        (lw.sql(shop.url.rpartition("/")[0] + "/nowhere", table="orders"), 'database "nowhere" does not exist'),
        (lw.sql(shop.url, table="ordrs"), "no table 'ordrs'.*Did you mean 'orders'"),
        (
            lw.sql(shop.url, table="public.orders", watermark="updated"),
            "no column 'updated' in sql:public.orders.*mean",
        ),
        (lw.sql(shop.url, query="SELECT pric FROM orders"), 'column "pric" does not exist.*Correct the table'),
        (lw.sql(shop.url, query="WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x"), "Correct the table"),
        (lw.sql("postgresql://ann:wr0ng@127.0.0.1:1/d", table="t"), "refused|failed.*Run again"),
    ]:
        with pytest.raises(SourceError, match=said) as caught:
            lake.ingest(Dataset("d", source))
        assert "wr0ng" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
