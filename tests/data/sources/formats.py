"""Writes one table in every format that the source ``files`` reads."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import fastavro
import pyarrow as pa
import pyarrow.orc as po
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable

_AVRO: dict[pa.DataType, object] = {
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.bool_(): "boolean",
    pa.binary(): "bytes",
    pa.date32(): {"type": "int", "logicalType": "date"},
    pa.timestamp("us", "UTC"): {"type": "long", "logicalType": "timestamp-micros"},
}


def text(value: object) -> str:
    """Write a value as CSV and JSON do: times in ISO 8601, numbers to their last digit."""
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def csv_bytes(table: pa.Table, delimiter: str = ",") -> bytes:
    """Quote every text, so that an empty one is told from a missing one."""

    def field(value: object) -> str:
        if value is None:
            return ""
        return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else text(value)

    rows = [[field(name) for name in table.column_names]]
    rows += [[field(value) for value in row.values()] for row in table.to_pylist()]
    return "".join(delimiter.join(row) + "\n" for row in rows).encode()


def json_bytes(table: pa.Table, *, is_array: bool = False) -> bytes:
    """Write one object per line, or one array."""
    rows = [json.dumps(row, default=text) for row in table.to_pylist()]
    return ("[" + ",\n".join(rows) + "]" if is_array else "".join(f"{row}\n" for row in rows)).encode()


def parquet_bytes(table: pa.Table) -> bytes:
    """Write row groups of a thousand rows."""
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=1000, write_page_checksum=True)
    return file.getvalue()


def arrow_bytes(table: pa.Table, *, is_stream: bool = False) -> bytes:
    """Write batches of a thousand rows."""
    file = io.BytesIO()
    with (pa.ipc.new_stream if is_stream else pa.ipc.new_file)(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    return file.getvalue()


def orc_bytes(table: pa.Table) -> bytes:
    """Write ORC."""
    file = io.BytesIO()
    po.write_table(table, file)
    return file.getvalue()


def avro_bytes(table: pa.Table, codec: str = "deflate") -> bytes:
    """Write blocks of 4 kB, each column a union with null."""
    kinds = {
        field.name: {
            "type": "bytes",
            "logicalType": "decimal",
            "precision": field.type.precision,
            "scale": field.type.scale,
        }
        if pa.types.is_decimal(field.type)
        else _AVRO[field.type]
        for field in table.schema
    }
    fields = [{"name": name, "type": ["null", kind]} for name, kind in kinds.items()]
    schema = fastavro.parse_schema({"type": "record", "name": "row", "fields": fields})
    file = io.BytesIO()
    fastavro.writer(file, schema, table.to_pylist(), codec=codec, sync_interval=4000)
    return file.getvalue()


def zstd_bytes(content: bytes) -> bytes:
    """Compress with Zstandard."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return bytes(sink.getvalue())


def zip_bytes(content: bytes, *more: bytes) -> bytes:
    """Pack into an archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, one in enumerate([content, *more]):
            archive.writestr(f"part-{number}", one)
    return file.getvalue()


WRITERS: dict[str, Callable[[pa.Table], bytes]] = {
    "csv": csv_bytes,
    "tsv": lambda table: csv_bytes(table, "\t"),
    "jsonl": json_bytes,
    "json": lambda table: json_bytes(table, is_array=True),
    "parquet": parquet_bytes,
    "arrow": arrow_bytes,
    "arrows": lambda table: arrow_bytes(table, is_stream=True),
    "orc": orc_bytes,
    "avro": avro_bytes,
}
PACKED: dict[str, Callable[[pa.Table], bytes]] = {
    "csv.gz": lambda table: gzip.compress(csv_bytes(table)),
    "csv.bz2": lambda table: bz2.compress(csv_bytes(table)),
    "csv.xz": lambda table: lzma.compress(csv_bytes(table)),
    "csv.zst": lambda table: zstd_bytes(csv_bytes(table)),
    "csv.zip": lambda table: zip_bytes(csv_bytes(table)),
    "jsonl.gz": lambda table: gzip.compress(json_bytes(table)),
    "arrows.gz": lambda table: gzip.compress(arrow_bytes(table, is_stream=True)),
    "avro.xz": lambda table: lzma.compress(avro_bytes(table)),
}
TYPED = ("parquet", "arrow", "arrows", "orc", "avro")
MONEY = pa.decimal128(12, 2)


def cents(number: int) -> Decimal:
    """Return an amount with two places."""
    return Decimal(number).scaleb(-2)
