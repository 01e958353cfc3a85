"""Bad input in every format: one clear message with file, row, column and value, and the good rows are in."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.data.sources.formats import (
    PACKED,
    TYPED,
    WRITERS,
    arrow_bytes,
    parquet_bytes,
    zip_bytes,
)

from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources import orc
from loopwright.data.sources.files import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.data.versions.snapshot import IngestReport

EVERY = {**WRITERS, **PACKED}
COUNT = 2_000
TABLE = pa.table(
    {"id": range(COUNT), "x": [i * 0.5 for i in range(COUNT)], "s": [f"v{i * 37 % 101}" for i in range(COUNT)]}
)
CONTRACT = [column("id", "int"), column("x", "float")]
LINES = {"csv", "tsv", "jsonl"}  # formats in which what follows a damage can be read


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def ingested(lake: Lake, folder: Path, contents: Mapping[str, bytes], **options: object) -> IngestReport:
    (folder / "in").mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / "in" / name).write_bytes(content)
    options.setdefault("contract", CONTRACT)
    return lake.ingest(Dataset("d", files("in/*"), **options))  # type: ignore[arg-type]


def test_damaged_files_are_one_entry_each_and_block_nobody(lake: Lake, tmp_path: Path) -> None:
    contents: dict[str, bytes] = {"good.csv": b"id,x,s\n-1,1,a\n"}
    for number, (extension, write) in enumerate(EVERY.items()):
        whole = write(TABLE.slice(number))
        contents[f"cut.{extension}"] = whole[: len(whole) * 2 // 3]
        contents[f"other.{extension}"] = f"nothing of the kind {extension}\n".encode() * 40
        contents[f"empty.{extension}"] = b""
    report = ingested(lake, tmp_path, contents)
    refused = {name.removeprefix("in/"): reason for name, reason in report.refused.items()}
    for extension in EVERY:
        assert (f"cut.{extension}" in refused) == (extension not in LINES), extension
        if extension not in LINES:
            assert any(word in refused[f"cut.{extension}"] for word in ("damaged", "broken")), refused
        assert (f"other.{extension}" in refused) == (extension not in {"jsonl", "json"}), extension  # no line is one
        assert f"in/empty.{extension} is empty and adds nothing." in report.warnings
    read = {row["_source"] for row in lake.read(lake.snapshot("d"), columns=["_source"]).to_pylist()}
    assert read == {"in/good.csv", *(f"in/cut.{extension}" for extension in LINES)}
    entries = lake.quarantine("d").entries(check="unit", limit=1000)
    assert {(one.source, one.source_row) for one in entries} == {(name, -1) for name in report.refused}
    again = ingested(lake, tmp_path, {})
    assert (again.rows_read, again.refused) == (0, {})
    rest = {f"cut.{one}": EVERY[one](TABLE.slice(number)) for number, one in enumerate(EVERY) if one not in LINES}
    assert ingested(lake, tmp_path, rest).rows_accepted == sum(
        COUNT - number for number, one in enumerate(EVERY) if one not in LINES
    )


def test_damage_in_the_middle_is_seen(lake: Lake, tmp_path: Path) -> None:
    """Not of ORC, Arrow and Zstandard, as they are written here: they hold no checksum."""
    formats = sorted(set(EVERY) - {"orc", "arrows", "arrow", "csv.zst"})
    contents = {}
    for extension in formats:
        broken = bytearray(EVERY[extension](TABLE))
        middle = len(broken) // 2
        broken[middle : middle + 40] = bytes(byte ^ 0x5A for byte in broken[middle : middle + 40])
        contents[f"a.{extension}"] = bytes(broken)
    report = ingested(lake, tmp_path, contents)
    assert set(report.refused) == {f"in/a.{extension}" for extension in formats if extension not in LINES}
    assert len(LINES) * (COUNT - 10) < report.rows_accepted <= len(LINES) * COUNT
    rows = [row for row in lake.quarantine("d").entries(limit=1000) if row.source_row >= 0]
    assert {row.source for row in rows} == {f"in/a.{extension}" for extension in LINES}
    assert all(COUNT // 2 - 900 < row.source_row < COUNT // 2 + 900 for row in rows)


def test_a_value_of_the_wrong_type_is_named_with_file_row_and_column(lake: Lake, tmp_path: Path) -> None:
    contents = {}
    for number, (extension, write) in enumerate(EVERY.items()):
        values = [str(i * 0.5) for i in range(50)]
        values[number] = f"much of {extension}"
        contents[f"a.{extension}"] = write(pa.table({"id": range(50), "x": values}))
    report = ingested(lake, tmp_path, contents)
    assert (report.rows_accepted, report.rows_quarantined) == (49 * len(EVERY), len(EVERY))
    found = {
        one.source: (one.source_row, [(reason.check, reason.column, reason.value) for reason in one.reasons])
        for one in lake.quarantine("d").entries()
    }
    assert found == {
        f"in/a.{extension}": (number, [("type", "x", f"much of {extension}")]) for number, extension in enumerate(EVERY)
    }


@pytest.mark.parametrize("extension", [one for one in TYPED if one != "avro"])  # whose writer refuses such a text
def test_a_text_that_is_not_utf8_keeps_one_row_out(extension: str, lake: Lake, tmp_path: Path) -> None:
    raw = pa.array([b"good", b"b\xffd", None], pa.binary())
    strings = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0], 1)
    table = pa.table({"id": [1, 2, 3], "s": strings})
    report = ingested(lake, tmp_path, {f"a.{extension}": EVERY[extension](table)}, contract=None)
    assert (report.rows_accepted, report.reasons) == (2, {"row()": 1})
    entry = lake.quarantine("d").entries()[0]
    assert (entry.source_row, entry.reasons[0].value) == (1, "encoding: s is not valid UTF-8")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b'id,x\n1,"open\n2,b\n3,c\n', "row 0: a quote is opened and never closed"),
        ("a.csv", b'id,x,y\n1,b,c\n2,"open,b\n3,c,d\n', "row 1: a quote is opened and never closed"),
        ("a.csv", b'id,x\n1,"' + b"open\n" * 3_500_000, "longer than 8 MiB; is a quote not closed?"),
        ("a.csv", b"id,x,X\n1,2,3\n", "the column 'X' is there twice (upper and lower case count as one)"),
        ("a.csv", b",x\n0,2\n", "column 1 has no name; pandas writes its index so, unless index=False"),
        ("a.csv", b"id,,x\n0,2,3\n", "column 2 has no name"),
        ("a.csv", "id\tx\n1\tå\n".encode("utf-16")[:-1], "truncated data"),
        ("a.json", b'[{"id": 1},\n {"id": 2 "x": 3}]', "the JSON array is broken at line 2, column 11"),
        ("a.parquet.gz", gzip.compress(parquet_bytes(TABLE)), "cannot be compressed as a whole (.gz); unpack it"),
        ("a.arrow.gz", gzip.compress(arrow_bytes(TABLE)), "cannot be compressed as a whole (.gz); unpack it"),
        ("a.feather", b"FEA1" + bytes(100), "Feather version 1 is no longer read"),
        ("a.csv.zip", zip_bytes(b"id\n1\n", b"id\n2\n"), "the zip archive holds 2 files, and one is read; unpack it"),
        ("a.parquet", parquet_bytes(pa.table({"x": [1], "__index_level_0__": [1]})), "is an index of pandas"),
        ("a.parquet", parquet_bytes(pa.table([[1], [2]], names=["a", "A"])), "the column 'A' is there twice"),
        (
            "a.parquet",
            parquet_bytes(pa.table({"x": pa.array([1], pa.time64("us"))})),
            "column 'x': A table cannot hold",
        ),
        ("a.dat", b"id\n1\n", "names no table format; say format="),
    ],
)
def test_what_cannot_be_read_as_a_whole_says_why(
    name: str, content: bytes, said: str, lake: Lake, tmp_path: Path
) -> None:
    report = ingested(lake, tmp_path, {name: content, "good.csv": b"id\n1\n"}, contract=None)
    assert report.rows_accepted == 1
    assert said in report.refused[f"in/{name}"]


def test_rows_too_long_and_too_short(lake: Lake, tmp_path: Path) -> None:
    report = ingested(lake, tmp_path, {"a.csv": b"id,x\n1,1\n2\n3,3,3\n4,4\n"})
    assert report.rows_accepted == 2
    rows = lake.quarantine("d").entries()
    assert [(row.source_row, row.reasons[0].value, row.raw) for row in rows] == [
        (1, "csv: 1 fields where the header has 2", "2"),
        (2, "csv: 3 fields where the header has 2", "3,3,3"),
    ]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b"\xef\xbb\xbfid,x\r\n1,\xc3\xa5\r\n2,b\r\n", {}),
        (b"id,x\r1,\xc3\xa5\r2,b\r", {}),
        (b"\n\r\n\nid,x\n\n1,\xc3\xa5\n2,b\n\n", {}),
        (b"id;x\n1;\xc3\xa5\n2;b\n", {}),
        (b'"id","x"\n"1","\xc3\xa5"\n"2","b"', {}),
        (b'"a,b,c";id;x\n;1;\xc3\xa5\n;2;b\n', {}),
        (b'"id";"x"\n1;\xc3\xa5\n2;b\n', {"delimiter": ";"}),
        ("id\tx\n1\tå\n2\tb\n".encode("utf-16"), {}),
        ("id|x\n1|å\n2|b\n".encode("utf-16-be"), {"encoding": "utf-16-be"}),
        ("id,x\n1,å\n2,b\n".encode("latin-1"), {"encoding": "latin-1"}),
    ],
)
def test_spellings_of_csv(content: bytes, options: dict[str, str], lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    lake.ingest(Dataset("d", files("a.csv", **options)))  # type: ignore[arg-type]
    found = lake.read(lake.snapshot("d"), columns=["id", "x"])
    assert found.to_pylist() == [{"id": 1, "x": "å"}, {"id": 2, "x": "b"}]


def test_a_header_over_two_lines(lake: Lake, tmp_path: Path) -> None:
    ingested(lake, tmp_path, {"a.csv": b'"id\n(number)",x\n1,2\n'}, contract=None)
    assert lake.read(lake.snapshot("d"), columns=["id\n(number)"]).num_rows == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_json_lines_in_other_encodings(encoding: str, lake: Lake, tmp_path: Path) -> None:
    options = {} if encoding == "utf-16" else {"encoding": encoding}
    (tmp_path / "a.jsonl").write_bytes('{"x": "å"}\n{"x": "b"}\n'.encode(encoding))
    lake.ingest(Dataset("d", files("a.jsonl", **options)))  # type: ignore[arg-type]
    assert lake.read(lake.snapshot("d"), columns=["x"])["x"].to_pylist() == ["å", "b"]


def test_a_json_line_in_another_encoding_is_kept_out(lake: Lake, tmp_path: Path) -> None:
    content = b'{"x": "a"}\n{"x": "b\xff"}\n{"x": "c"}\n'
    report = ingested(lake, tmp_path, {"a.jsonl": content}, contract=None)
    assert report.rows_accepted == 2
    entry = lake.quarantine("d").entries()[0]
    assert (entry.source_row, entry.reasons[0].value) == (1, "encoding: the line is not valid UTF-8")


def test_a_large_file_ends_in_a_damage(lake: Lake, tmp_path: Path) -> None:
    rows = b"".join(b"%d,%s\n" % (number, b"p" * 400) for number in range(70_000))  # 28 MB: four blocks
    content = gzip.compress(b"id,pad\n" + rows, compresslevel=1)
    report = ingested(lake, tmp_path, {"a.csv.gz": content[:-9]}, contract=None)
    assert report.rows_accepted == 0
    assert "(after row " in report.refused["in/a.csv.gz"]
    assert "nothing of the file was taken" in report.refused["in/a.csv.gz"]


def test_bytes_in_another_encoding_keep_their_rows_out_alone(lake: Lake, tmp_path: Path) -> None:
    rows = [b"%d,%s" % (number, b"p" * 400) for number in range(30_000)]  # 12 MB: two blocks
    rows[10] = b"10,b\xffd,3"  # too long besides
    rows[25_000] = b"25000,b\xffd"
    rows[25_001] = "25001,Blåbær".encode()
    rows[29_999] = b"\xff"
    report = ingested(lake, tmp_path, {"a.csv": b"id,pad\n" + b"\n".join(rows)}, contract=None)
    assert (report.rows_read, report.rows_accepted) == (30_000, 29_997)
    found = {row.source_row: (row.reasons[0].value, row.raw) for row in lake.quarantine("d").entries()}
    assert found == {
        10: ("csv: 3 fields where the header has 2", "10,b�d,3"),
        25_000: ("encoding: pad is not valid UTF-8", {"id": "25000", "pad": "b�d"}),
        29_999: ("csv: 1 fields where the header has 2", "�"),
    }
    table = lake.read(lake.snapshot("d"), columns=["id", "pad"], where="id = 25001")
    assert table["pad"].to_pylist() == ["Blåbær"]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_damage_that_crashes_the_decoder_of_orc_is_one_entry(
    is_late: bool, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "        for number in" if is_late else "    file ="
    crash = "import os, signal; sys.stdout.buffer.flush(); os.kill(os.getpid(), signal.SIGSEGV)"
    indent = place[: len(place) - len(place.lstrip())]
    monkeypatch.setattr(orc, "_CHILD", orc._CHILD.replace(place, f"{indent}{crash}\n{place}"))
    report = ingested(lake, tmp_path, {"a.orc": EVERY["orc"](TABLE), "good.csv": b"id,x,s\n-1,1,a\n"})
    assert report.rows_accepted == 1
    assert report.refused == {"in/a.orc": "the file is damaged or not complete: its decoder crashed (SIGSEGV)"}


def test_keys_of_json_that_differ_in_case_alone(lake: Lake, tmp_path: Path) -> None:
    content = b'{"id": 1}\n{"Id": 2, "x": 1.5}\n{"id": 3, "ID": 4, "x": 1}\n{"id": null, "ID": 5}\n'
    report = ingested(lake, tmp_path, {"a.jsonl": content}, contract=[column("id", "int")])
    table = lake.read(lake.snapshot("d"), columns=["id"])
    assert (report.rows_accepted, table["id"].to_pylist()) == (3, [1, 2, 5])
    entry = lake.quarantine("d").entries()[0]
    assert (entry.source_row, entry.reasons[0].value) == (2, "json: two keys differ in case alone")
