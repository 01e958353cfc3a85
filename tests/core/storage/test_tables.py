from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from loopwright.core.clock import ManualClock
from loopwright.core.errors import DeclarationError, StoreCorruptError, StoreError
from loopwright.core.storage.duck import connect, to_arrow
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from pathlib import Path

APPENDER = """
import sys
import pyarrow as pa
from loopwright.core.storage.tables import TableStore

tables, me, times = TableStore(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for number in range(times):
    tables.append("t", pa.table({"who": ["all"], "number": [number]}), transaction=("shared", number))
    tables.append("t", pa.table({"who": [me], "number": [number]}), transaction=(me, number))
    if number == 1:
        tables.append("t", pa.table({"who": [me], "number": [-1], f"extra_{me}": ["x"]}))
"""


@pytest.fixture
def tables(tmp_path: Path, clock: ManualClock) -> TableStore:
    return TableStore(tmp_path, clock=clock)


def test_processes_append_side_by_side(tmp_path: Path) -> None:
    """They race for the creation, for the same transactions, with their own, and with new columns."""
    writers, times = 4, 5
    commands = [[sys.executable, "-c", APPENDER, str(tmp_path), f"w{i}", str(times)] for i in range(writers)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for command in commands]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in running:
        process.communicate(b"\n")
    assert [process.returncode for process in running] == [0] * writers
    tables = TableStore(tmp_path)
    rows = tables.read("t", columns=["who", "number"]).to_pylist()
    seen = sorted((row["who"], row["number"]) for row in rows)
    names = ["all"] + [f"w{i}" for i in range(writers)]
    expected = [(name, number) for name in names for number in range(times)]
    assert seen == sorted(expected + [(f"w{i}", -1) for i in range(writers)])
    assert set(tables.schema("t").names) == {"who", "number", *(f"extra_w{i}" for i in range(writers))}
    assert [entry.version for entry in tables.versions("t")] == list(range(len(seen) + 1))


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=-1), timedelta(days=9999)], ids=str)
def test_rows_are_read_in_the_order_of_their_commits(tmp_path: Path, ahead: timedelta) -> None:
    """Also where clocks stand still, or disagree."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(15):  # each as another process would
        clock = ManualClock(begin + number * ahead if ahead.days < 99 else begin + ahead * (number % 2 == 0))
        TableStore(tmp_path, clock=clock).append("t", pa.table({"n": [number]}))
    assert TableStore(tmp_path).read("t")["n"].to_pylist() == list(range(15))


def test_threads_share_one_store(tables: TableStore) -> None:
    def append(name: str) -> None:
        for number in range(5):
            tables.append("t", pa.table({"who": [name], "n": [number]}), transaction=(name, number))
            tables.read("t")

    running = [threading.Thread(target=append, args=(f"t{i}",)) for i in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert tables.count("t") == 20


def test_commit_times_come_from_the_clock(tables: TableStore, clock: ManualClock) -> None:
    tables.append("t", pa.table({"n": [1]}))
    clock.advance(timedelta(days=3))
    tables.append("t", pa.table({"n": [2]}))
    first = datetime(2026, 1, 1, tzinfo=UTC)
    assert [entry.committed_at for entry in tables.versions("t")] == [first, first, first + timedelta(days=3)]


def test_transactions_and_versions_outlive_checkpoints(tables: TableStore, tmp_path: Path) -> None:
    for number in range(120):
        tables.append("t", pa.table({"n": [number]}), transaction=("a", number) if number < 5 else None)
    log = tmp_path / "tables" / "t" / "_delta_log"
    assert list(log.glob("*.checkpoint*.parquet"))
    again = TableStore(tmp_path)
    assert again.transaction("t", "a") == 4
    assert again.append("t", pa.table({"n": [0]}), transaction=("a", 4)) == 5
    assert again.read("t", version=3)["n"].to_pylist() == [0, 1, 2]
    assert len(again.versions("t")) == 121


def test_rows_come_in_the_order_of_their_commits(tables: TableStore) -> None:
    for number in range(12):
        tables.append("t", pa.table({"n": [10 * number, 10 * number + 1]}))
    assert tables.read("t")["n"].to_pylist() == [10 * i + j for i in range(12) for j in range(2)]


def test_a_file_nobody_committed_is_not_read(tables: TableStore, tmp_path: Path) -> None:
    tables.append("t", pa.table({"n": [1]}))
    half = tmp_path / "tables" / "t" / "part-00000-half.parquet"
    half.write_bytes(b"PAR1 cut off")
    assert tables.read("t")["n"].to_pylist() == [1]
    assert tables.vacuum("t", timedelta(0), dry_run=False) == [half.name]
    assert not half.exists()


def test_a_missing_file_is_an_error_not_a_gap(tables: TableStore, tmp_path: Path) -> None:
    tables.append("t", pa.table({"n": [1]}))
    for file in (tmp_path / "tables" / "t").glob("*.parquet"):
        file.unlink()
    for ask in (tables.read, lambda name: tables.stream(name).read_all()):
        with pytest.raises(StoreError, match="'t'"):
            ask("t")


def test_a_damaged_file_is_an_error_too(tables: TableStore, tmp_path: Path) -> None:
    tables.append("t", pa.table({"n": [1]}))
    for file in (tmp_path / "tables" / "t").glob("*.parquet"):
        file.write_bytes(b"PAR1 and then nothing of use")
    with pytest.raises(StoreCorruptError, match="'t'"):
        tables.read("t")


def test_a_partitioned_table_of_another_writer_is_read_too(tables: TableStore, tmp_path: Path) -> None:
    rows = pa.table({"city": ["Graz", "Linz", "Graz"], "n": [1, 2, 3]})
    write_deltalake(str(tmp_path / "tables" / "foreign"), rows, partition_by=["city"])
    with pytest.raises(StoreError, match="attach"):
        tables.scan_sql("foreign")
    with connect() as con:
        tables.attach(con, "f", "foreign")
        found = to_arrow(con.sql("SELECT city, sum(n)::INT AS n FROM f GROUP BY city ORDER BY city"))
    assert found.to_pylist() == [{"city": "Graz", "n": 4}, {"city": "Linz", "n": 2}]
    assert tables.read("foreign", where="city = 'Linz'")["n"].to_pylist() == [2]
    assert tables.tables() == ["foreign"]
    assert tables.versions("foreign")[0].rows_added == 3


def test_a_scan_keeps_to_its_version(tables: TableStore) -> None:
    """The text of a scan gives the same rows after appends, deletes and compaction."""
    tables.append("t", pa.table({"n": [1, 2]}))
    sql = tables.scan_sql("t")
    tables.append("t", pa.table({"n": [3]}))
    tables.delete("t", "n = 1")
    tables.compact("t")
    with connect() as con:
        assert to_arrow(con.sql(sql))["n"].to_pylist() == [1, 2]
    assert sorted(tables.read("t")["n"].to_pylist()) == [2, 3]


def test_a_mistake_in_a_condition_is_explained(tables: TableStore) -> None:
    tables.append("t", pa.table({"n": [1]}))
    for condition in ("m = 1", "n = = 1", "n = 'x'"):
        with pytest.raises(DeclarationError, match="'t'"):
            tables.read("t", where=condition)
    with pytest.raises(StoreError, match="'t'"):
        tables.delete("t", "m = 1")


def test_many_versions_of_many_tables_are_described_once_each(tables: TableStore) -> None:
    """The store keeps a bounded number of descriptions, and dropped ones are made again."""
    for number in range(70):
        tables.append("t", pa.table({"n": [number]}))
        tables.count("t")
    assert [tables.count("t", version) for version in (1, 35, 70)] == [1, 35, 70]


def test_a_table_is_created_once(tmp_path: Path) -> None:
    """Openings that race for the creation leave one creation, as version 0, and every row."""
    for attempt in range(5):
        stores = [TableStore(tmp_path / str(attempt)) for _ in range(6)]
        barrier = threading.Barrier(len(stores))

        def begin(store: TableStore, number: int, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            store.append("t", pa.table({"n": [number]}))

        running = [threading.Thread(target=begin, args=(store, number)) for number, store in enumerate(stores)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert [entry.operation for entry in stores[0].versions("t")] == ["CREATE TABLE"] + ["WRITE"] * 6
        assert sorted(stores[0].read("t")["n"].to_pylist()) == list(range(6))
