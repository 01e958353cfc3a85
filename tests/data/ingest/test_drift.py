"""Columns that come, go, change their type or their spelling between files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.data.versions.snapshot import IngestReport


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def ingested(lake: Lake, folder: Path, contents: Mapping[str, str | pa.Table], *rules: object) -> IngestReport:
    (folder / "in").mkdir(exist_ok=True)
    for name, content in contents.items():
        if isinstance(content, str):
            (folder / "in" / name).write_text(content)
        else:
            pq.write_table(content, folder / "in" / name)
    return lake.ingest(Dataset("d", files("in/*"), contract=list(rules)))  # type: ignore[arg-type]


def rows(lake: Lake, *names: str) -> list[tuple[object, ...]]:
    table = lake.read(lake.snapshot("d"), columns=[*names, "_source", "_source_row"])
    found = sorted(table.to_pylist(), key=lambda row: (row["_source"], row["_source_row"]))
    return [tuple(row[name] for name in names) for row in found]


def test_a_new_column_is_kept_and_told(lake: Lake, tmp_path: Path) -> None:
    report = ingested(lake, tmp_path, {"a.csv": "id\n1\n", "b.csv": "y,id\nn,2\n", "c.csv": "id,y\n3,m\n"})
    assert report.warnings == ("The column 'y' is new, in in/b.csv; rows without it hold null.",)
    report = ingested(lake, tmp_path, {"d.csv": "z,id,y\n1.5,4,o\n"})
    assert report.warnings == ("The column 'z' is new, in in/d.csv; rows without it hold null.",)
    assert rows(lake, "id", "y", "z") == [(1, None, None), (2, "n", None), (3, "m", None), (4, "o", 1.5)]


def test_an_absent_column_is_null_or_refuses_the_file(lake: Lake, tmp_path: Path) -> None:
    rules = [column("id", "int"), column("x", "int", required=False)]
    report = ingested(lake, tmp_path, {"a.csv": "id,x,y\n1,1,1\n", "b.csv": "id\n2\n", "c.csv": "id,x\n3,3\n"}, *rules)
    assert report.warnings == (
        "There is no column 'y' in in/b.csv and 1 more; it is null there.",
        "There is no column 'x' in in/b.csv; it is null there.",
    )
    report = ingested(lake, tmp_path, {"d.csv": "x,y\n4,4\n"}, *rules)
    assert report.refused == {"in/d.csv": "there is no column 'id', which the contract requires. Columns: x, y."}
    assert rows(lake, "id", "x", "y") == [(1, 1, 1), (2, None, None), (3, 3, None)]


@pytest.mark.parametrize("is_declared", [True, False])
def test_another_case_is_the_same_column(is_declared: bool, lake: Lake, tmp_path: Path) -> None:
    rules = [column("City", "string")] if is_declared else []
    report = ingested(lake, tmp_path, {"a.csv": "id,City\n1,Oslo\n", "b.csv": "ID,city\n2,Bergen\n"}, *rules)
    assert sorted(report.warnings) == [
        "The column 'City' is spelled 'city' in in/b.csv; it is read as 'City'.",
        "The column 'id' is spelled 'ID' in in/b.csv; it is read as 'id'.",
    ]
    report = ingested(lake, tmp_path, {"c.parquet": pa.table({"CITY": ["Voss"], "id": [3]})}, *rules)
    assert report.warnings == ("The column 'City' is spelled 'CITY' in in/c.parquet; it is read as 'City'.",)
    assert rows(lake, "id", "City") == [(1, "Oslo"), (2, "Bergen"), (3, "Voss")]


@pytest.mark.parametrize("in_one_ingest", [True, False])
def test_a_type_that_changes(in_one_ingest: bool, lake: Lake, tmp_path: Path) -> None:
    contents = {"a.csv": "id,x\n1,1\n", "b.csv": "id,x\n2,1.5\n3,2.0\n", "c.csv": "id,x\n4,much\n"}
    said: list[str] = []
    for group in [contents] if in_one_ingest else [{name: text} for name, text in contents.items()]:
        said += ingested(lake, tmp_path, group).warnings
    assert rows(lake, "id", "x") == [(1, 1), (3, 2)]
    found = [(one.source, one.source_row, one.reasons[0].column, one.reasons[0].value) for one in _entries(lake)]
    assert found == [("in/b.csv", 0, "x", "1.5"), ("in/c.csv", 0, "x", "much")]
    assert len(said) == (1 if in_one_ingest else 2)
    assert said[0].startswith("The type of 'x' was taken from its first rows, and does not fit ")
    assert said[0].endswith("Declare it, as column('x', 'float') or 'string', in a new dataset.")


def test_a_type_that_changes_and_is_declared(lake: Lake, tmp_path: Path) -> None:
    contents = {
        "a.csv": "id,x\n1,1\n",
        "b.parquet": pa.table({"id": [2, 3], "x": [1.5, None]}),
        "c.parquet": pa.table({"id": [4], "x": pa.array([2], pa.int8())}),
        "d.parquet": pa.table({"id": [5, 6], "x": ["3.5", "much"]}),
        "e.jsonl": '{"id": 7, "x": 4}\n{"id": 8, "x": "5.5"}\n{"id": 9, "x": [1]}\n',
    }
    report = ingested(lake, tmp_path, contents, column("x", "float", required=False))
    assert rows(lake, "id", "x") == [(1, 1.0), (2, 1.5), (3, None), (4, 2.0), (5, 3.5), (7, 4.0), (8, 5.5)]
    assert (report.reasons, report.warnings) == ({"type(x)": 2}, ())
    assert [(one.source, one.source_row, one.reasons[0].value) for one in _entries(lake)] == [
        ("in/d.parquet", 1, "much"),
        ("in/e.jsonl", 2, "[1]"),
    ]


def test_decimal_commas_are_refused_with_a_hint(lake: Lake, tmp_path: Path) -> None:
    rules = [column("x", "float", required=False), column("y", "float", required=False)]
    report = ingested(lake, tmp_path, {"a.csv": "id;x;y\n1;1,5;2\n2;1.000,25;3\n3;;4\n4;2.5;z\n"}, *rules)
    assert report.reasons == {"type(x)": 2, "type(y)": 1}
    said = "Numbers of 'x' have a comma, such as '1,5', and are in the quarantine. Write them with a decimal point and "
    assert report.warnings == (said + "without signs between thousands, or declare the column as 'string'.",)


def test_pushed_rows_that_lack_a_column_warn_nobody(lake: Lake) -> None:
    dataset = Dataset("p", push(), contract=[column("x", "int", required=False)])
    assert lake.push(dataset, [{"id": 1, "y": 2}]).warnings == ()
    assert lake.push(dataset, [{"id": 2, "X": 7}]).warnings == (
        "The column 'x' is spelled 'X' in push:" + _last_unit(lake) + "; it is read as 'x'.",
    )
    assert lake.read(lake.snapshot("p"), columns=["x"])["x"].to_pylist() == [None, 7]


def _last_unit(lake: Lake) -> str:
    table = lake.read(lake.snapshot("p"), columns=["_source"])
    return str(table["_source"][-1]).removeprefix("push:")


def _entries(lake: Lake) -> list[object]:
    return sorted(lake.quarantine("d").entries(), key=lambda one: (one.source, one.source_row))  # type: ignore[return-value]
