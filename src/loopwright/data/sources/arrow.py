"""Brings what users hand over (tables of any library, dicts, lists of dicts) into one Arrow table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from loopwright.core.errors import SourceError
from loopwright.data.sources.frame import ArrowStream

if TYPE_CHECKING:
    from loopwright.data.sources.frame import Frame


def to_table(data: Frame) -> pa.Table:
    """Turn rows into an Arrow table; a column whose values have no common type becomes text.

    Raises:
        SourceError: If the data is no table, or its columns have different lengths.
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, (pa.RecordBatch, pa.RecordBatchReader)):
        return pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data.read_all()
    if type(data).__module__.split(".")[0] == "pandas":
        try:
            return pa.Table.from_pandas(data, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns = cast("Mapping[str, object]", data)
            return _from_columns({str(name): list(cast("Sequence[object]", columns[name])) for name in columns})
    if isinstance(data, ArrowStream):
        return pa.table(data)
    if isinstance(data, Mapping):
        return _from_columns({str(name): list(values) for name, values in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        if (alike := _of_alike(data)) is not None:
            return _from_columns(alike)
        names: dict[str, None] = {}
        for row in data:
            if not isinstance(row, Mapping):
                raise SourceError(f"A row is a dict of columns, got {type(row).__name__}.")
            names.update(dict.fromkeys(map(str, row)))
        return _from_columns({name: [row.get(name) for row in data] for name in names})
    raise SourceError(
        f"A table was expected, got {type(data).__name__}.",
        hint="Give a pandas or Arrow table, a dict of columns or a list of dicts.",
    )


def digest_table(table: pa.Table) -> str:
    """Return the SHA-256 of a table's schema and values, however it is cut into chunks."""
    sha = hashlib.sha256()
    with pa.ipc.new_stream(_Hashing(sha), table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None).combine_chunks())
    return sha.hexdigest()


class _Hashing:
    """A file that keeps nothing but the digest of what is written."""

    closed = False

    def __init__(self, sha: hashlib._Hash) -> None:
        self._sha = sha

    def write(self, data: bytes) -> int:
        self._sha.update(data)
        return len(data)

    def flush(self) -> None:
        return

    def close(self) -> None:
        return


def _of_alike(rows: Sequence[Mapping[str, object]]) -> dict[str, Sequence[object]] | None:
    """Turn rows into columns where all are dicts of the same ones, in a third of the time; None where they are not."""
    names = list(rows[0]) if rows and type(rows[0]) is dict else []
    if len(names) < 2 or not all(type(name) is str for name in names):
        return None
    if any(type(row) is not dict or len(row) != len(names) for row in rows):
        return None
    try:
        return dict(zip(names, zip(*map(itemgetter(*names), rows), strict=True), strict=True))
    except KeyError:
        return None


def _from_columns(columns: Mapping[str, Sequence[object]]) -> pa.Table:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SourceError(f"The columns have different lengths: {lengths}.")
    return pa.table({name: _array(values) for name, values in columns.items()})


def _array(values: Sequence[object]) -> pa.Array:
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
