"""Prices of one's own over those there are: rows found by cloud, region and type, or by cloud, service and tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loopwright.core.errors import DeclarationError
from loopwright.planning.prices.rows import Rows, findings_of, key_of, kind_of, read_rows, refuse, write_rows
from loopwright.planning.prices.sanity import PRICES, Finding, Row, number_of, refused
from loopwright.planning.prices.table import PriceTable

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_DIFFERENCE = 0.10
"""Two sources that differ by more cannot both be right; a person says which is."""

Take = Literal["ours", "theirs"]


@dataclass(frozen=True)
class Conflict:
    """Two prices of one thing that are too far apart.

    Attributes:
        name: Of the row.
        column: Which price.
        ours: The one there was.
        theirs: The one that came.
        line: Where it stands in the file that came.
    """

    name: str
    column: str
    ours: float
    theirs: float
    line: int

    def __str__(self) -> str:
        return f"{self.name}, {self.column}: {self.ours:g} here, {self.theirs:g} in line {self.line}"


@dataclass(frozen=True)
class Merge:
    """A table with rows of one's own in it.

    Attributes:
        table: The new one.
        file: Which of the three tables took them.
        came: Rows that there were none of.
        changed: Rows of which a cell is another one now.
        same: Rows that say what was known.
        conflicts: Prices more than 10 % apart, decided by the person.
    """

    table: PriceTable
    file: str
    came: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]
    conflicts: tuple[Conflict, ...]


def merge_prices(table: PriceTable, path: Path, *, take: Take | None = None) -> Merge:
    """Return the table with the rows of a file over its own; neither is written.

    A cell that the file leaves out, or leaves empty, stays as it was; a price brings its own source and day.

    Args:
        table: What there is.
        path: A file with the columns of one of the three tables.
        take: Which price holds where two differ by more than 10 %.

    Raises:
        DeclarationError: If the file cannot be read, a row breaks a rule, or two prices differ by more than 10 % and
            ``take`` says nothing.
    """
    file = kind_of(path)
    theirs = read_rows(path, file)
    known = next(one for one in table.files if one.file == file)
    merged = {key_of(file, row): (row, line) for row, line in zip(known.rows, known.lines, strict=True)}
    refuse(path, [one for one in findings_of(theirs) if one.text.startswith("stands in line")])
    came, changed, same = [], [], []
    conflicts: list[Conflict] = []
    found: list[Finding] = []
    for row, line in zip(theirs.rows, theirs.lines, strict=True):
        key = key_of(file, row)
        name = " ".join(part for part in key if part not in {"", "0"})
        old = merged.get(key, ({}, 0))[0]
        new = _joined(old, row)
        wrong = refused(file, line, new if row.get("source") else {**new, "source": ""})
        found += wrong
        if wrong:
            continue
        apart = _apart(name, old, new, line)
        conflicts += apart
        if not old:
            came.append(name)
        elif new == old or (apart and take == "ours"):
            same.append(name)
            continue
        else:
            changed.append(name)
        merged[key] = (new, line)
    refuse(path, found)
    if conflicts and take is None:
        shown = "; ".join(str(one) for one in conflicts[:3]) + ("; …" if len(conflicts) > 3 else "")
        raise DeclarationError(
            f"{len(conflicts)} prices differ by more than {LARGEST_DIFFERENCE:.0%} from those on record: {shown}.",
            hint="Say which holds: --take theirs or --take ours.",
        )
    rows = Rows(file, tuple(row for row, _ in merged.values()), tuple(range(2, len(merged) + 2)))
    files = [rows if one.file == file else one for one in table.files]
    joined = PriceTable.of(files, today=table.today)
    return Merge(joined, file, tuple(came), tuple(changed), tuple(same), tuple(conflicts))


def write_prices(table: PriceTable, folder: Path) -> tuple[Path, ...]:
    """Write a table into a folder, in the form that :meth:`PriceTable.load` reads."""
    return tuple(write_rows(one, folder) for one in table.files)


def _joined(old: Row, row: Row) -> Row:
    new: Row = {**old, **{column: cell for column, cell in row.items() if cell}}
    if row.get("spot_usd_per_hour"):
        new["spot_source"] = row.get("spot_source") or row.get("source") or ""
        new["spot_as_of"] = row.get("spot_as_of") or row.get("as_of") or ""
        for column in ("spot_low_usd_per_hour", "spot_high_usd_per_hour", "spot_zones"):
            new[column] = row.get(column) or ""
    if any(row.get(column) for column in PRICES if column != "spot_usd_per_hour"):
        new["as_of"] = row.get("as_of") or ""
    elif old:
        new["source"], new["as_of"] = old["source"], old.get("as_of") or ""
    return new


def _apart(name: str, old: Row, new: Row, line: int) -> list[Conflict]:
    found = []
    for column in PRICES:
        ours, theirs = number_of(old, column), number_of(new, column)
        if ours is None or theirs is None:
            continue
        if abs(theirs - ours) > LARGEST_DIFFERENCE * min(ours, theirs) + 1e-12:
            found.append(Conflict(name, column, ours, theirs, line))
    return found
