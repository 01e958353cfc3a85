"""Merging small files changes no row, whoever writes, reads or is killed meanwhile."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.clock import ManualClock
from loopwright.core.storage import table_compaction
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from pathlib import Path

CHILD = """
import os, random, signal, sys
import pyarrow as pa
from loopwright.core.storage import table_compaction
from loopwright.core.storage.tables import TableStore

table_compaction._STEPS = ((16_384, 5), (262_144, 3))
tables, stage, after = TableStore(sys.argv[1]), sys.argv[2], int(sys.argv[3])
reached = 0

def told(name):
    global reached
    reached += name == stage
    if reached > after:
        os.kill(os.getpid(), signal.SIGKILL)

number = 1 + (tables.transaction("t", "w") if tables.exists("t") and tables.transaction("t", "w") is not None else -1)
while True:
    tables.append("t", pa.table({"n": [2 * number, 2 * number + 1], "s": ["a", "b"]}), transaction=("w", number))
    print(number, flush=True)
    tables.tidy("t", on_stage=told)
    number += 1
"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_compaction, "_STEPS", ((16_384, 5), (262_144, 3)))


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int64()), "s": ["x"] * len(numbers)})


def filled(folder: Path, commits: int) -> TableStore:
    tables = TableStore(folder)
    for number in range(commits):
        tables.append("t", rows(10 * number, 10 * number + 1))
    return tables


def files_of(tables: TableStore, version: int | None = None) -> int:
    return tables.scan_sql("t", version).count(".parquet")


def test_merges_when_there_are_enough_and_keeps_every_version(tmp_path: Path) -> None:
    tables = filled(tmp_path, 4)
    assert tables.tidy("t") == 0
    tables.append("t", rows(40))
    newest = tables.version("t")
    before = {version: tables.read("t", version=version) for version in range(newest + 1)}
    assert tables.tidy("t") == 5
    for store in (tables, TableStore(tmp_path)):
        assert store.version("t") == newest + 1
        for version, table in before.items():
            assert store.read("t", version=version).equals(table)
        assert files_of(store) == files_of(store, newest) == 1  # the same rows are read from the merged file
        assert files_of(store, newest - 1) == 4
        assert store.added_sql(store.span("t", newest)) is None
        assert store.count("t") == store.count("t", newest) == 9
    assert DeltaTable(str(tmp_path / "tables/t")).count() == 9
    assert tables.versions("t")[-1].operation == "OPTIMIZE"


def test_finds_what_came_beside_what_was_merged(tmp_path: Path) -> None:
    tables = filled(tmp_path, 5)
    seen = tables.version("t")
    tables.tidy("t")
    tables.append("t", rows(77))
    sql = tables.added_sql(tables.span("t", seen), key=("n",))
    whole = tables.added_sql(tables.span("t", seen))
    assert sql is not None
    assert whole is not None
    import duckdb  # noqa: PLC0415

    assert [row[0] for row in duckdb.sql(sql).fetchall()] == [row[0] for row in duckdb.sql(whole).fetchall()] == [77]


def test_merges_files_with_other_columns(tmp_path: Path) -> None:
    tables = filled(tmp_path, 3)
    for number in range(3):
        tables.append("t", pa.table({"n": [100 + number], "later": [0.5]}))
    before = tables.read("t").sort_by("n")
    assert tables.tidy("t") == 6
    assert tables.read("t").sort_by("n").equals(before)


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.sampled_from([1, 1, 1, 4, 30]), min_size=2, max_size=14), at_once=st.booleans())
def test_rows_stay_in_the_order_of_their_commits(sizes: list[int], at_once: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_compaction, "_STEPS", ((3, 3), (20, 2)))
        clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))  # which stands still: all commits are of one moment
        tables = TableStore(folder, clock=clock)
        first = 0
        for size in sizes:
            tables.append("t", pa.table({"n": range(first, first + size)}))
            first += size
            if not at_once:
                tables.tidy("t")
        for store in (tables, TableStore(folder)):
            assert store.read("t")["n"].to_pylist() == list(range(first))
        while tables.tidy("t", is_final=True):
            assert tables.read("t")["n"].to_pylist() == list(range(first))
        assert TableStore(folder).read("t")["n"].to_pylist() == list(range(first))
        assert files_of(tables) <= 1 + 2 * sum(size >= 20 for size in sizes)


