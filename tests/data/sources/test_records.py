"""Records in Avro and Protobuf, plain and in the frame of a schema registry; a damaged one keeps only itself back."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import SourceError
from loopwright.core.storage.events import Event
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.record_format import RecordFormat
from loopwright.data.sources.records import decoder_of
from loopwright.data.sources.stream import events
from loopwright.data.sources.unit import DEFECT

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores

fastavro = pytest.importorskip("fastavro", reason="the extra avro is not installed")
descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2", reason="the extra kafka is not installed")

MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
AVRO = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "city", "type": ["null", "string"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}


def avro(**values: object) -> bytes:
    whole = {"id": 1, "city": None, "at": MOMENT, "price": Decimal("1.50"), "tags": []} | values
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(AVRO), whole)
    return stream.getvalue()


def ingest(stores: Stores, source: Any, *values: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    stores.events.append("t", [Event(None, value) for value in values])
    lake = Lake(stores)
    lake.ingest(Dataset("d", source, contract=[column("id", "int")]))
    reasons = [str(entry.reasons[0].value) for entry in lake.quarantine("d").entries()]
    return lake.read(lake.snapshot("d")).to_pylist(), reasons


def test_avro_by_its_schema(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "order.avsc").write_text(json.dumps(AVRO))
    good = [avro(city="Oslo", tags=["a", "b"]), avro(id=2)]
    damaged = [b"", good[0][:4], good[0] + b"more"]
    rows, reasons = ingest(stores, events("t", format="avro", schema="order.avsc"), *damaged, *good)
    assert [(row["id"], row["city"], row["at"], row["price"]) for row in rows] == [
        (1, "Oslo", MOMENT, Decimal("1.50")),
        (2, None, MOMENT, Decimal("1.50")),
    ]
    assert list(rows[0]["tags"]) == ["a", "b"]
    assert len(reasons) == 3
    assert all(reason.startswith("avro: ") for reason in reasons)


def test_avro_in_the_frame_of_a_registry(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "order.avsc").write_text(json.dumps(AVRO))
    source = events("t", format="avro", schema="order.avsc", framed=True)
    rows, reasons = ingest(stores, source, b"\x00\x00\x00\x00\x07" + avro(id=5), avro(id=6))
    assert [row["id"] for row in rows] == [5]
    assert "frame of a schema registry" in reasons[0]


@pytest.mark.parametrize("content", ["{", '"string"', '{"type": "record", "name": "A"}', '{"type": "array"}'])
def test_refuses_what_is_no_avro_schema(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.avsc").write_text(content)
    with pytest.raises(SourceError, match=r"bad\.avsc"):
        decoder_of(RecordFormat("avro", "bad.avsc"), tmp_path)


def test_names_a_schema_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"order\.avsc cannot be read"):
        decoder_of(RecordFormat("avro", "order.avsc"), tmp_path)


def described() -> Any:
    """Describe ``shop.Order``, as protoc would."""
    from google.protobuf import timestamp_pb2  # noqa: PLC0415 - an extra

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="shop.proto", package="shop", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="PLAIN", number=0)
    kind.value.add(name="GIFT", number=1)
    message = file.message_type.add(name="Order")
    for number, (name, type_, label, type_name) in enumerate(
        [
            ("id", field.TYPE_INT64, field.LABEL_OPTIONAL, None),
            ("city", field.TYPE_STRING, field.LABEL_OPTIONAL, None),
            ("kind", field.TYPE_ENUM, field.LABEL_OPTIONAL, ".shop.Kind"),
            ("at", field.TYPE_MESSAGE, field.LABEL_OPTIONAL, ".google.protobuf.Timestamp"),
            ("tags", field.TYPE_STRING, field.LABEL_REPEATED, None),
            ("weight", field.TYPE_DOUBLE, field.LABEL_OPTIONAL, None),
            ("big", field.TYPE_UINT64, field.LABEL_OPTIONAL, None),
            ("raw", field.TYPE_BYTES, field.LABEL_OPTIONAL, None),
        ],
        start=1,
    ):
        message.field.add(name=name, number=number, type=type_, label=label, type_name=type_name)
    weight = message.field[5]
    weight.proto3_optional, weight.oneof_index = True, 0
    message.oneof_decl.add(name="_weight")
    moment = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(moment)
    return descriptor_pb2.FileDescriptorSet(file=[moment, file])


def order(**values: object) -> bytes:
    from google.protobuf import descriptor_pool, message_factory  # noqa: PLC0415 - an extra

    pool = descriptor_pool.DescriptorPool()
    for file in described().file:
        pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))(**values)
    made.at.FromDatetime(MOMENT)
    return made.SerializeToString()


def test_protobuf_by_its_descriptors(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "shop.desc").write_bytes(described().SerializeToString())
    source = events("t", format="protobuf", schema="shop.desc", message="shop.Order")
    whole = order(id=7, city="Oslo", kind=1, tags=["a"], weight=0.0, big=2**64 - 1, raw=b"\x00")
    rows, reasons = ingest(stores, source, whole, b"\xff\xff", order(id=8, kind=9))
    first, second = ({k: v for k, v in row.items() if not k.startswith("_")} for row in rows)
    assert first == {
        "id": 7,
        "city": "Oslo",
        "kind": "GIFT",
        "at": MOMENT,
        "tags": '["a"]',
        "weight": 0.0,
        "big": Decimal(2**64 - 1),
        "raw": b"\x00",
    }
    assert (second["city"], second["kind"], second["weight"], second["tags"]) == ("", "9", None, None)
    assert len(reasons) == 1
    assert reasons[0].startswith("protobuf: ")


def test_protobuf_in_the_frame_of_a_registry(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "shop.desc").write_bytes(described().SerializeToString())
    source = events("t", format="protobuf", schema="shop.desc", message="shop.Order", framed=True)
    frame = b"\x00\x00\x00\x00\x07"
    rows, reasons = ingest(stores, source, frame + b"\x00" + order(id=1), frame + b"\x02\x00" + order(id=2), frame)
    assert [row["id"] for row in rows] == [1, 2]
    assert len(reasons) == 1


def test_names_a_message_that_is_not_described(tmp_path: Path) -> None:
    (tmp_path / "shop.desc").write_bytes(described().SerializeToString())
    with pytest.raises(SourceError, match=r"describes no message 'shop\.Bill'"):
        decoder_of(RecordFormat("protobuf", "shop.desc", "shop.Bill"), tmp_path)
    (tmp_path / "bad.desc").write_bytes(b"\xff\xff\xff")
    with pytest.raises(SourceError, match=r"bad\.desc"):
        decoder_of(RecordFormat("protobuf", "bad.desc", "shop.Order"), tmp_path)


@given(st.lists(st.binary(max_size=40) | st.none(), max_size=8))
def test_any_bytes_give_one_row_each_or_a_reason(values: list[bytes | None]) -> None:
    for framed in (False, True):
        table, reasons = decoder_of(RecordFormat(framed=framed), None).table(values)  # type: ignore[arg-type]
        assert (table.num_rows, len(reasons)) == (len(values), len(values))
        for index, value in enumerate(values):
            body = (
                value if value is None or not framed else value[5:] if value[:1] == b"\0" and len(value) > 4 else None
            )
            assert (reasons[index] is None) == _is_object(body)


def _is_object(value: bytes | None) -> bool:
    try:
        return isinstance(json.loads((value or b"").decode()), dict)
    except ValueError:
        return False


_CELLS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(st.characters(codec="utf-8"), max_size=5)


@given(st.lists(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=3), _CELLS, max_size=3)))
def test_json_gives_every_value_as_text(rows: list[dict[str, object]]) -> None:
    values = [json.dumps(row).encode() for row in rows]
    table, reasons = decoder_of(RecordFormat(), None).table(values)  # type: ignore[arg-type]
    assert not any(reasons)
    assert DEFECT not in table.column_names
    found = [table.slice(index, 1) for index in range(table.num_rows)]
    for row, one in zip(rows, found, strict=True):
        for index, name in enumerate(table.column_names):
            expected = row.get(name)
            text = json.dumps(expected) if isinstance(expected, bool | int) else expected
            assert one.column(index).to_pylist() == [text]
    assert all(pa.types.is_string(field.type) for field in table.schema)
