"""Decodes records in Protobuf, by compiled descriptors."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from loopwright.core.errors import MissingExtraError, SourceError
from loopwright.data.sources.record_frame import payload, reason

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOMENT = pa.timestamp("us", tz="UTC")


class ProtobufRecords:
    """Messages in Protobuf, by compiled descriptors; nested and repeated fields as JSON text."""

    def __init__(self, content: bytes, path: str, message: str, *, is_framed: bool) -> None:
        try:
            from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415 - an extra
            from google.protobuf.message import DecodeError  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise MissingExtraError("protobuf", extra="kafka") from None
        self._is_framed = is_framed
        pool = descriptor_pool.DescriptorPool()
        try:
            for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
                pool.Add(file)
            found = pool.FindMessageTypeByName(message)
        except (DecodeError, KeyError, TypeError) as error:
            raise SourceError(
                f"{path} describes no message '{message}': {reason(error)}.",
                hint="Write it with protoc --include_imports --descriptor_set_out, and give the full name.",
            ) from error
        self._message = message_factory.GetMessageClass(found)
        self._fields = list(found.fields)

    def table(self, values: Sequence[bytes | None]) -> tuple[pa.Table, list[str | None]]:
        """Return one row per value, and why a value could not be read, or None."""
        reasons: list[str | None] = [None] * len(values)
        columns: list[list[object]] = [[] for _ in self._fields]
        for index, value in enumerate(values):
            row: list[object]
            try:
                content = payload(value, is_framed=self._is_framed)
                content = self._message.FromString(_unindexed(content) if self._is_framed else content)
                row = [_field(content, one) for one in self._fields]
            except Exception as error:  # noqa: BLE001 - damaged bytes can make the decoder raise anything
                reasons[index] = f"protobuf: {reason(error)}"
                row = [None] * len(self._fields)
            for column, cell in zip(columns, row, strict=True):
                column.append(cell)
        types = [_arrow_type(one) for one in self._fields]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        return pa.table(arrays, names=[one.name for one in self._fields]), reasons


def _unindexed(payload: bytes) -> bytes:
    """Leave out the path of the message in its file that a registry's serialiser writes before the content.

    Zigzag varints: how many numbers, then the numbers; a single 0 stands for the first message. Source: Confluent,
    "Formats, Serializers and Deserializers", wire format.
    """
    at = 0

    def varint() -> int:
        nonlocal at
        shift = number = 0
        while True:
            byte = payload[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)
            shift += 7

    for _ in range(varint()):
        varint()
    return payload[at:]


def _field(message: Any, declared: Any) -> object:  # noqa: ANN401 - generated at run time
    from google.protobuf import json_format  # noqa: PLC0415 - an extra

    if declared.is_repeated or (declared.message_type is not None and not _is_time(declared)):
        if not declared.is_repeated and not message.HasField(declared.name):
            return None
        whole = json_format.MessageToDict(message, preserving_proto_field_name=True)
        value = whole.get(declared.name)
        return None if value is None else json.dumps(value, ensure_ascii=False)
    if declared.has_presence and not message.HasField(declared.name):
        return None
    value = getattr(message, declared.name)
    if declared.message_type is not None:
        return value.ToDatetime(tzinfo=UTC)
    if declared.enum_type is not None:
        known = declared.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    return value


def _is_time(declared: Any) -> bool:  # noqa: ANN401 - as above
    return declared.message_type is not None and declared.message_type.full_name == "google.protobuf.Timestamp"


def _arrow_type(declared: Any) -> pa.DataType:  # noqa: ANN401 - as above
    if declared.is_repeated:
        return pa.string()
    if _is_time(declared):
        return _MOMENT
    kinds = {
        declared.CPPTYPE_INT32: pa.int64(),
        declared.CPPTYPE_INT64: pa.int64(),
        declared.CPPTYPE_UINT32: pa.int64(),
        declared.CPPTYPE_UINT64: pa.decimal128(20, 0),
        declared.CPPTYPE_FLOAT: pa.float64(),
        declared.CPPTYPE_DOUBLE: pa.float64(),
        declared.CPPTYPE_BOOL: pa.bool_(),
    }
    if declared.type == declared.TYPE_BYTES:
        return pa.binary()
    return kinds.get(declared.cpp_type, pa.string())
