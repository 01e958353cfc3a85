"""The types a table can hold: Arrow types brought into the form Delta and Parquet keep, and named for DuckDB.

The rules, one by one: dictionaries become their values; 64-bit-offset and view types their plain forms; unsigned
integers the next signed type that holds them; half floats single ones; a timestamp is in microseconds and in UTC (one
without a zone is taken to be UTC, and what is finer than a microsecond is cut off); a date in milliseconds a date.
A column of only nulls and no type takes the type the table has for it, and stays out of a table that has none yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, WriterProperties

from loopwright.core.errors import DeclarationError
from loopwright.core.storage.duck import quote_name

if TYPE_CHECKING:
    from collections.abc import Sequence

FIXED_SIZE = b"loopwright.fixed_size"  # field metadata: Delta has lists only, so the length of a vector is noted here

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_PLAIN: dict[pa.DataType, pa.DataType] = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
}
_DUCK: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.date32(): "DATE",
    _TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    pa.timestamp("us"): "TIMESTAMP",
}


def storable_type(kind: pa.DataType) -> pa.DataType:
    """Return the type under which values of ``kind`` are stored.

    Raises:
        DeclarationError: no table can hold the type (times of day, durations, unions).

    >>> storable_type(pa.dictionary(pa.int32(), pa.large_string()))
    DataType(string)
    """
    if isinstance(kind, pa.BaseExtensionType):
        return storable_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return storable_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return _TIMESTAMP
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_decimal(kind):
        return pa.decimal128(min(kind.precision, 38), kind.scale)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", _inner_type(kind.value_type)), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(pa.field("element", _inner_type(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _inner_type(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_inner_type(kind.key_type), _inner_type(kind.item_type))
    kind = _PLAIN.get(kind, kind)
    if kind not in _DUCK:
        raise DeclarationError(
            f"A table cannot hold the type {kind}.", hint="Store it as a number, a string or a timestamp."
        )
    return kind


def _inner_type(kind: pa.DataType) -> pa.DataType:
    """Return the stored type of what lies inside another: a vector there is a list."""
    kind = storable_type(kind)
    return pa.list_(kind.value_field) if pa.types.is_fixed_size_list(kind) else kind


def duck_type(kind: pa.DataType) -> str:
    """Name a stored type in DuckDB's words.

    >>> duck_type(pa.list_(pa.float32(), 3))
    'FLOAT[3]'
    """
    if pa.types.is_fixed_size_list(kind):
        return f"{duck_type(kind.value_type)}[{kind.list_size}]"
    if pa.types.is_list(kind):
        return f"{duck_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f"{quote_name(field.name)} {duck_type(field.type)}" for field in kind) + ")"
    if pa.types.is_map(kind):
        return f"MAP({duck_type(kind.key_type)}, {duck_type(kind.item_type)})"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    return _DUCK[kind]


def to_storable(batch: pa.Table, *, table: str, existing: pa.Schema | None) -> pa.Table:
    """Bring rows into the form ``table`` stores, in the types it already has.

    Raises:
        DeclarationError: a column brings values the table's type cannot hold, or a type no table can hold.
    """
    _check_names(batch.column_names, table, existing)
    names, columns, fields = [], [], []
    for name, column in zip(batch.column_names, batch.columns, strict=True):
        known = None if existing is None or name not in existing.names else existing.field(name).type
        if pa.types.is_null(column.type) and known is None:
            continue
        target = known or _storable(name, column.type, table)
        columns.append(_cast(column, target, name=name, table=table))
        names.append(name)
        fields.append(_field(name, target))
    if not columns:
        raise DeclarationError(f"The rows for table '{table}' have no column with a type.", hint="Give them a schema.")
    return pa.table(columns, schema=pa.schema(fields))


def restored(schema: pa.Schema) -> pa.Schema:
    """Give a schema read from Delta its vector lengths back."""
    fields = []
    for field in schema:
        kind = storable_type(field.type) if not pa.types.is_timestamp(field.type) else field.type
        length = (field.metadata or {}).get(FIXED_SIZE)
        if length is not None and pa.types.is_list(kind):
            kind = pa.list_(pa.field("element", kind.value_type), int(length))
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def parquet_properties(schema: pa.Schema) -> WriterProperties:
    """Choose how the columns are written: floats without a dictionary, which for distinct values takes 4 x as long."""
    plain = ColumnProperties(dictionary_enabled=False)
    return WriterProperties(
        column_properties={field.name: plain for field in schema if pa.types.is_floating(field.type)}
    )


def as_stored(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Give a batch that delta-rs read the columns of ``schema``: vectors from lists, and plain names inside."""
    columns = [
        _vectors(batch.column(field.name), field.type)
        if pa.types.is_fixed_size_list(field.type)
        else batch.column(field.name).cast(field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)


def _vectors(lists: pa.Array, kind: pa.DataType) -> pa.Array:
    """Turn lists into vectors of the type's length (Arrow's own cast crashes on some columns of nulls, seen in 26)."""
    size = kind.list_size
    if pa.types.is_fixed_size_list(lists.type):
        if lists.type.list_size != size:
            raise pa.ArrowInvalid(f"a vector of {lists.type.list_size} values where {size} are needed")
        return lists.cast(kind)
    valid = lists.is_valid()
    lengths = pc.drop_null(pc.list_value_length(lists))
    if len(odd := lengths.filter(pc.not_equal(lengths, size))):
        raise pa.ArrowInvalid(f"a list of {odd[0]} values where {size} are needed")
    values = lists.flatten().cast(kind.value_type)
    if lists.null_count:
        kept = np.cumsum(valid.to_numpy(zero_copy_only=False)) - 1
        places = kept[:, None] * size + np.arange(size)
        values = values.take(
            pa.array(places.ravel(), mask=np.repeat(lists.is_null().to_numpy(zero_copy_only=False), size))
        )
    return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=lists.is_null() if lists.null_count else None)


