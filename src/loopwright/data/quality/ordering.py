"""Finds the values that are out of order, in one pass over the rows, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.core.storage.duck import quote_name
from loopwright.data.quality.failing import RowsFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from loopwright.data.contract.series import Monotone

_BLOCK_ROWS = 1 << 18


def in_order(
    con: duckdb.DuckDBPyConnection, relation: str, position: str, checks: Sequence[Monotone]
) -> list[RowsFailed]:
    """Return the rows whose value is below (or above) one that came before, for checks over all rows.

    The rows are read in their order, and of each column the furthest value so far is carried from block to block.
    """
    columns = list(dict.fromkeys(check.column for check in checks))
    listed = ", ".join(quote_name(name) for name in columns)
    query = f"SELECT {position} AS position, {listed} FROM {relation}"
    reader = con.sql(query).to_arrow_reader(_BLOCK_ROWS)
    blocks = _Blocks(checks)
    if not all(blocks.add(batch) for batch in reader):  # threads may finish out of order
        blocks = _Blocks(checks)
        for batch in con.sql(f"{query} ORDER BY position").to_arrow_reader(_BLOCK_ROWS):
            blocks.add(batch)
    return blocks.failed()


class _Blocks:
    def __init__(self, checks: Sequence[Monotone]) -> None:
        self._checks = list(checks)
        self._furthest: list[np.generic | None] = [None] * len(self._checks)
        self._found: list[list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = [[] for _ in self._checks]
        self._seen = [0] * len(self._checks)
        self._last = -1

    def add(self, batch: pa.RecordBatch) -> bool:
        """Take the next rows; False where they do not follow the last ones."""
        positions = batch["position"].to_numpy(zero_copy_only=False)
        if len(positions) == 0:
            return True
        if positions[0] <= self._last or bool((positions[1:] <= positions[:-1]).any()):
            return False
        self._last = int(positions[-1])
        for index, check in enumerate(self._checks):
            self._look_at(index, check, batch[check.column], positions)
        return True

    def _look_at(
        self, index: int, check: Monotone, column: pa.Array, positions: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> None:
        if column.null_count:
            there = column.is_valid()
            column, positions = column.filter(there), positions[there.to_numpy(zero_copy_only=False)]
        if pa.types.is_temporal(column.type):
            column = column.cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64())
        values = column.to_numpy(zero_copy_only=False)
        if len(values) == 0:
            return
        accumulate = np.minimum.accumulate if check.is_falling else np.maximum.accumulate
        before = np.empty_like(values)
        before[0] = values[0] if self._furthest[index] is None else self._furthest[index]
        start = 1 if self._furthest[index] is None else 0
        carried = accumulate(np.concatenate([before[:1], values]))
        before = carried[:-1]
        sign = {
            (False, False): np.less, (False, True): np.less_equal,
            (True, False): np.greater, (True, True): np.greater_equal,
        }[check.is_falling, check.strictly]  # fmt: skip
        bad = sign(values, before)
        bad[:start] = False
        self._furthest[index] = carried[-1]
        self._seen[index] += len(values)
        if bad.any():
            self._found[index].append(positions[bad])

    def failed(self) -> list[RowsFailed]:
        """Return what was found."""
        made = []
        for check, parts, seen in zip(self._checks, self._found, self._seen, strict=True):
            if parts:
                rows = pa.array(np.concatenate(parts), pa.int64())
                tolerated = check.mostly is not None and 1 - len(rows) / seen >= check.mostly - 1e-12
                made.append(RowsFailed(check.word, check.column, check.label, check.on_failure, rows, seen, tolerated))
        return made
