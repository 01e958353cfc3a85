"""Writes quarantined rows to a file: the values as they came, why each row is out, and where it is from.

The columns ``_id``, ``_from``, ``_row``, ``_arrived`` and ``_reasons`` come first, then those of the rows. A replay of
the edited file finds the rows by ``_id``; the others of these are for whoever reads it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from loopwright.core.errors import UsageError
from loopwright.data.quarantine.edited_file import ARRIVED, FROM, ID, NUMBER, REASONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopwright.data.quarantine.view import QuarantinedRow, Reason

FORMATS = (".csv", ".parquet", ".jsonl")


def export(rows: Sequence[QuarantinedRow], path: Path) -> int:
    """Write rows to a CSV, Parquet or JSON Lines file, by its ending, and return how many.

    A line that could not be taken apart, and a file that could not be read, have no columns to write; they are passed
    over.

    Raises:
        UsageError: If the ending is none of the three.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"{path.name} names no format to write.", hint=f"End it with {', '.join(FORMATS)}.")
    whole = [(row, row.raw) for row in rows if isinstance(row.raw, dict) and row.source_row >= 0]
    names = list(dict.fromkeys(name for _, raw in whole for name in raw))
    found = [
        {
            ID: row.id,
            FROM: row.source,
            NUMBER: row.source_row,
            ARRIVED: row.arrived_at.isoformat(),
            REASONS: "; ".join(map(_said, row.reasons)),
            **{name: raw.get(name) for name in names},
        }
        for row, raw in whole
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in found)
        path.write_text("".join(lines), encoding="utf-8")
        return len(found)
    first = [ID, FROM, NUMBER, ARRIVED, REASONS]
    columns = {name: _column([one[name] for one in found]) for name in (*first, *names)}
    table = pa.table(columns)
    if path.suffix == ".csv":
        pacsv.write_csv(table, path)
    else:
        pq.write_table(table, path, compression="zstd")
    return len(found)


def _said(reason: Reason) -> str:
    return reason.label if reason.value is None else f"{reason.label}: {reason.value}"


def _column(values: list[object]) -> pa.Array:
    """Return values as one type: numbers or truth values where all are such, else texts."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} or kinds <= {int, float} or kinds <= {str}:
        try:
            return pa.array(values, pa.float64() if kinds == {int, float} else None if kinds else pa.string())
        except (pa.ArrowInvalid, OverflowError):
            pass
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
