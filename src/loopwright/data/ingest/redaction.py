"""Takes sensitive values out of rows before they are stored: hashed, masked or dropped, as the contract declares.

The contract's checks see what the source gave. What is staged, and with it the dataset, the quarantine and everything
made from them, holds pseudonyms (``hash``), outlines (``mask``) or nothing (``drop``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from loopwright.data.contract.sensitive import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.pseudonyms import Pseudonyms
    from loopwright.data.contract.contract import Contract

WITHHELD = "not kept: the dataset has sensitive columns"


class Redaction:
    """What is done to the rows of one dataset.

    Args:
        contract: Declares the sensitive columns.
        pseudonyms: Makes the pseudonyms.
    """

    def __init__(self, contract: Contract, pseudonyms: Pseudonyms) -> None:
        self._change: dict[str, Callable[[str], str]] = {}
        self._dropped: list[str] = []
        for item in contract.columns:
            if item.sensitive == "hash":
                self._change[item.name] = pseudonyms.of
            elif item.sensitive == "mask":
                self._change[item.name] = masked
            elif item.sensitive == "drop":
                self._dropped.append(item.name)

    def good(self, rows: pa.Table) -> pa.Table:
        """Return rows that may be stored."""
        if self._dropped:
            rows = rows.drop_columns([name for name in self._dropped if name in rows.column_names])
        for name, change in self._change.items():
            if name in rows.column_names:
                index = rows.column_names.index(name)
                rows = rows.set_column(index, name, _changed(rows[name], change))
        return rows

    def bad(self, rows: pa.Table) -> pa.Table:
        """Return quarantined rows (``reasons`` and ``raw``) that may be stored."""
        if not rows.num_rows or not (self._change or self._dropped):
            return rows
        raws = [self._raw(text) for text in rows["raw"].to_pylist()]
        reasons = [[self._reason(one) for one in listed] for listed in rows["reasons"].to_pylist()]
        names = rows.column_names
        rows = rows.set_column(names.index("raw"), "raw", pa.array(raws, rows.schema.field("raw").type))
        kind = rows.schema.field("reasons").type
        return rows.set_column(names.index("reasons"), "reasons", pa.array(reasons, kind))

    def _raw(self, text: str | None) -> str | None:
        if text is None:
            return None
        row = json.loads(text)
        if not isinstance(row, dict):  # a line that could not be taken apart: where the values lie in it is not known
            return json.dumps(WITHHELD)
        kept = {name: value for name, value in row.items() if name not in self._dropped}
        for name, change in self._change.items():
            if kept.get(name) is not None:
                kept[name] = change(str(kept[name]))
        return json.dumps(kept, ensure_ascii=False)

    def _reason(self, reason: dict[str, str | None]) -> dict[str, str | None]:
        name, value = reason["column"], reason["value"]
        if value is None or (reason["check"] == "row" and not name):
            return reason
        if name in self._dropped:
            return reason | {"value": None}
        change = self._change.get(name or "")
        return reason if change is None else reason | {"value": change(value)}


def _changed(column: pa.ChunkedArray, change: Callable[[str], str]) -> pa.ChunkedArray:
    """Change each distinct value once."""
    coded = pc.dictionary_encode(column.combine_chunks())
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    values = [None if value is None else change(value) for value in coded.dictionary.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.string()).take(coded.indices)])
