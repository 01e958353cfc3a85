"""What DuckDB reads by itself is what the careful reader gives, value by value, row number by row number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright.core.storage.duck import connect
from loopwright.data.contract.column import column
from loopwright.data.contract.contract import Contract
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.quality.judge import Judge
from loopwright.data.quality.scanning import UnscannableError, scanned
from loopwright.data.sources import csv_scan as module
from loopwright.data.sources.csv_scan import csv_scan
from loopwright.data.sources.files import files
from loopwright.data.sources.tabular import read_file
from loopwright.data.sources.unit import ROW, UnreadableUnitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.quality.judge import Judged
    from loopwright.data.sources.files import FilesSource

CONTRACT = Contract(
    (
        column("n", "int", at_least=0),
        column("x", "float", required=False),
        column("word", "category", among=["a", "b", "a,b", "two\nlines"], required=False),
        column("yes", "bool", required=False),
        column("at", "timestamp", required=False),
    )
)
HEADER = "n,x,word,yes,at,free\n"
PLAIN = st.sampled_from(
    (
        "",
        "0",
        "1",
        "-1",
        "3.0",
        "3.7",
        "1e3",
        "1_000",
        " 2 ",
        "NaN",
        "NA",
        "null",
        "inf",
        "a",
        "b",
        "c",
        "true",
        "Y",
        "1.0",
    )
)
TIMES = st.sampled_from(
    ("2026-01-01", "2026-01-01T00:00:00+02:00", "infinity", "2026-13-01", "24:00", "2026-01-01 7:5")
)
ODD = st.sampled_from(
    ("tail\r", "9223372036854775808", "0x10", "\u00e6", "\x00", "\ufeff", " ", "\t", "-", "+", ".", "1e400")
)
QUOTED = st.sampled_from(('""', '"a"', '"a,b"', '"two\nlines"', '"say ""a"""', 'a"b', '"open'))
CELLS = PLAIN | PLAIN | TIMES | ODD | QUOTED
LINES = st.one_of(
    st.lists(CELLS, min_size=6, max_size=6),
    st.lists(CELLS, min_size=6, max_size=6),
    st.lists(CELLS, min_size=0, max_size=8),
    st.just(["1", "2", "a", "true", "2026-01-01", "x", ""]),
)


@pytest.fixture(autouse=True)
def small_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCANNED_BYTES", 0)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect() as connection:
        yield connection


def judge_of(con: duckdb.DuckDBPyConnection) -> Judge:
    return Judge(con, CONTRACT)


def carefully(con: duckdb.DuckDBPyConnection, path: Path, source: FilesSource) -> list[Judged]:
    judge, found = judge_of(con), []
    for batch in read_file(path, source):
        named = batch.append_column("_source", pa.array(["f"] * batch.num_rows, pa.string()))
        found.append(judge.judge(named, is_text=True))
    return found


def rows_of(parts: list[Judged], kind: str) -> list[dict[str, object]]:
    rows = [row for part in parts for row in getattr(part, kind).to_pylist()]
    return sorted(({k: repr(v) for k, v in row.items()} for row in rows), key=lambda row: int(row[ROW]))


@settings(max_examples=150)
@given(lines=st.lists(LINES, max_size=12), ending=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
@example(
    lines=[["1", "2", "a", "true", "2026-01-01", "x"], ["1", "2", "a", "true", "2026-01-01", "x", ""]],
    ending="\n",
    last=True,
)
def test_gives_what_the_careful_reader_gives(
    con: duckdb.DuckDBPyConnection,
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[list[str]],
    ending: str,
    last: bool,
) -> None:
    path = tmp_path_factory.mktemp("scan") / "f.csv"
    text = HEADER + ending.join(",".join(line) for line in lines) + (ending if last else "")
    path.write_bytes(text.encode("utf-8"))
    source = files(str(path))
    scan = csv_scan(path, source, digest="0" * 64)
    assert scan is not None
    try:
        first = next(read_file(path, source), None)
        expected = carefully(con, path, source)
    except UnreadableUnitError:
        return
    if first is None or not first.num_rows:
        return
    try:
        parts = [judged for judged, _ in scanned(judge_of(con), scan, first, "f", con.cursor())]
    except UnscannableError:
        return
    assert rows_of(parts, "good") == rows_of(expected, "good")
    assert rows_of(parts, "bad") == rows_of(expected, "bad")


def test_keeps_the_order_of_a_large_file(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    cells = [f"{n},{'NA' if n % 1_000 == 7 else n},a,yes,2026-01-01,{'' if n % 3 else n}\n" for n in range(700_000)]
    path.write_text(HEADER + "".join(cells))
    source = files(str(path))
    scan = csv_scan(path, source, digest="0" * 64)
    assert scan is not None
    first = next(read_file(path, source))
    position = 0
    for judged, last in scanned(judge_of(con), scan, first, "f", con.cursor()):
        rows = judged.good
        assert rows["n"].to_numpy().tolist() == rows[ROW].to_numpy().tolist() == list(range(position, last + 1))
        position = last + 1
    assert position == 700_000


def test_a_file_that_duckdb_cannot_read_is_read_carefully(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    good = [f"{n},1.5,a,true,2026-01-01,x\n" for n in range(400_000)]
    good[150_000] = "NA,1.5,a,true,2026-01-01,x\n"
    good[300_000] = "1,2\n"
    (tmp_path / "in/a.csv").write_text(HEADER + "".join(good))
    dataset = Dataset("d", files("in/*.csv"), contract=list(CONTRACT.columns))
    lake = Lake(stores)
    report = lake.ingest(dataset)
    assert (report.rows_read, report.rows_accepted, report.rows_quarantined) == (400_000, 399_998, 2)
    rows = lake.read(lake.snapshot("d"), columns=["n", ROW])
    assert pc.all(pc.equal(rows["n"], rows[ROW])).as_py()
    assert sorted(entry.source_row for entry in lake.quarantine("d").entries()) == [150_000, 300_000]


def test_reads_only_what_a_file_has_grown_by(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a.csv"
    path.write_text(HEADER + "".join(f"{n},1.5,a,true,2026-01-01,x\n" for n in range(10)))
    dataset = Dataset("d", files("in/*.csv"), contract=list(CONTRACT.columns))
    lake = Lake(stores)
    lake.ingest(dataset)
    with path.open("a") as file:
        file.writelines(f"{n},1.5,a,true,2026-01-01,x\n" for n in range(10, 15))
    assert lake.ingest(dataset).rows_read == 5
    assert sorted(lake.read(lake.snapshot("d"))["n"].to_pylist()) == list(range(15))
