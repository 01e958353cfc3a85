"""What one version of a table consists of: its columns, its Parquet files, and the DuckDB query that reads them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import obstore
import pyarrow as pa
from obstore.store import from_url

from loopwright.core.storage.columns import duck_type, restored
from loopwright.core.storage.duck import quote_name, quote_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deltalake import DeltaTable

    from loopwright.core.storage.location import Location
    from loopwright.core.storage.table_mirror import TableMirror


@dataclass(frozen=True)
class TableFiles:
    """One version, described once and kept.

    Attributes:
        version: the version's number.
        schema: its columns, vectors with their length.
        files: its Parquet files, oldest first; empty where ``plain`` is false.
        rows: its number of rows.
        plain: every row of every file counts. Not so with deletion vectors, partition columns or renamed columns.
    """

    version: int
    schema: pa.Schema
    files: tuple[Path, ...]
    rows: int
    plain: bool

    @classmethod
    def of(cls, delta: DeltaTable, folder: Path) -> TableFiles:
        """Describe the version that ``delta`` is at; ``folder`` is where this machine has its files, or copies."""
        actions = pa.table(delta.get_add_actions())
        ordered = actions.sort_by([("modification_time", "ascending"), ("path", "ascending")])
        features = set(delta.protocol().reader_features or ())
        plain = not delta.metadata().partition_columns and not features & {"deletionVectors", "columnMapping"}
        files = tuple(folder / unquote(path) for path in ordered["path"].to_pylist()) if plain else ()
        return cls(
            version=delta.version(),
            schema=restored(pa.schema(delta.schema().to_arrow())),
            files=files,
            rows=delta.count(),
            plain=plain,
        )

    def named(self, url: str, mirror: TableMirror | None, *, here: bool) -> tuple[str, ...]:
        """Name the files as paths on this machine, where the mirror copies them to, or else below the store's URL."""
        if mirror is not None and not here:
            return tuple(f"{url}/{file.relative_to(mirror.folder)}" for file in self.files)
        if mirror is not None:
            mirror.fetch(self.files)
        return tuple(str(file) for file in self.files)

    def select(self) -> str:
        """Write the SELECT that gives the version's rows, in exact types, from plain files."""
        if not self.files:
            columns = ", ".join(
                f"NULL::{duck_type(column.type)} AS {quote_name(column.name)}" for column in self.schema
            )
            return f"SELECT {columns} WHERE false"
        files = ", ".join(quote_text(unglobbed(str(file))) for file in self.files)
        columns = ", ".join(
            f"{quote_text(column.name)}: {{name: {quote_text(column.name)}, "
            f"type: {quote_text(duck_type(column.type))}, default_value: NULL}}"
            for column in self.schema
        )
        return f"SELECT * FROM read_parquet([{files}], schema=MAP {{{columns}}})"


def names_below(place: Location) -> Iterator[str]:
    """Give the names of the tables below a place."""
    if place.folder is not None:
        for folder, inside, _ in os.walk(place.folder):
            if "_delta_log" in inside:
                inside.clear()
                yield Path(folder).relative_to(place.folder).as_posix()
        return
    store = from_url(place.url)
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        inside = list(obstore.list_with_delimiter(store, prefix or None)["common_prefixes"])
        if f"{prefix}/_delta_log" in inside:
            yield prefix
        else:
            waiting += inside


def unglobbed(path: str) -> str:
    """Take their meaning from the signs that DuckDB would expand in a file name."""
    return re.sub(r"([*?\[])", r"[\1]", path)
