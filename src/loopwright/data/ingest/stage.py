"""Where an ingest gathers judged rows before anything is committed: in memory, and beyond a bound in files.

Rows are kept as they will be committed, system columns included, so that committing is one pass over them. The files
hold Arrow's own form and are mapped into memory, not read; with the manifest, which fixes before the first commit what
is to be committed, an ingest that died is completed from them. What fitted in memory is gone with the process: such an
ingest is abandoned and its units are read again, which takes no longer than reading the files would.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.errors import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

POSITION = "__position"
SOURCE = "_source"
COMMIT_ROWS = 131_072
IN_MEMORY_BYTES = 64 << 20
_MOMENT = pa.timestamp("us", tz="UTC")
_MANIFEST = "manifest.json"
_DROPPED = "dropped.npy"
_FORMAT = 2  # of the folder; an older one is read as none


Positions = np.ndarray[tuple[int], np.dtype[np.int64]]
Marks = np.ndarray[tuple[int], np.dtype[np.bool_]]
_NONE: Positions = np.empty(0, dtype=np.int64)


class Stage:
    """Good rows and quarantined rows, in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.types: dict[str, pa.DataType] = {}
        self._kept: dict[str, list[pa.Table]] = {}
        self._parts: dict[str, list[str]] = {}
        self._writers: dict[str, pa.ipc.RecordBatchFileWriter] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._dropped = _NONE
        self._size = self._count = self._position = 0
        self.is_on_disk = False
        self._forget()

    def begin(self) -> None:
        """Start with nothing."""
        self._forget()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_good(self, rows: pa.Table) -> None:
        """Take good rows: their columns and the system columns."""
        if rows.num_rows == 0:
            return
        for field in rows.schema:
            self.types.setdefault(field.name, field.type)
        numbers = np.arange(self._position, self._position + rows.num_rows, dtype=np.int64)
        self._position += rows.num_rows
        self._add("good", rows.append_column(POSITION, pa.array(numbers)))

    def add_bad(self, rows: pa.Table) -> None:
        """Take quarantined rows: ``_source``, ``_source_row``, ``reasons``, ``raw`` and the other system columns."""
        if rows.num_rows:
            self._add("bad", rows)

    def drop(self, positions: Positions) -> None:
        """Leave out good rows, by their positions."""
        self._dropped = positions

    def mark(self) -> tuple[int, dict[str, list[str]]]:
        """Remember what is there, and keep what comes apart from it, on disk."""
        if not self.is_on_disk:
            self._spill()
        self.close()
        return self._position, {kind: list(parts) for kind, parts in self._parts.items()}

    def rewind(self, mark: tuple[int, dict[str, list[str]]]) -> None:
        """Forget what came since a mark."""
        self.close()
        self._position, kept = mark
        for kind, parts in self._parts.items():
            for name in parts[len(kept[kind]) :]:
                (self.folder / name).unlink(missing_ok=True)
        self._parts = {kind: list(parts) for kind, parts in kept.items()}

    def has(self, kind: str) -> bool:
        """Tell whether there are ``good`` or ``bad`` rows."""
        return bool(self._kept[kind] or self._parts[kind])

    def close(self) -> None:
        """Finish the files, so that the rows in them can be read."""
        with _space(self.folder):
            for writer in self._writers.values():
                writer.close()
        self._writers.clear()

    def rows(self, kind: str, *, without: Sequence[str] = ()) -> pa.Table | pa.RecordBatchReader | None:
        """Return the rows to commit, without those of some sources and the dropped ones; None where there are none.

        They come in their order, from files as a stream, so that few are in memory at once.
        """
        if not self.has(kind):
            return None
        kept = None
        if kind == "good" and len(self._dropped):
            kept = np.ones(self.table(kind).num_rows, dtype=np.bool_)
            kept[self._dropped] = False
        if self.is_on_disk:
            return _filtered(*self._streamed(kind), kept, without)
        table = self.table(kind)
        table = table.drop_columns([POSITION]) if kind == "good" else table
        if kept is None and not without:
            return table.combine_chunks()
        return _filtered(table.schema, table.to_batches(COMMIT_ROWS), kept, without).read_all().combine_chunks()

    def _streamed(self, kind: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Read the files one block after the other: what is mapped would count as memory until the end."""
        paths = [str(self.folder / name) for name in self._parts[kind]]
        schemas = []
        for path in paths:
            with pa.OSFile(path) as file:
                schemas.append(pa.ipc.open_file(file).schema)
        schema = pa.unify_schemas(schemas, promote_options="default")
        schema = pa.schema([field for field in schema if field.name != POSITION])

        def batches() -> Iterator[pa.RecordBatch]:
            for path in paths:
                with pa.OSFile(path) as file:
                    reader = pa.ipc.open_file(file)
                    for index in range(reader.num_record_batches):
                        yield _as(reader.get_batch(index), schema)

        return schema, batches()

    def columns(self, kind: str, names: Sequence[str]) -> pa.Table | pa.RecordBatchReader:
        """Return some columns of all rows, from files as a stream that reads nothing else."""
        if not self.is_on_disk:
            return pa.concat_tables([table.select(names) for table in self._kept[kind]], promote_options="permissive")
        schema = pa.schema([pa.field(name, self.types[name]) for name in names])

        def batches() -> Iterator[pa.RecordBatch]:
            for path in (str(self.folder / name) for name in self._parts[kind]):
                with pa.OSFile(path) as file:
                    there = pa.ipc.open_file(file).schema
                    places = [there.get_field_index(name) for name in names if name in there.names]
                    reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=places))
                    for index in range(reader.num_record_batches):
                        batch = _as(reader.get_batch(index), pa.schema([there.field(place) for place in places]))
                        yield batch.cast(schema) if batch.schema != schema else batch

        return pa.RecordBatchReader.from_batches(schema, batches())

    def table(self, kind: str) -> pa.Table:
        """Return all rows, with their positions, as a table over memory and files."""
        tables = list(self._kept[kind])
        paths = (str(self.folder / name) for name in self._parts[kind])
        tables += [pa.ipc.open_file(pa.memory_map(path)).read_all() for path in paths]
        return pa.concat_tables(tables, promote_options="default")

    def write_manifest(self, content: dict[str, object]) -> None:
        """Fix what is to be committed, where rows are on disk; after return it survives the process."""
        if not self.is_on_disk:
            return
        path = self.folder / _MANIFEST
        temporary = path.with_suffix(".part")
        with _space(self.folder), temporary.open("w", encoding="utf-8") as file:
            np.save(self.folder / _DROPPED, self._dropped)
            json.dump(content | {"format": _FORMAT, "parts": self._parts}, file, default=str)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def read_manifest(self) -> dict[str, object] | None:
        """Return what :meth:`write_manifest` fixed, or None where there is no such folder."""
        try:
            content: dict[str, object] = json.loads((self.folder / _MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        if content.get("format") != _FORMAT:
            return None
        self._parts = content["parts"]  # type: ignore[assignment]
        self._dropped = np.load(self.folder / _DROPPED)
        self.is_on_disk = True
        return content

    def remove(self) -> None:
        """Forget the rows and delete the folder."""
        self.begin()

    def _forget(self) -> None:
        self._writers.clear()
        self._schemas.clear()
        self.types.clear()
        self._dropped = _NONE
        self._size = self._count = self._position = 0
        self._kept, self._parts = {"good": [], "bad": []}, {"good": [], "bad": []}
        self.is_on_disk = False

    def _add(self, kind: str, rows: pa.Table) -> None:
        if self.is_on_disk:
            self._write(kind, rows)
            return
        self._kept[kind].append(rows)
        self._size += rows.nbytes
        if self._size > IN_MEMORY_BYTES:
            self._spill()

    def _spill(self) -> None:
        """Move what is in memory into files, where what comes goes too."""
        self.is_on_disk = True
        with _space(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        held, self._kept = self._kept, {"good": [], "bad": []}
        for name, tables in held.items():
            for table in tables:
                self._write(name, table)

    def _write(self, kind: str, rows: pa.Table) -> None:
        with _space(self.folder):
            if self._schemas.get(kind) != rows.schema or kind not in self._writers:
                if kind in self._writers:
                    self._writers.pop(kind).close()
                self._count += 1
                name = f"{kind}-{self._count:05d}.arrow"
                self._parts[kind].append(name)
                self._schemas[kind] = rows.schema
                self._writers[kind] = pa.ipc.new_file(str(self.folder / name), rows.schema)
            self._writers[kind].write_table(rows)


@contextlib.contextmanager
def _space(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise StoreFullError(
            f"No space is left under {folder} to stage the ingest; nothing of it was stored.",
            hint="Free some space and run again.",
        ) from error


def _as(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    there = set(batch.schema.names)
    columns = [
        batch.column(field.name) if field.name in there else pa.nulls(batch.num_rows, field.type) for field in schema
    ]
    return pa.record_batch(columns, schema=schema)


def _filtered(
    schema: pa.Schema, rows: Iterable[pa.RecordBatch], kept: Marks | None, without: Sequence[str]
) -> pa.RecordBatchReader:
    outside = pa.array(list(without), pa.string())

    def batches() -> Iterator[pa.RecordBatch]:
        first = 0
        for batch in rows:
            mask = pa.array(kept[first : first + batch.num_rows]) if kept is not None else None
            first += batch.num_rows
            if without:
                inside = pc.invert(pc.is_in(batch[SOURCE], value_set=outside))
                mask = inside if mask is None else pc.and_(mask, inside)
            yield batch if mask is None else batch.filter(mask)

    return pa.RecordBatchReader.from_batches(schema, batches())


def with_system_columns(rows: pa.Table, *, arrived: pa.ChunkedArray | datetime, ingest_id: str) -> pa.Table:
    """Append ``_arrived_at`` and ``_ingest_id`` to rows that have ``_source`` and ``_source_row``."""
    count = rows.num_rows
    moments = arrived if isinstance(arrived, pa.ChunkedArray) else pa.repeat(pa.scalar(arrived, _MOMENT), count)
    rows = rows.append_column("_arrived_at", moments.cast(_MOMENT))
    return rows.append_column("_ingest_id", pa.repeat(pa.scalar(ingest_id), count))
