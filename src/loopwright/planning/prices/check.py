"""Every rule over every row of a table, without stopping at the first that is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.prices.rows import COLUMNS, SHIPPED, findings_of, kind_of, read_rows
from loopwright.planning.prices.table import PriceTable

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from loopwright.planning.prices.sanity import Finding


@dataclass(frozen=True)
class PriceCheck:
    """What was found.

    Attributes:
        rows: How many rows were looked at.
        refused: What makes the table unusable.
        doubtful: What deserves a look.
        stale: A sentence about prices that are old; None where all are new, or where rows were refused.
    """

    rows: int
    refused: tuple[Finding, ...]
    doubtful: tuple[Finding, ...]
    stale: str | None

    @property
    def is_usable(self) -> bool:
        """Whether a plan can be made with it."""
        return not self.refused


def check_prices(path: Path | None = None, *, today: date) -> PriceCheck:
    """Look at a folder of tables, at one file, or at the shipped table.

    Raises:
        DeclarationError: If there is nothing to look at, or a file cannot be read as a table.
    """
    place = SHIPPED if path is None else path
    if place.is_dir():
        named = {name: place / name for name in COLUMNS if (place / name).is_file()}
        if not named:
            raise DeclarationError(f"The folder {place} has no price table.", hint=f"They are {', '.join(COLUMNS)}.")
    else:
        named = {kind_of(place): place}
    files = [read_rows(named.get(name, SHIPPED / name), name) for name in COLUMNS]
    refused = tuple(one for table in files for one in findings_of(table))
    rows = sum(len(table.rows) for table in files if table.file in named)
    if refused:
        return PriceCheck(rows, refused, (), None)
    table = PriceTable.of(files, today=today)
    doubtful = tuple(one for one in table.doubtful if one.file in named)
    return PriceCheck(rows, (), doubtful, table.stale)
