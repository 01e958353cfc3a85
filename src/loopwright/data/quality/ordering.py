"""Finds the values that are out of order, in one pass over the rows, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.storage.duck import quote_name
from loopwright.data.quality.aligned import as_numpy, positions_of
from loopwright.data.quality.failing import RowsFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pyarrow as pa
    from numpy.typing import NDArray

    from loopwright.data.contract.series import Monotone
    from loopwright.data.quality.aligned import Aligned, Values

_BLOCK_ROWS = 1 << 18
_WRONG = {  # a value and the furthest one before it, by whether a check is of falling values, and strict
    (False, False): np.less,
    (False, True): np.less_equal,
    (True, False): np.greater,
    (True, True): np.greater_equal,
}


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


def in_order_of(columns: Aligned, kept: NDArray[np.bool_], checks: Sequence[Monotone]) -> list[RowsFailed]:
    """Return the same of columns in memory, of the rows kept."""
    blocks = _Blocks(checks)
    for index, check in enumerate(checks):
        positions, values = columns.column(check.column, kept)
        blocks.look_at(index, check, values, positions)
    return blocks.failed()


class _Blocks:
    def __init__(self, checks: Sequence[Monotone]) -> None:
        self._checks = list(checks)
        self._furthest: list[np.generic | None] = [None] * len(self._checks)
        self._found: list[list[NDArray[np.int64]]] = [[] for _ in self._checks]
        self._seen = [0] * len(self._checks)
        self._last = -1

    def add(self, batch: pa.RecordBatch) -> bool:
        """Take the next rows; False where they do not follow the last ones."""
        positions = as_numpy(batch["position"])[0]
        if len(positions) == 0:
            return True
        if positions[0] <= self._last or bool((positions[1:] <= positions[:-1]).any()):
            return False
        self._last = int(positions[-1])
        for index, check in enumerate(self._checks):
            values, there = as_numpy(batch[check.column])
            if there is None:
                self.look_at(index, check, values, positions)
            else:
                self.look_at(index, check, values[there], positions[there])
        return True

    def look_at(self, index: int, check: Monotone, values: Values, positions: NDArray[np.int64]) -> None:
        """Compare the next values of a check's column, all of them there, with those before."""
        if len(values) == 0:
            return
        furthest = self._furthest[index]
        self._seen[index] += len(values)
        wrong = _WRONG[check.is_falling, check.strictly]
        if not wrong(values[1:], values[:-1]).any() and (furthest is None or not wrong(values[0], furthest)):
            self._furthest[index] = values[-1]
            return
        start = 1 if furthest is None else 0
        extreme = np.minimum if check.is_falling else np.maximum
        carried = extreme.accumulate(values if furthest is None else np.concatenate([[furthest], values]))
        bad = wrong(values[start:], carried[:-1])
        self._furthest[index] = carried[-1]
        if bad.any():
            self._found[index].append(positions[start:][bad])

    def failed(self) -> list[RowsFailed]:
        """Return what was found."""
        made = []
        for check, parts, seen in zip(self._checks, self._found, self._seen, strict=True):
            if parts:
                rows = positions_of(np.concatenate(parts))
                tolerated = check.mostly is not None and 1 - len(rows) / seen >= check.mostly - 1e-12
                made.append(RowsFailed(check.word, check.column, check.label, check.on_failure, rows, seen, tolerated))
        return made
