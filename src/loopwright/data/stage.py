"""The folder in which an ingest gathers judged rows before anything is committed, and its manifest.

Rows are written as Parquet parts as they are judged, so memory stays bounded; what is to be committed is fixed by the
manifest before the first commit. An ingest that died is completed from here, with exactly these rows.
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
import pyarrow.parquet as pq

from loopwright.core.errors import StoreFullError
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.unit import ROW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

POSITION = "__position"
SOURCE = "_source"
_MANIFEST = "manifest.json"


class Stage:
    """Parts of good rows and of quarantined rows, in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._count = 0
        self._position = 0
        self.parts: dict[str, list[str]] = {}
        self.types: dict[str, pa.DataType] = {}
        self._forget()

    def begin(self) -> None:
        """Start with an empty folder."""
        self._forget()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def add_good(self, rows: pa.Table) -> None:
        """Write good rows: their columns, ``_source`` and ``_source_row``."""
        if rows.num_rows == 0:
            return
        for field in rows.schema:
            self.types.setdefault(field.name, field.type)
        numbers = np.arange(self._position, self._position + rows.num_rows, dtype=np.int64)
        self._position += rows.num_rows
        self._write("good", rows.append_column(POSITION, pa.array(numbers)))

    def add_bad(self, rows: pa.Table) -> None:
        """Write quarantined rows: ``_source``, ``_source_row``, ``reasons``, ``raw``."""
        if rows.num_rows:
            self._write("bad", rows)

    def close(self) -> None:
        """Finish the parts."""
        with _space(self.folder):
            for writer in self._writers.values():
                writer.close()
        self._writers.clear()

    def scan(self, kind: str) -> str:
        """Return the SQL that reads the parts of ``good`` or ``bad`` rows."""
        files = ", ".join(quote_text(str(self.folder / name)) for name in self.parts[kind])
        return f"SELECT * FROM read_parquet([{files}], union_by_name = true)"

    def write_manifest(self, content: dict[str, object]) -> None:
        """Fix what is to be committed; after return it survives the process."""
        path = self.folder / _MANIFEST
        temporary = path.with_suffix(".part")
        with _space(self.folder), temporary.open("w", encoding="utf-8") as file:
            json.dump(content | {"parts": self.parts}, file, default=str)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def read_manifest(self) -> dict[str, object] | None:
        """Return what :meth:`write_manifest` fixed, or None where the folder is gone."""
        try:
            content: dict[str, object] = json.loads((self.folder / _MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        self.parts = content["parts"]  # type: ignore[assignment]
        return content

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self) -> None:
        self._writers.clear()
        self._schemas.clear()
        self.types.clear()
        self._count = self._position = 0
        self.parts = {"good": [], "bad": []}

    def _write(self, kind: str, rows: pa.Table) -> None:
        with _space(self.folder):
            if self._schemas.get(kind) != rows.schema or kind not in self._writers:
                if kind in self._writers:
                    self._writers.pop(kind).close()
                self._count += 1
                name = f"{kind}-{self._count:05d}.parquet"
                self.parts[kind].append(name)
                self._schemas[kind] = rows.schema
                self._writers[kind] = pq.ParquetWriter(self.folder / name, rows.schema, compression="lz4")
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


def good_rows(
    stage: Stage,
    columns: Sequence[str],
    *,
    refused: Sequence[str],
    arrived: str,
    ingest_id: str,
) -> str:
    """Return the SQL of the rows to commit, with their system columns; the dropped ones are in ``dropped.parquet``."""
    listed = ", ".join(quote_name(name) for name in columns)
    dropped = quote_text(str(stage.folder / "dropped.parquet"))
    outside = f" AND {SOURCE} NOT IN ({', '.join(quote_text(name) for name in refused)})" if refused else ""
    known = (stage.folder / "dropped.parquet").exists()
    kept = f"{POSITION} NOT IN (SELECT position FROM read_parquet({dropped}))" if known else "true"
    return (
        f"SELECT {listed}, {SOURCE}, {ROW}, {arrived} AS _arrived_at, {quote_text(ingest_id)} AS _ingest_id "
        f"FROM ({stage.scan('good')}) WHERE {kept}{outside}"
    )
