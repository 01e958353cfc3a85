"""Keeps back the rows, one by one, that bring a column which cannot be stored, where there is no file to refuse whole.

A file with such a column is refused and can be corrected. A record of a stream cannot, and those beside it are good: it
goes to the quarantine with what it held, and the column is left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from loopwright.data.contract.column import SYSTEM_COLUMNS
from loopwright.data.sources.unit import DEFECT, INSIDE, ROW, TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopwright.data.contract.contract import Contract

_CARRIED = (*INSIDE, "_source")


class Stray:
    """Sets rows with columns that cannot be stored aside.

    Args:
        contract: The declared columns; a strict one allows no others.
        stored: The columns of the dataset.
    """

    def __init__(self, contract: Contract, stored: Iterable[str]) -> None:
        self._contract = contract
        self._spelled = {name.casefold(): name for name in stored}
        self._spelled |= {item.name.casefold(): item.name for item in contract.columns}

    def set_aside(self, batch: pa.Table) -> pa.Table:
        """Return the batch without such columns; a row that has a value in one is a defect, with its text."""
        whole = batch
        reasons: dict[int, str] = {}
        kept: dict[str, str] = {}
        for name in [one for one in batch.column_names if one not in _CARRIED]:
            first = kept.get(name.casefold())
            reason = self._against(name)
            if reason is None and first is None:
                kept[name.casefold()] = name
                continue
            if reason is None and first is not None:
                reason = f"the column '{name}' is there twice (upper and lower case count as one)"
                batch = _merged(batch, first, name)
            else:
                batch = batch.drop_columns([name])
            rows = whole[name].is_valid()
            if first is not None:
                rows = pc.and_(rows, whole[first].is_valid())
            for row in pc.indices_nonzero(rows).to_pylist():
                reasons.setdefault(row, f"columns: {reason}")
        return _as_defects(batch, whole, reasons) if reasons else batch

    def _against(self, name: str) -> str | None:
        if not name.strip():
            return "a column has no name"
        if name.startswith("__") or name in SYSTEM_COLUMNS:
            return f"the column '{name}' has a name kept for the system"
        if self._contract.strict and self._contract.column(self._spelled.get(name.casefold(), name)) is None:
            return f"the contract is strict and does not name the column '{name}'"
        return None


def _merged(batch: pa.Table, first: str, other: str) -> pa.Table:
    """Give the values of two spellings of a column to the first, where their types agree."""
    values, more = batch[first], batch[other]
    batch = batch.drop_columns([other])
    if values.type != more.type:
        return batch
    return batch.set_column(batch.column_names.index(first), first, pc.coalesce(values, more))


def _as_defects(batch: pa.Table, whole: pa.Table, reasons: dict[int, str]) -> pa.Table:
    count = batch.num_rows
    known: list[str | None] = [None] * count
    texts: list[str | None] = [None] * count
    if DEFECT in batch.column_names:
        known, texts = batch[DEFECT].to_pylist(), batch[TEXT].to_pylist()
        batch = batch.drop_columns([DEFECT, TEXT])
    content = whole.drop_columns([name for name in _CARRIED if name in whole.column_names and name != ROW])
    for row, reason in reasons.items():
        if known[row] is None:
            held = content.slice(row, 1).to_pylist()[0]
            told = {name: value for name, value in held.items() if value is not None and name != ROW}
            known[row], texts[row] = reason, json.dumps(told, default=str, ensure_ascii=False)
    return batch.append_column(DEFECT, pa.array(known, pa.string())).append_column(TEXT, pa.array(texts, pa.string()))
