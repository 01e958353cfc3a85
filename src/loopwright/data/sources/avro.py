"""Reads Avro object container files; each brings its own schema, and files of other schemas may lie beside it.

What Avro types become: int, long, float, double, boolean, string and bytes themselves; enum and uuid text; fixed bytes;
date, timestamp (millis, micros, nanos; local ones count as UTC) and decimal what they say; array a list, map a map,
record a struct; a union of null and one type that type, nullable; any other union, and a record inside itself, its JSON
text. Source: Apache Avro 1.12 specification, "Object Container Files" and "Logical Types".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from loopwright.core.errors import MissingExtraError
from loopwright.data.sources.compression import opened
from loopwright.data.sources.unit import BATCH_ROWS, BLOCK_BYTES, UnreadableUnitError, check_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

_MAGIC = b"Obj\x01"
_PRIMITIVE = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("us", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "timestamp-nanos": pa.timestamp("ns", "UTC"),
    "local-timestamp-millis": pa.timestamp("us"),
    "local-timestamp-micros": pa.timestamp("us"),
    "local-timestamp-nanos": pa.timestamp("ns"),
}


@dataclass(frozen=True)
class _Kind:
    """An Arrow type, and how a value that the decoder gives becomes one of it; None where it is one already."""

    type: pa.DataType
    convert: Callable[[Any], object] | None = None

    def array(self, values: list[object]) -> pa.Array:
        if self.convert is not None:
            values = [None if value is None else self.convert(value) for value in values]
        return pa.array(values, self.type)


def read_avro(path: Path) -> Iterator[pa.Table]:
    """Read an Avro file, some blocks at a time; a file without a byte has no rows.

    Raises:
        MissingExtraError: If fastavro is not installed.
        UnreadableUnitError: If the file is no Avro, is damaged, or holds no records.
    """
    try:
        import fastavro  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise MissingExtraError("fastavro", extra="avro") from None
    with opened(path) as file:
        head = file.read(len(_MAGIC))
    if not head:
        return
    if head != _MAGIC:
        raise UnreadableUnitError("it does not begin as an Avro file")
    with opened(path) as file:
        try:
            blocks = fastavro.block_reader(file)
            kinds = avro_columns(blocks.writer_schema)
            held: list[Mapping[str, Any]] = []
            size = 0
            is_empty = True
            for block in blocks:
                held += cast("Iterable[Mapping[str, Any]]", block)
                size += block.size
                if len(held) >= BATCH_ROWS or size >= BLOCK_BYTES:
                    yield avro_table(kinds, held)
                    held, size, is_empty = [], 0, False
            if held or is_empty:
                yield avro_table(kinds, held)
        except (UnreadableUnitError, OSError):
            raise
        except Exception as error:  # a damaged file can make the decoder raise anything
            raise UnreadableUnitError(
                f"the file is damaged or not complete: {error or type(error).__name__}"
            ) from error


def avro_table(kinds: Mapping[str, _Kind], records: list[Mapping[str, Any]]) -> pa.Table:
    """Return decoded records as a table.

    Raises:
        UnreadableUnitError: If a value does not fit the type that its schema names.
    """
    columns = {}
    for name, kind in kinds.items():
        try:
            columns[name] = kind.array([record[name] for record in records])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise UnreadableUnitError(f"column '{name}': {str(error).split(chr(10), 1)[0]}") from error
    return pa.table(columns)


def avro_columns(schema: Any) -> dict[str, _Kind]:  # noqa: ANN401 - Avro schemas are JSON
    """Return how each field of a record's schema becomes a column.

    Raises:
        UnreadableUnitError: If the schema is no record's, or its fields cannot be columns.
    """
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UnreadableUnitError("the Avro file holds no records; each row must be one")
    named: dict[str, Any] = {}
    _name(schema, named)
    names = [field["name"] for field in schema["fields"]]
    check_header(names)
    return {field["name"]: _kind(field["type"], named, (str(schema["name"]),)) for field in schema["fields"]}


def _name(schema: Any, named: dict[str, Any]) -> None:  # noqa: ANN401 - as above
    """Gather the named types of a schema, so that a later mention by name can be looked up."""
    if isinstance(schema, list):
        for one in schema:
            _name(one, named)
    elif isinstance(schema, dict):
        if schema.get("type") in {"record", "enum", "fixed"}:
            named[str(schema["name"])] = schema
        for one in schema.get("fields", ()):
            _name(one["type"], named)
        for inner in ("items", "values", "type"):
            _name(schema.get(inner), named)


def _kind(schema: Any, named: Mapping[str, Any], above: tuple[str, ...]) -> _Kind:  # noqa: ANN401 - one per Avro type
    if isinstance(schema, list):
        others = [one for one in schema if one != "null"]
        return _kind(others[0], named, above) if len(others) == 1 else _AS_JSON if others else _Kind(pa.null())
    if isinstance(schema, str):
        return _kind(named[schema], named, above) if schema in named else _Kind(_PRIMITIVE[schema])
    logical, kind = schema.get("logicalType"), schema["type"]
    if logical in _LOGICAL:
        return _Kind(_LOGICAL[logical])
    if logical == "decimal":
        return _Kind(pa.decimal128(min(int(schema["precision"]), 38), int(schema.get("scale", 0))))
    if logical == "uuid":
        return _Kind(pa.string(), str)
    if kind == "enum":
        return _Kind(pa.string())
    if kind == "fixed":
        return _Kind(pa.binary())
    if kind == "array":
        inner = _kind(schema["items"], named, above)
        return _Kind(pa.list_(inner.type), _each(inner))
    if kind == "map":
        inner = _kind(schema["values"], named, above)
        return _Kind(pa.map_(pa.string(), inner.type), _entries(inner))
    if kind == "record":
        name = str(schema["name"])
        return _AS_JSON if name in above else _record(schema, named, (*above, name))
    return _kind(kind, named, above)


def _record(schema: Any, named: Mapping[str, Any], above: tuple[str, ...]) -> _Kind:  # noqa: ANN401 - as above
    inner = {field["name"]: _kind(field["type"], named, above) for field in schema["fields"]}
    struct = pa.struct([(name, kind.type) for name, kind in inner.items()])
    converts = {name: kind.convert for name, kind in inner.items() if kind.convert is not None}
    if not converts:
        return _Kind(struct)

    def convert(value: Mapping[str, Any]) -> object:
        return {
            name: converts[name](one) if name in converts and one is not None else one for name, one in value.items()
        }

    return _Kind(struct, convert)


def _each(inner: _Kind) -> Callable[[Any], object] | None:
    convert = inner.convert
    if convert is None:
        return None
    return lambda values: [None if one is None else convert(one) for one in values]


def _entries(inner: _Kind) -> Callable[[Any], object]:
    convert = inner.convert or (lambda one: one)
    return lambda values: [(name, None if one is None else convert(one)) for name, one in values.items()]


def _as_json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


_AS_JSON = _Kind(pa.string(), _as_json)