def test_final_steps_leave_one_file(tmp_path: Path) -> None:
    tables = filled(tmp_path, 3)
    while tables.tidy("t", is_final=True):
        pass
    assert files_of(tables) == 1


def test_gives_up_where_a_file_was_deleted_from(tmp_path: Path) -> None:
    tables, other = filled(tmp_path, 6), TableStore(tmp_path)

    def deleting(stage: str) -> None:
        if stage == "merged":
            other.delete("t", "n = 20")

    assert tables.tidy("t", on_stage=deleting) == 0
    assert sorted(tables.read("t")["n"].to_pylist()) == [0, 1, 10, 11, 21, 30, 31, 40, 41, 50, 51]


def test_others_append_and_read_meanwhile(tmp_path: Path) -> None:
    tables = filled(tmp_path, 6)
    counts: list[int] = []

    def append(number: int) -> None:
        store = TableStore(tmp_path)
        for i in range(8):
            store.append("t", rows(1000 * number + i), transaction=(f"a{number}", i))
            counts.append(
                len(set(store.read("t")["n"].to_pylist())) - store.read("t", version=store.version("t")).num_rows
            )

    threads = [threading.Thread(target=append, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tables.tidy("t")
    expected = [10 * n + i for n in range(6) for i in (0, 1)] + [1000 * n + i for n in (1, 2) for i in range(8)]
    assert sorted(tables.read("t")["n"].to_pylist()) == sorted(expected)
    assert max(counts) <= 0  # never a row twice


def test_nothing_is_lost_or_doubled_by_a_kill(tmp_path: Path) -> None:
    """SIGKILL at each stage of a merge, and at any moment."""
    chance = random.Random(0)
    cuts = [("merged", 0), ("compacted", 0), ("merged", 2), ("compacted", 3), *[("never", 0)] * 4]
    for stage, after in cuts:
        command = [sys.executable, "-c", CHILD, str(tmp_path), stage, str(after)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = []
            if stage == "never":
                said = [process.stdout.readline() for _ in range(chance.randint(3, 25))]
                for _ in range(chance.randrange(300_000)):  # a moment, to be somewhere inside
                    pass
                process.kill()
            said += process.stdout.readlines()
        assert process.returncode == -signal.SIGKILL
        tables = TableStore(tmp_path)
        last = tables.transaction("t", "w")
        assert last is not None
        assert int(said[-1]) <= last <= int(said[-1]) + 1
        numbers = sorted(tables.read("t")["n"].to_pylist())
        assert numbers == list(range(2 * last + 2))
        assert tables.stream("t").read_all().num_rows == len(numbers)  # delta-rs finds the same


def test_lists_of_numbers_are_appended_and_merged_like_plain_columns(tmp_path: Path) -> None:
    tables = TableStore(tmp_path)
    kind = pa.list_(pa.float64())
    rows = [
        pa.table({"n": [number], "p": pa.array([[number / 3, float("nan")][: number % 3]], kind)})
        for number in range(70)
    ]
    for one in rows:
        tables.append("lists", one)
    assert tables.tidy("lists") > 1
    expected = [(row["n"], str(row["p"])) for row in pa.concat_tables(rows).to_pylist()]
    assert [(row["n"], str(row["p"])) for row in tables.read("lists").to_pylist()] == expected
    streamed = tables.stream("lists").read_all().sort_by("n").to_pylist()
    assert [(row["n"], str(row["p"])) for row in streamed] == expected
    tables.compact("lists")
    assert sorted((row["n"], str(row["p"])) for row in tables.read("lists").to_pylist()) == sorted(expected)
