"""The same table in every format gives the same rows: values, types and nulls."""

from __future__ import annotations

import itertools
import json
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import fastavro
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.sources.formats import MONEY, PACKED, TYPED, WRITERS, avro_bytes, cents

from loopwright.core.errors import MissingExtraError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores

TYPES = {
    "i": pa.int64(),
    "f": pa.float64(),
    "s": pa.string(),
    "b": pa.bool_(),
    "t": pa.timestamp("us", "UTC"),
    "d": pa.date32(),
}
DECLARED = ["int", "float", "string", "bool", "timestamp", "date"]
CONTRACT = [column(name, kind, required=False) for name, kind in zip(TYPES, DECLARED, strict=True)]  # type: ignore[arg-type]
_numbers = itertools.count()

LOCAL = datetime(2026, 1, 1)  # noqa: DTZ001 - a local time has no zone
_moments = st.integers(-8_000_000_000_000_000, 8_000_000_000_000_000).map(
    lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
)
_rows = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "s": st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
        "b": st.none() | st.booleans(),
        "t": st.none() | _moments,
        "d": st.none() | st.dates(date(1700, 1, 1), date(2200, 1, 1)),
    }
)


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return Lake(stores)


def taken(lake: Lake, folder: Path, extension: str, content: bytes, contract: list[object]) -> pa.Table:
    name = f"d{next(_numbers)}"
    (folder / f"{name}.{extension}").write_bytes(content)
    dataset = Dataset(name, files(f"{name}.{extension}"), contract=contract)  # type: ignore[arg-type]
    report = lake.ingest(dataset)
    assert (report.rows_quarantined, report.refused) == (0, {}), extension
    table = lake.read(lake.snapshot(name)).sort_by("_source_row")
    return table.drop_columns([one for one in table.column_names if one.startswith("_")])


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_rows, min_size=1, max_size=8))
def test_random_tables_come_in_as_they_were_written(lake: Lake, tmp_path: Path, rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows, schema=pa.schema(TYPES))
    for extension, write in WRITERS.items():
        found = taken(lake, tmp_path, extension, write(table), CONTRACT)
        assert found.select(list(TYPES)).cast(table.schema).to_pylist() == rows, extension
        assert {one.name: one.type for one in found.schema} == TYPES, extension


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_rows, min_size=1, max_size=8))
def test_formats_with_types_need_no_contract(lake: Lake, tmp_path: Path, rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows, schema=pa.schema(TYPES))
    for extension in TYPED:
        found = taken(lake, tmp_path, extension, WRITERS[extension](table), [])
        assert found.equals(table), extension


def test_many_rows_keep_their_order(lake: Lake, tmp_path: Path) -> None:
    contract = [column("id", "int"), column("s", "string", required=False)]
    for extension, write in {**WRITERS, **PACKED}.items():
        count = 70_000 if extension == "parquet" else 2_000
        table = pa.table({"id": range(count), "s": [None if i % 7 == 0 else f'"{i}",\n' for i in range(count)]})
        assert taken(lake, tmp_path, extension, write(table), contract).equals(table), extension


def test_real_tables_in_every_format(lake: Lake, tmp_path: Path, shared_data: Path) -> None:
    for name, rows in (("bike_sharing_hour", 1_000), ("telco_churn", 1_000), ("sms_spam", 1_000)):
        table = pq.read_table(shared_data / f"{name}.parquet").slice(0, rows)
        plain = {
            pa.int8(): pa.int32(),
            pa.int16(): pa.int32(),
            pa.timestamp("us"): TYPES["t"],
            pa.timestamp("ms"): TYPES["t"],
            pa.timestamp("ns"): TYPES["t"],
        }
        for index, field in enumerate(table.schema):
            kind = plain.get(field.type, field.type)
            table = table.set_column(index, field.name, table[field.name].cast(kind, safe=False))
        for extension, write in WRITERS.items():
            found = taken(lake, tmp_path, extension, write(table), [])
            assert found.num_rows == rows
            for one in table.column_names:
                if extension in TYPED:
                    assert found[one].equals(table[one]), (name, extension, one)
                elif pa.types.is_integer(table[one].type):
                    assert pc.sum(found[one]).as_py() == pc.sum(table[one]).as_py(), (name, extension, one)
                if extension in TYPED or not pa.types.is_string(table[one].type):  # a blank text may mean no number
                    assert found[one].null_count == table[one].null_count, (name, extension, one)


