"""One thing that a source gives as a whole: a file, a batch of pushed rows, a table in memory.

Its rows come as Arrow tables with the source's own columns and types, plus :data:`ROW`. A row that cannot be taken
apart into columns (a CSV line with too many fields, a line that is no JSON) comes with the reason in :data:`DEFECT`,
the text in :data:`TEXT` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.sources.csv_scan import CsvScan

ROW = "_source_row"
DEFECT = "__defect"
TEXT = "__text"
INSIDE = (ROW, DEFECT, TEXT)
BATCH_ROWS = 65_536
BLOCK_BYTES = 8 << 20
SHOWN_CHARACTERS = 2_000  # of a broken line that the quarantine keeps

Batches = Callable[[], Iterator[pa.Table]]


@dataclass(frozen=True)
class Unit:
    """A file, a pushed batch or a table, with what identifies its content.

    Args:
        name: What rows carry as ``_source``.
        digest: SHA-256 of the content.
        size_bytes: Size of the content.
        modified_ns: Time of the file, 0 where there is none.
        batches: Gives the rows, from the first, each time it is called.
        has_header: Whether all rows have the same columns, so that a missing one is missing for the whole unit; else a
            column that a row lacks is a missing value of that row.
        is_recorded: Whether the unit goes on record by its name, so that it is not read again. A unit that is not names
            the source of each row itself (:data:`SOURCE`), and its plan says what to remember.
        is_text: Whether all values are text, so that types are inferred and blanks mean missing.
        scan: How DuckDB may read the content by itself, where it may.
    """

    name: str
    digest: str
    size_bytes: int
    modified_ns: int
    batches: Batches
    is_text: bool = False
    has_header: bool = True
    is_recorded: bool = True
    scan: CsvScan | None = None


class UnreadableUnitError(Exception):
    """The content of a unit cannot be read as a whole; it goes to the quarantine as one entry."""


def numbered(table: pa.Table, first: int) -> pa.Table:
    """Append the row numbers ``first``, ``first + 1`` and so on."""
    return table.append_column(ROW, pa.array(np.arange(first, first + table.num_rows, dtype=np.int64)))


def check_header(names: Sequence[str]) -> None:
    """Refuse columns without a name, and names that differ only in case, which SQL cannot tell apart.

    Raises:
        UnreadableUnitError: As above.
    """
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not name.strip():
            hint = "; pandas writes its index so, unless index=False" if index == 0 else ""
            raise UnreadableUnitError(f"column {index + 1} has no name{hint}")
        if name.startswith("__index_level_"):
            raise UnreadableUnitError(f"the column '{name}' is an index of pandas; write the table with index=False")
        if name.lower() in seen:
            raise UnreadableUnitError(f"the column '{name}' is there twice (upper and lower case count as one)")
        seen.add(name.lower())
