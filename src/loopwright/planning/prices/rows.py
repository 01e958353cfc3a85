"""Price tables as files: three tables of comma-separated values, read with their line numbers and written back."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.planning.prices.sanity import Finding, Row, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

SHIPPED = Path(__file__).parent

COLUMNS: dict[str, tuple[str, ...]] = {
    "instances.csv": (
        "provider", "region", "type", "vcpus", "memory_gib", "architecture", "burstable", "accelerator",
        "accelerators", "accelerator_memory_gib", "on_demand_usd_per_hour", "source", "as_of", "spot_usd_per_hour",
        "spot_low_usd_per_hour", "spot_high_usd_per_hour", "spot_zones", "spot_source", "spot_as_of", "note",
    ),
    "units.csv": (
        "provider", "service", "tier", "unit", "usd", "from_quantity", "region", "note", "source", "as_of",
    ),
    "commitments.csv": (
        "provider", "region", "type", "full_month_usd", "commit_1y_usd_per_month", "commit_3y_usd_per_month",
        "source", "as_of",
    ),
}  # fmt: skip
"""The columns of each table; the files may leave out those that no rule asks for."""

KEYS: dict[str, tuple[str, ...]] = {
    "instances.csv": ("provider", "region", "type"),
    "units.csv": ("provider", "service", "tier", "from_quantity"),
    "commitments.csv": ("provider", "region", "type"),
}
"""What a row is told from others by."""


@dataclass(frozen=True)
class Rows:
    """The rows of one file, with the line each stands in."""

    file: str
    rows: tuple[Row, ...]
    lines: tuple[int, ...]

    def by_key(self) -> dict[tuple[str, ...], Row]:
        """Return the rows by what tells them apart."""
        return {key_of(self.file, row): row for row in self.rows}


def key_of(file: str, row: Row) -> tuple[str, ...]:
    """Return what tells a row from the others of its table; an empty quantity is 0."""
    parts = [row.get(name) or "" for name in KEYS[file]]
    if file == "units.csv":
        try:
            parts[-1] = f"{float(parts[-1] or 0):g}"
        except ValueError:
            return tuple(parts)
    return tuple(parts)


def read_rows(path: Path, file: str) -> Rows:
    """Read one table.

    Args:
        path: The file.
        file: Which of the three tables it is.

    Raises:
        DeclarationError: If it cannot be read, or has no such columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened, strict=True)
            names = list(reader.fieldnames or ())
            _check_columns(path, file, names)
            rows, lines = [], []
            for row in reader:
                _check_width(path, reader.line_num, row)
                rows.append({name: (row[name] or "").strip() for name in names})
                lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DeclarationError(
            f"The price table {path} cannot be read: {error}.", hint="Give a CSV file in UTF-8, or leave it out."
        ) from error
    if not rows:
        raise DeclarationError(f"The price table {path} has no rows.")
    return Rows(file, tuple(rows), tuple(lines))


def kind_of(path: Path) -> str:
    """Return which of the three tables a file is, by its columns.

    Raises:
        DeclarationError: If it is none of them.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as opened:
            names = set(next(csv.reader(opened), ()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DeclarationError(f"The price table {path} cannot be read: {error}.") from error
    for file, column in (
        ("instances.csv", "on_demand_usd_per_hour"),
        ("instances.csv", "spot_usd_per_hour"),
        ("units.csv", "service"),
        ("commitments.csv", "commit_1y_usd_per_month"),
    ):
        if column in names:
            return file
    raise DeclarationError(
        f"The columns of {path.name} are those of no price table: {', '.join(sorted(names)) or 'none'}.",
        hint="Machines need on_demand_usd_per_hour or spot_usd_per_hour, services service and tier, commitments "
        "commit_1y_usd_per_month.",
    )


def findings_of(table: Rows) -> list[Finding]:
    """Return every refused cell of a table, and every row that stands in it twice."""
    found: list[Finding] = []
    seen: dict[tuple[str, ...], int] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        found += refused(table.file, line, row)
        key = key_of(table.file, row)
        if key in seen:
            name = " ".join(part for part in key if part)
            found.append(Finding(table.file, line, KEYS[table.file][-1], name, f"stands in line {seen[key]} already"))
        seen.setdefault(key, line)
    return found


def refuse(path: Path, found: Sequence[Finding]) -> None:
    """Raise one message for what makes a table unusable.

    Raises:
        DeclarationError: If anything was found.
    """
    if not found:
        return
    more = f" And {len(found) - 1} more." if len(found) > 1 else ""
    raise DeclarationError(
        f"The price table in {path} breaks a rule: {found[0]}.{more}",
        hint="Correct the row, or see all of them with `loopwright prices check`.",
    )


def write_rows(table: Rows, folder: Path) -> Path:
    """Write a table into a folder, under its own name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / table.file
    with path.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, COLUMNS[table.file], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.rows)
    return path


def _check_columns(path: Path, file: str, names: list[str]) -> None:
    known = COLUMNS[file]
    unknown = [name for name in names if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"The columns are {', '.join(known)}."
        raise DeclarationError(f"The price table {path} has a column '{unknown[0]}' that nothing reads.", hint=hint)
    missing = [name for name in KEYS[file] if name not in names and name != "from_quantity"]
    if missing:
        raise DeclarationError(f"The price table {path} has no column '{missing[0]}'.")


def _check_width(path: Path, line: int, row: dict[str, str]) -> None:
    if None in row or None in row.values():
        raise DeclarationError(f"Line {line} of the price table {path} has more or fewer cells than the heading.")