def test_avro_types(lake: Lake, tmp_path: Path) -> None:
    def logical(kind: str, name: str, **more: object) -> dict[str, object]:
        return {"type": kind, "logicalType": name, **more}

    kinds: dict[str, tuple[object, object, object]] = {
        "number_or_text": (["null", "long", "string"], 7, "7"),
        "nothing": ("null", None, None),
        "moment": (
            logical("long", "timestamp-millis"),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
        "local": (
            logical("long", "local-timestamp-micros"),
            LOCAL,
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
        "day": (logical("int", "date"), date(2026, 1, 1), date(2026, 1, 1)),
        "amount": (logical("bytes", "decimal", precision=6, scale=2), Decimal("-12.30"), Decimal("-12.30")),
        "id": (logical("string", "uuid"), UUID(int=5), str(UUID(int=5))),
        "grade": ({"type": "enum", "name": "Grade", "symbols": ["A", "B"]}, "B", "B"),
        "code": ({"type": "fixed", "name": "Code", "size": 2}, b"ab", b"ab"),
        "tags": ({"type": "array", "items": ["null", "string"]}, ["x", None], ["x", None]),
        "ids": ({"type": "array", "items": logical("string", "uuid")}, [UUID(int=6)], [str(UUID(int=6))]),
        "sizes": ({"type": "map", "values": "double"}, {"a": 1.5}, [("a", 1.5)]),
        "place": (
            {
                "type": "record",
                "name": "Place",
                "fields": [
                    {"name": "x", "type": "int"},
                    {"name": "grade", "type": "Grade"},
                    {"name": "seen", "type": ["null", logical("string", "uuid")]},
                ],
            },
            {"x": 1, "grade": "A", "seen": UUID(int=7)},
            {"x": 1, "grade": "A", "seen": str(UUID(int=7))},
        ),
        "node": (
            {
                "type": "record",
                "name": "Node",
                "fields": [{"name": "v", "type": "int"}, {"name": "next", "type": ["null", "Node"]}],
            },
            {"v": 1, "next": {"v": 2, "next": None}},
            {"v": 1, "next": '{"v": 2, "next": null}'},
        ),
    }
    fields = [{"name": name, "type": kind} for name, (kind, _, _) in kinds.items()]
    with (tmp_path / "a.avro").open("wb") as file:
        schema = fastavro.parse_schema({"type": "record", "name": "row", "fields": fields})
        fastavro.writer(file, schema, [{name: value for name, (_, value, _) in kinds.items()}])
    found = taken(lake, tmp_path, "avro", (tmp_path / "a.avro").read_bytes(), [])
    row = found.to_pylist()[0]
    assert row == {name: expected for name, (_, _, expected) in kinds.items() if name in row}
    assert set(kinds) - set(row) <= {"nothing"}


def test_avro_files_of_other_schemas_lie_beside_each_other(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.avro").write_bytes(avro_bytes(pa.table({"id": pa.array([1], pa.int32()), "x": [1]})))
    (tmp_path / "d/b.avro").write_bytes(avro_bytes(pa.table({"x": [1.5], "id": [2], "y": ["new"]}), codec="null"))
    dataset = Dataset("d", files("d/*.avro"), contract=[column("id", "int"), column("x", "float")])
    report = lake.ingest(dataset)
    assert report.warnings == ("The column 'y' is new, in d/b.avro; rows without it hold null.",)
    assert lake.read(lake.snapshot("d"), columns=["id", "x", "y"]).to_pylist() == [
        {"id": 1, "x": 1.0, "y": None},
        {"id": 2, "x": 1.5, "y": "new"},
    ]


def test_avro_without_its_package_names_the_extra(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.avro").write_bytes(avro_bytes(pa.table({"id": [1]})))
    monkeypatch.setitem(sys.modules, "fastavro", None)
    with pytest.raises(MissingExtraError, match=r'pip install "loopwright\[avro\]"'):
        lake.ingest(Dataset("d", files("a.avro")))


def test_nested_values_stay_nested_but_in_json(lake: Lake, tmp_path: Path) -> None:
    rows = [
        {"id": 1, "tags": ["a", None], "place": {"x": 1, "y": "north"}, "points": [{"z": 1.5}]},
        {"id": 2, "tags": None, "place": None, "points": []},
    ]
    table = pa.Table.from_pylist(rows)
    for extension in ("parquet", "arrow", "arrows", "orc"):
        assert taken(lake, tmp_path, extension, WRITERS[extension](table), []).to_pylist() == rows, extension
    found = taken(lake, tmp_path, "jsonl", WRITERS["jsonl"](table), []).to_pylist()
    for row, expected in zip(found, rows, strict=True):
        for name in ("tags", "place", "points"):
            assert (None if row[name] is None else json.loads(row[name])) == expected[name]


def test_decimals_keep_their_last_digit(lake: Lake, tmp_path: Path) -> None:
    amounts = [cents(1), cents(-123_456_789_01), None]
    table = pa.table({"amount": pa.array(amounts, MONEY)})
    for extension in TYPED:
        found = taken(lake, tmp_path, extension, WRITERS[extension](table), [])
        assert (found["amount"].type, found["amount"].to_pylist()) == (MONEY, amounts), extension
