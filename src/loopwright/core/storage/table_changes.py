"""What a table gained between two of its versions, each row once, whatever was compacted or deleted in between.

A version is a list of files, and files never change. So what was added lies in the files that only the later version
has; where files were rewritten, by a compaction or a deletion, the rows of the files that went away are taken off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.core.storage.table_files import TableFiles


@dataclass(frozen=True)
class TableSpan:
    """The versions ``after`` (not included; 0 is the empty table) to ``until`` (included) of one table."""

    table: str
    after: int
    until: int

    @property
    def empty(self) -> bool:
        """Say whether nothing lies between the versions."""
        return self.until <= self.after

    @property
    def before(self) -> TableSpan:
        """Everything up to where this span begins."""
        return TableSpan(self.table, 0, self.after)

    @property
    def whole(self) -> TableSpan:
        """Everything up to where this span ends."""
        return TableSpan(self.table, 0, self.until)


@dataclass(frozen=True)
class TableChange:
    """Two versions of one table, by the files that only one of them has.

    Attributes:
        came: the later version, with only the files that the earlier one lacks.
        gone: the earlier version's files that the later one lacks, read with the later one's columns.
        same: the files that both have, read with the later one's columns.
    """

    came: TableFiles
    gone: TableFiles
    same: TableFiles

    @classmethod
    def between(cls, old: TableFiles, new: TableFiles) -> TableChange:
        """Compare two versions."""
        before, now = set(old.files), set(new.files)
        return cls(
            came=replace(new, files=tuple(file for file in new.files if file not in before)),
            gone=replace(new, files=tuple(file for file in old.files if file not in now)),
            same=replace(new, files=tuple(file for file in new.files if file in before)),
        )

    def select_added(self, key: Sequence[str]) -> str | None:
        """Write the SELECT of the rows that came, or None where no file did.

        Args:
            key: columns that name a row, quicker to compare than whole rows; by default rows are the same when all
                their values are, and equal rows are counted.
        """
        if not self.came.files:
            return None
        if not self.gone.files:
            return self.came.select()
        if not key:
            return f"{self.came.select()} EXCEPT ALL {self.gone.select()}"
        same = " AND ".join(f"added.{quote_name(name)} IS NOT DISTINCT FROM old.{quote_name(name)}" for name in key)
        return f"SELECT added.* FROM ({self.came.select()}) AS added ANTI JOIN ({self.gone.select()}) AS old ON {same}"
