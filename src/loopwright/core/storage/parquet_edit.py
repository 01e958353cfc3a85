"""Write a Parquet file again without some of its rows, into exactly as many bytes.

A table's log names each file with its size, and readers find the file's footer by it. A replacement under the same name
and of the same size is therefore right for every version that has the file and for every reader, at any moment: before
the log is touched, after it, and for a reader of another make. The bytes that are saved are filled with zeros between
the last page and the footer, where no offset points.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

_TAIL = 8  # bytes: the footer's length (4), the magic (4)
_CHUNK = 1 << 20
# From "as it was" to "as small as can be", for files of few rows, where the footer is most of the file.
_FORMS: tuple[dict[str, object], ...] = (
    {},
    {"compression": "zstd"},
    {"compression": "zstd", "compression_level": 19, "store_schema": False, "write_statistics": False},
    {
        "compression": "zstd",
        "compression_level": 19,
        "store_schema": False,
        "write_statistics": False,
        "use_dictionary": False,
    },
)


def without_rows(source: Path, target: Path, positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """Write ``target``: the rows of ``source``, in their order, but for those at ``positions`` (0-based).

    Returns:
        The rows that are left. The target has the source's size; only where no way of writing is small enough, which
        a file of a handful of rows can bring about, it is larger.
    """
    size = source.stat().st_size
    file = pq.ParquetFile(source)
    codec = file.metadata.row_group(0).column(0).compression.lower() if file.metadata.num_row_groups else "none"
    as_it_was = {"compression": "none" if codec == "uncompressed" else codec, "store_schema": _has_schema(file)}
    rows = 0
    for form in _FORMS:
        rows = _write(file, target, positions, as_it_was | form)
        if target.stat().st_size <= size:
            break
    _pad(target, size)
    return rows


def _has_schema(file: pq.ParquetFile) -> bool:
    return b"ARROW:schema" in (file.metadata.metadata or {})


def _write(
    file: pq.ParquetFile,
    target: Path,
    positions: np.ndarray[tuple[int], np.dtype[np.int64]],
    options: dict[str, object],
) -> int:
    first = rows = 0
    schema = pa.schema([field.with_type(_filterable(field.type)) for field in file.schema_arrow])
    schema = schema.with_metadata(file.schema_arrow.metadata)
    with pq.ParquetWriter(target, schema, **options) as writer:
        for number in range(file.metadata.num_row_groups):
            group = file.read_row_group(number).cast(schema)
            kept = np.ones(group.num_rows, dtype=np.bool_)
            inside = positions[(positions >= first) & (positions < first + group.num_rows)]
            kept[inside - first] = False
            first += group.num_rows
            left = group.filter(pa.array(kept)) if len(inside) else group
            if left.num_rows:
                writer.write_table(left, row_group_size=left.num_rows)
            rows += left.num_rows
    return rows


def _filterable(kind: pa.DataType) -> pa.DataType:
    """Return the type, or one of the same bytes that Arrow can filter: a Delta delete writes views, which it cannot.

    >>> _filterable(pa.list_(pa.string_view()))
    ListType(list<item: large_string>)
    """
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_filterable(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_filterable(field.type)) for field in kind])
    return kind


def _pad(path: Path, size: int) -> None:
    """Fill a file up to a size, in front of its footer."""
    missing = size - path.stat().st_size
    if missing <= 0:
        return
    with path.open("r+b") as file:
        file.seek(-_TAIL, os.SEEK_END)
        tail = file.read(_TAIL)
        footer = int.from_bytes(tail[:4], "little")
        file.seek(-(_TAIL + footer), os.SEEK_END)
        kept = file.read()
        file.seek(-(_TAIL + footer), os.SEEK_END)
        while missing:
            filling = min(missing, _CHUNK)
            file.write(b"\0" * filling)
            missing -= filling
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