def _check_names(names: Sequence[str], table: str, existing: pa.Schema | None) -> None:
    """Refuse names that SQL could not tell apart."""
    seen = {name.casefold(): name for name in (existing.names if existing is not None else ())}
    if "" in names:
        raise DeclarationError(f"The rows for table '{table}' have a column without a name.", hint="Name it.")
    for position, name in enumerate(names):
        other = seen.setdefault(name.casefold(), name)
        if other != name or name in names[:position]:
            raise DeclarationError(
                f"Table '{table}' would have columns '{other}' and '{name}', which SQL does not tell apart.",
                hint="Rename one.",
            )


def _storable(name: str, kind: pa.DataType, table: str) -> pa.DataType:
    try:
        return storable_type(kind)
    except DeclarationError as error:
        raise DeclarationError(f"Column '{name}' of table '{table}': {error.message}", hint=error.hint) from None


def _field(name: str, kind: pa.DataType) -> pa.Field:
    metadata = {FIXED_SIZE: str(kind.list_size)} if pa.types.is_fixed_size_list(kind) else None
    return pa.field(name, kind, metadata=metadata)


def _cast(column: pa.ChunkedArray, target: pa.DataType, *, name: str, table: str) -> pa.ChunkedArray:
    if column.type == target:
        return column
    plain = column
    if isinstance(column.type, pa.BaseExtensionType):
        plain = pa.chunked_array([chunk.storage for chunk in column.chunks], type=column.type.storage_type)
    if not _convertible(plain.type, target):
        raise DeclarationError(
            f"Column '{name}' of table '{table}' is {target}, and the new rows bring {column.type}.",
            hint="Convert the column, or give it another name.",
        )
    try:
        if pa.types.is_fixed_size_list(target):
            return pa.chunked_array([_vectors(chunk, target) for chunk in plain.chunks], type=target)
        return plain.cast(target, safe=not pa.types.is_timestamp(target))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DeclarationError(
            f"Column '{name}' of table '{table}' is {target}, and a new value does not fit: {error}.",
            hint="Convert the column, or give it another name.",
        ) from None


def _convertible(source: pa.DataType, target: pa.DataType) -> bool:
    """Tell whether a cast keeps the meaning: numbers stay numbers, times stay times, text is never parsed."""
    if pa.types.is_null(source):
        return True
    if pa.types.is_dictionary(source):
        return _convertible(source.value_type, target)
    groups = (_is_number, pa.types.is_temporal, _is_text, _is_bytes, pa.types.is_boolean)
    if any(is_group(source) and is_group(target) for is_group in groups):
        return True
    if pa.types.is_list(target) or pa.types.is_fixed_size_list(target):
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(is_list(source) for is_list in lists) and _convertible(source.value_type, target.value_type)
    return bool(pa.types.is_nested(source) and source.id == target.id)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
