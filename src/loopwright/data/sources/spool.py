"""Keeps what was fetched until it is judged: a little in memory, more in files of the ingest's folder.

A source is read to its end before judging begins, so that a server holds no cursor open meanwhile, and one that goes
away in the middle leaves nothing half-stored.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.data.sources.unit import numbered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IN_MEMORY_BYTES = 16 << 20


class Spool:
    """Numbered rows, in the order in which they came.

    Args:
        folder: Where files go once there is more than :data:`IN_MEMORY_BYTES`.
        first: The number of the first row.
    """

    def __init__(self, folder: Path, first: int = 0) -> None:
        self._folder = folder / "fetched" / "rows"
        self._kept: list[pa.Table] = []
        self._files: list[Path] = []
        self._held = 0
        self._next = first
        self._first = first
        self.size_bytes = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._next - self._first

    @property
    def next(self) -> int:
        """The number that the next row would have."""
        return self._next

    def add(self, rows: pa.Table) -> None:
        """Take rows."""
        if rows.num_rows == 0:
            return
        rows = numbered(rows, self._next)
        self._next += rows.num_rows
        self._kept.append(rows)
        self._held += rows.nbytes
        self.size_bytes += rows.nbytes
        if self._held > IN_MEMORY_BYTES:
            self._folder.mkdir(parents=True, exist_ok=True)
            for table in self._kept:
                self._write(table)
            self._kept.clear()
            self._held = 0

    def tables(self) -> Iterator[pa.Table]:
        """Give the rows, from the first, each time it is called."""
        for path in self._files:
            yield pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        yield from self._kept

    def forget(self) -> None:
        """Delete the files."""
        self._kept.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, table: pa.Table) -> None:
        path = self._folder / f"{len(self._files):06d}.arrow"
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        self._files.append(path)
