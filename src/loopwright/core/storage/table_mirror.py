"""Copies of a remote table's Parquet files on this machine, so that DuckDB reads them as it reads local ones.

A Parquet file of a table changes only when rows are erased from it, and its name never comes twice; so a copy is right
until an erasure drops it, and is fetched once.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.store import from_url

from loopwright.core.storage.table_errors import committing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopwright.core.storage.location import Location

_CHUNK_BYTES = 8 << 20


class TableMirror:
    """Bring files of a remote place into a folder: each at once, and only those that are not there.

    Args:
        place: where the tables are.
        folder: where the copies go; without one, into a temporary folder that goes with this object.
    """

    def __init__(self, place: Location, folder: Path | None) -> None:
        self._store = from_url(place.url)
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="loopwright-tables-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder

    def drop(self, table: str) -> None:
        """Remove the copies of a table's files: the files were replaced, which an erasure does."""
        shutil.rmtree(self.folder / table, ignore_errors=True)

    def fetch(self, files: Iterable[Path]) -> None:
        """Make sure that these files below ``folder`` are there.

        Raises:
            StoreError: a file cannot be read.
            StoreFullError: no space is left for it.
        """
        for path in files:
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with committing(f"fetch '{path.name}'"), tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                temporary = Path(file.name)
                try:
                    name = path.relative_to(self.folder).as_posix()
                    for chunk in obstore.get(self._store, name).stream(min_chunk_size=_CHUNK_BYTES):
                        file.write(chunk)
                    file.flush()
                    temporary.replace(path)
                finally:
                    temporary.unlink(missing_ok=True)
