from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest

from loopwright.core.storage.duck import borrowed, connect, quote_name, quote_text, to_arrow

if TYPE_CHECKING:
    from pathlib import Path


def test_is_in_utc_and_small() -> None:
    with connect(threads=1, memory_limit_bytes=200_000_000) as con:
        settings = {
            name: con.sql(f"SELECT current_setting('{name}') AS v").fetchall()[0][0]
            for name in ("TimeZone", "threads", "memory_limit", "autoload_known_extensions")
        }
    assert settings["TimeZone"] == "UTC"
    assert settings["threads"] == 1
    assert settings["memory_limit"] == "190.7 MiB"
    assert settings["autoload_known_extensions"] is False


def test_never_reaches_for_an_extension() -> None:
    with connect() as con, pytest.raises(duckdb.Error):
        con.sql("SELECT * FROM read_parquet('https://localhost:1/x.parquet')").fetchall()


def test_spills_where_it_is_told(tmp_path: Path) -> None:
    with connect(memory_limit_bytes=40_000_000, temp_folder=tmp_path / "spill") as con:
        rows = con.sql(
            "SELECT count(*) FROM (SELECT range AS x, md5(range::VARCHAR) AS h FROM range(800000) ORDER BY h)"
        )
        assert rows.fetchall() == [(800_000,)]


def test_gives_a_table_with_zoned_times() -> None:
    with connect() as con:
        table = to_arrow(con.sql("SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' AS at"))
    assert isinstance(table, pa.Table)
    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")


def test_quotes() -> None:
    name, text = 'a"b; --', "it's; --"
    with connect() as con:
        table = to_arrow(con.sql(f"SELECT {quote_text(text)} AS {quote_name(name)}"))
    assert table.to_pydict() == {name: [text]}


def test_borrowers_do_not_see_each_other() -> None:
    with borrowed() as one, borrowed() as other:
        one.execute("CREATE TEMP VIEW v AS SELECT 1 AS n")
        one.register("t", pa.table({"n": [2]}))
        one.execute("SET TimeZone = 'Europe/Vienna'")
        for name in ("v", "t"):
            with pytest.raises(duckdb.CatalogException):
                other.sql(f"SELECT * FROM {name}")
        assert other.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    with borrowed() as con:
        assert con.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_threads_borrow_at_once() -> None:
    def total(number: int) -> int:
        with borrowed() as con:
            con.register("t", pa.table({"n": range(number)}))
            return int(con.sql("SELECT sum(n) FROM t").fetchall()[0][0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(total, range(1, 40))) == [n * (n - 1) // 2 for n in range(1, 40)]
