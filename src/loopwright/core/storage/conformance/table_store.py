"""What a table store promises, clause by clause."""
# ruff: noqa: S101 - assertions are what this module is made of

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.core.storage.duck import connect, to_arrow
from loopwright.core.storage.table_changes import TableSpan

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.storage.tables import TableStore

_UTC = pa.timestamp("us", tz="UTC")


def _numbers(*values: int) -> pa.Table:
    return pa.table({"n": pa.array(values, pa.int64())})


def _sorted(table: pa.Table) -> list[int]:
    return sorted(table["n"].to_pylist())


def _added(tables: TableStore, after: int, until: int) -> list[int]:
    query = tables.added_sql(TableSpan("t", after, until))
    if query is None:
        return []
    with connect() as con:
        return _sorted(to_arrow(con.sql(query)))


class TableStoreConformance:
    """Subclasses give a fixture ``reopen``: a function that opens the same, at first empty, store once more."""

    @pytest.fixture
    def tables(self, reopen: Callable[[], TableStore]) -> TableStore:
        """Open the store under test."""
        return reopen()

    def test_every_append_is_a_version(self, tables: TableStore) -> None:
        """The first append is version 1; version 0 is the empty table; all of them stay readable."""
        assert not tables.exists("t")
        assert [tables.append("t", _numbers(1, 2)), tables.append("t", _numbers(3))] == [1, 2]
        assert tables.exists("t")
        assert tables.version("t") == 2
        assert [_sorted(tables.read("t", version=version)) for version in (0, 1, 2)] == [[], [1, 2], [1, 2, 3]]
        assert [tables.count("t", version) for version in (0, 1, 2)] == [0, 2, 3]
        assert tables.tables() == ["t"]

    def test_the_same_transaction_adds_nothing(self, tables: TableStore, reopen: Callable[[], TableStore]) -> None:
        """A repeated ``(application, number)`` gives the version it made, also through another opening."""
        assert tables.transaction("t", "ingest") is None
        assert tables.append("t", _numbers(1), transaction=("ingest", 7)) == 1
        tables.append("t", _numbers(2), transaction=("other", 7))
        assert tables.append("t", _numbers(1), transaction=("ingest", 7)) == 1
        assert reopen().append("t", _numbers(1), transaction=("ingest", 7)) == 1
        tables.append("t", _numbers(0), transaction=("ingest", 6))
        assert _sorted(tables.read("t")) == [1, 2]
        assert tables.append("t", _numbers(3), transaction=("ingest", 8)) == 3
        assert (tables.transaction("t", "ingest"), tables.transaction("t", "other")) == (8, 7)

    def test_a_stale_opening_cannot_repeat_a_transaction(
        self, tables: TableStore, reopen: Callable[[], TableStore]
    ) -> None:
        """One that looked at the table before another committed still adds the rows once."""
        other = reopen()
        tables.append("t", _numbers(0))
        assert other.version("t") == 1
        assert tables.append("t", _numbers(1), transaction=("a", 1)) == 2
        assert other.append("t", _numbers(1), transaction=("a", 1)) == 2
        assert _sorted(other.read("t")) == [0, 1]

    def test_threads_append_each_once(self, tables: TableStore, reopen: Callable[[], TableStore]) -> None:
        """Several openings append at once: all land, each under its own version, each transaction once."""
        versions: list[int] = []

        def produce(store: TableStore, number: int) -> None:
            for i in range(3):
                versions.append(store.append("t", _numbers(10 * number + i), transaction=(f"app-{number}", i)))
                store.append("t", _numbers(1000 + i), transaction=("shared", i))

        running = [threading.Thread(target=produce, args=(reopen(), number)) for number in range(3)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert len(set(versions)) == 9
        assert _sorted(tables.read("t")) == sorted(
            [10 * n + i for n in range(3) for i in range(3)] + [1000, 1001, 1002]
        )

    def test_columns_are_added_and_filled_with_null(self, tables: TableStore) -> None:
        """New columns appear, old rows are null there, rows that lack a column are null there."""
        tables.append("t", pa.table({"a": [1]}))
        tables.append("t", pa.table({"a": [2], "b": ["x"]}))
        tables.append("t", pa.table({"b": ["y"]}))
        assert sorted(tables.read("t").to_pylist(), key=str) == [
            {"a": 1, "b": None},
            {"a": 2, "b": "x"},
            {"a": None, "b": "y"},
        ]
        assert tables.schema("t", 1).names == ["a"]
        assert tables.read("t", version=1).schema.names == ["a"]

    def test_types_come_back_exactly(self, tables: TableStore) -> None:
        """Every kind of column comes back in its type, nulls and all."""
        moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
        schema = pa.schema(
            [
                ("bool", pa.bool_()),
                ("i8", pa.int8()),
                ("i16", pa.int16()),
                ("i32", pa.int32()),
                ("i64", pa.int64()),
                ("f32", pa.float32()),
                ("f64", pa.float64()),
                ("text", pa.string()),
                ("bytes", pa.binary()),
                ("day", pa.date32()),
                ("at", _UTC),
                ("price", pa.decimal128(12, 3)),
                ("tags", pa.list_(pa.field("element", pa.string()))),
                ("vector", pa.list_(pa.field("element", pa.float32()), 3)),
                ("nested", pa.struct([("x", pa.int64()), ("y", pa.list_(pa.field("element", pa.float64())))])),
            ]
        )
        row = {
            "bool": True,
            "i8": -128,
            "i16": 2**15 - 1,
            "i32": -(2**31),
            "i64": 2**63 - 1,
            "f32": 0.5,
            "f64": float("inf"),
            "text": "käse 'quoted' \"twice\"",
            "bytes": b"\x00\xff",
            "day": moment.date(),
            "at": moment,
            "price": 5,
            "tags": ["a", None],
            "vector": [1.0, 2.0, 3.0],
            "nested": {"x": 1, "y": [0.5]},
        }
        rows = pa.Table.from_pylist([row, dict.fromkeys(row)], schema=schema)
        tables.append("t", rows)
        assert tables.schema("t") == schema
        read = tables.read("t")
        assert read.schema == schema
        assert read.to_pylist() == rows.to_pylist()

    def test_other_types_take_their_plain_form(self, tables: TableStore) -> None:
        """Dictionaries, large and unsigned types, and timestamps of any unit or zone are stored plainly."""
        moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
        rows = pa.table(
            {
                "category": pa.array(["a", "b", "a"]).dictionary_encode(),
                "large": pa.array(["x", None, "z"], pa.large_string()),
                "unsigned": pa.array([1, 2, 2**32 - 1], pa.uint32()),
                "naive_ns": pa.array([moment.replace(tzinfo=None)] * 3, pa.timestamp("ns")),
                "zoned_s": pa.array([moment] * 3, pa.timestamp("s", tz="Europe/Vienna")),
            }
        )
        tables.append("t", rows)
        assert [str(kind) for kind in tables.schema("t").types] == [
            "string",
            "string",
            "int64",
            "timestamp[us, tz=UTC]",
            "timestamp[us, tz=UTC]",
        ]
        read = tables.read("t").to_pydict()
        assert (read["category"], read["large"], read["unsigned"]) == (
            ["a", "b", "a"],
            ["x", None, "z"],
            [1, 2, 2**32 - 1],
        )
        assert read["naive_ns"] == read["zoned_s"] == [moment] * 3

    def test_refuses_values_the_type_cannot_hold(self, tables: TableStore) -> None:
        """Text for a number, a number too large, a type no table has: an error that names the column, nothing added."""
        tables.append("t", pa.table({"n": pa.array([1], pa.int8())}))
        for wrong in (pa.array(["1"]), pa.array([1000]), pa.array([1.5]), pa.array([timedelta(seconds=1)])):
            with pytest.raises(DeclarationError, match="'n'"):
                tables.append("t", pa.table({"n": wrong}))
        with pytest.raises(DeclarationError, match="'d'"):
            tables.append("t", pa.table({"n": [1], "d": [timedelta(seconds=1)]}))
        tables.append("t", pa.table({"n": pa.array([2], pa.int64())}))
        assert _sorted(tables.read("t")) == [1, 2]
        assert tables.schema("t").field("n").type == pa.int8()

    def test_a_column_of_nulls_has_no_type_of_its_own(self, tables: TableStore) -> None:
        """It takes the table's type, and stays out of a table that has none for it."""
        tables.append("t", pa.table({"n": [1], "later": pa.nulls(1)}))
        assert tables.schema("t").names == ["n"]
        tables.append("t", pa.table({"n": pa.nulls(1), "later": ["now"]}))
        assert tables.read("t").num_rows == 2
        assert tables.schema("t").field("n").type == pa.int64()

    def test_no_rows_still_make_a_table(self, tables: TableStore) -> None:
        """An empty append creates the table with its columns, and its transaction counts."""
        assert tables.append("t", _numbers(), transaction=("a", 1)) == 1
        assert tables.read("t").schema.names == ["n"]
        assert tables.transaction("t", "a") == 1
        with connect() as con:
            assert to_arrow(con.sql(tables.scan_sql("t"))).num_rows == 0

    def test_takes_a_stream(self, tables: TableStore) -> None:
        """A reader is appended as one version."""
        batches = [pa.record_batch({"n": pa.array([i], pa.int64())}) for i in range(5)]
        version = tables.append("t", pa.RecordBatchReader.from_batches(batches[0].schema, batches))
        assert (version, _sorted(tables.read("t"))) == (1, [0, 1, 2, 3, 4])

    def test_reads_columns_and_rows(self, tables: TableStore) -> None:
        """Columns come in the order asked for; the condition may use columns that are not read."""
        tables.append("t", pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"], "odd name": [0.5, 1.5, 2.5]}))
        read = tables.read("t", columns=["odd name", "b"], where="a >= 2 AND b <> 'z'")
        assert read.to_pylist() == [{"odd name": 1.5, "b": "y"}]

    def test_attaches_under_a_name(self, tables: TableStore) -> None:
        """A query may use the name, again and again, of any version."""
        tables.append("t", _numbers(1, 2))
        tables.append("t", _numbers(3))
        with connect() as con:
            tables.attach(con, "old", "t", version=1)
            tables.attach(con, "new", "t")
            total = to_arrow(con.sql("SELECT (SELECT sum(n) FROM old) AS a, (SELECT sum(n) FROM new) AS b"))
        assert [int(total["a"][0].as_py()), int(total["b"][0].as_py())] == [3, 6]
        assert sum(_sorted(pa.table(tables.stream("t", 1).read_all()))) == 3

    def test_history_tells_when_what_and_how_much(self, tables: TableStore) -> None:
        """Each version has its time, rows, texts and transaction, oldest first."""
        tables.append("t", _numbers(1, 2), metadata={"source": "a.csv"}, transaction=("i", 3))
        tables.append("t", _numbers(3))
        created, first, second = tables.versions("t")
        assert [entry.version for entry in (created, first, second)] == [0, 1, 2]
        assert [entry.rows_added for entry in (created, first, second)] == [0, 2, 1]
        assert dict(first.metadata) == {"source": "a.csv"}
        assert (first.transaction, second.transaction) == (("i", 3), None)
        assert first.committed_at.utcoffset() == timedelta(0)
        assert [entry.version for entry in tables.versions("t", limit=1)] == [2]

    def test_deletes_rows_and_keeps_the_past(self, tables: TableStore) -> None:
        """Rows go from the newest version only."""
        version = tables.append("t", _numbers(1, 2, 3))
        assert tables.delete("t", "n = 2") == 1
        assert tables.delete("t", "n = 2") == 0
        assert _sorted(tables.read("t")) == [1, 3]
        assert _sorted(tables.read("t", version=version)) == [1, 2, 3]

    def test_compacts_and_vacuums(self, tables: TableStore) -> None:
        """Compaction changes no rows; a dry vacuum changes nothing; a vacuum leaves the newest version readable."""
        for number in range(4):
            tables.append("t", _numbers(number))
        assert tables.compact("t") == 4
        assert _sorted(tables.read("t")) == [0, 1, 2, 3]
        assert len(tables.vacuum("t", timedelta(0), dry_run=True)) == 4
        assert _sorted(tables.read("t", version=2)) == [0, 1]
        assert len(tables.vacuum("t", timedelta(0), dry_run=False)) == 4
        assert _sorted(tables.read("t")) == [0, 1, 2, 3]
        assert tables.vacuum("t", timedelta(days=7), dry_run=True) == []

    def test_tells_what_came_between_two_versions(self, tables: TableStore) -> None:
        """What was appended, once; a span that ends where it begins and a table nobody wrote have nothing."""
        assert tables.span("t").empty
        assert tables.added_sql(tables.span("t")) is None
        for number in range(3):
            tables.append("t", _numbers(10 * number, 10 * number + 1))
        assert (tables.span("t", 1).after, tables.span("t", 1).until) == (1, 3)
        assert _added(tables, 0, 3) == [0, 1, 10, 11, 20, 21]
        assert _added(tables, 1, 2) == [10, 11]
        assert _added(tables, 2, 2) == _added(tables, 3, 1) == []
        with connect() as con:
            other = to_arrow(con.sql(str(tables.added_sql(tables.span("t", 2), key=("n",)))))
        assert _sorted(other) == [20, 21]

    def test_rows_written_again_did_not_come(self, tables: TableStore) -> None:
        """Neither compaction nor deletion makes old rows new; equal rows count, and columns may have been added."""
        tables.append("t", _numbers(1, 2, 2, 3))
        tables.compact("t")
        tables.delete("t", "n = 1")
        deleted = tables.version("t")
        assert _added(tables, 1, deleted) == []
        assert _added(tables, 0, deleted) == [2, 2, 3]
        tables.append("t", pa.table({"n": [2], "later": ["x"]}))
        tables.append("t", _numbers(4, 4))
        tables.append("t", _numbers(5))
        tables.compact("t")
        tables.delete("t", "n = 5")
        assert _added(tables, 1, tables.version("t")) == [2, 4, 4]
        assert _added(tables, deleted, tables.version("t")) == [2, 4, 4]

    def test_says_what_is_not_there(self, tables: TableStore) -> None:
        """An unknown table, version or column is an error that names it."""
        for ask in (tables.read, tables.version, tables.schema, tables.count, tables.scan_sql, tables.versions):
            with pytest.raises(UnknownNameError, match="absent"):
                ask("absent")
        tables.append("t", _numbers(1))
        with pytest.raises(UnknownNameError, match="t@5"):
            tables.read("t", version=5)
        with pytest.raises(UnknownNameError, match="'m'"):
            tables.read("t", columns=["m"])

    @pytest.mark.parametrize("name", ["", "/etc", "../up", "a/../b", "a//b", "a/", "a b", "a\\b", ".hidden", "x" * 300])
    def test_refuses_what_is_no_name(self, tables: TableStore, name: str) -> None:
        """A name that could lead out of the store never reaches it."""
        with pytest.raises(DeclarationError):
            tables.append(name, _numbers(1))

    def test_refuses_columns_that_differ_only_in_case(self, tables: TableStore) -> None:
        """Column names are told apart without case, in one append and against the table."""
        with pytest.raises(DeclarationError, match="Rename"):
            tables.append("t", pa.table({"a": [1], "A": [2]}))
        tables.append("t", pa.table({"a": [1]}))
        with pytest.raises(DeclarationError, match="Rename"):
            tables.append("t", pa.table({"A": [1]}))
