"""The rows that a table gained between two of its versions, each exactly once, whatever was compacted in between.

Versions are lists of files. Files that only the later version has hold what was added; where compaction rewrote files,
the rows of the files that went away are taken off again by their key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loopwright.core.errors import StoreError
from loopwright.core.storage.duck import quote_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.core.storage.tables import TableStore

# The form of TableStore.scan_sql over plain files: the list of file names, then the columns.
_SCAN: Final = re.compile(r"^SELECT \* FROM read_parquet\(\[(?P<files>.*?)\], (?P<columns>schema=MAP .*)\)$", re.DOTALL)
_FILE: Final = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True)
class Span:
    """The versions ``after`` (not included; 0 is the empty table) to ``until`` (included) of one table."""

    table: str
    after: int
    until: int

    @property
    def empty(self) -> bool:
        """Say whether nothing lies between the versions."""
        return self.until <= self.after


def newest(tables: TableStore, table: str) -> int:
    """Return a table's newest version, 0 for a table that nobody has written yet."""
    return tables.version(table) if tables.exists(table) else 0


def rows_at(tables: TableStore, table: str, version: int) -> str | None:
    """Return a SELECT of a version's rows, or None where the table was empty or absent."""
    return None if version <= 0 else tables.scan_sql(table, version)


def rows_added(tables: TableStore, span: Span, *, key: Sequence[str]) -> str | None:
    """Return a SELECT of the rows that were added, or None where none can have been.

    Args:
        tables: Where the table is.
        span: The two versions.
        key: Columns that name a row, for taking rewritten rows off.

    Raises:
        StoreError: If an older version's files are gone (vacuumed).
    """
    if span.empty:
        return None
    after, until = rows_at(tables, span.table, span.after), rows_at(tables, span.table, span.until)
    if after is None or until is None:
        return until
    if after == until:
        return None
    old, new = _SCAN.match(after), _SCAN.match(until)
    if new is None:
        return None  # the later version is empty
    if old is None:
        return until  # the earlier version was empty
    old_files, new_files = _FILE.findall(old["files"]), _FILE.findall(new["files"])
    gone, came = set(old_files) - set(new_files), [file for file in new_files if file not in set(old_files)]
    if not came:
        return None
    added = _select(came, new["columns"])
    if not gone:
        return added
    rewritten = _select([file for file in old_files if file in gone], old["columns"])
    same = " AND ".join(f"added.{quote_name(name)} IS NOT DISTINCT FROM old.{quote_name(name)}" for name in key)
    return f"SELECT added.* FROM ({added}) AS added ANTI JOIN ({rewritten}) AS old ON {same}"


def _select(files: Sequence[str], columns: str) -> str:
    if not files:  # pragma: no cover - callers pass files
        raise StoreError("A table version without files has no rows to select.")
    return f"SELECT * FROM read_parquet([{', '.join(files)}], {columns})"
