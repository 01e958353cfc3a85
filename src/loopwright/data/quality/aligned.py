"""Columns read into memory once, in the order of their rows, for all checks that compare rows with each other.

What passes between the engine and NumPy does so by its buffers: pyarrow's own conversions import pandas, which takes
longer than most checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from loopwright.core.storage.duck import quote_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb
    from numpy.typing import NDArray

    Values = NDArray[Any]  # of a kind of number

_BLOCK_ROWS = 1 << 18


@dataclass(frozen=True)
class Aligned:
    """Some columns of a relation.

    Attributes:
        positions: The number of each row, ascending.
        values: The values of each column, times as a number of their units.
        there: Whether each value is there; None for a column that has them all.
    """

    positions: NDArray[np.int64]
    values: Mapping[str, Values]
    there: Mapping[str, NDArray[np.bool_] | None]

    def column(self, name: str, kept: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], Values]:
        """Return the rows and values of a column that are there, of the rows kept.

        Args:
            name: The column.
            kept: For each row number whether the row counts; all do without it.
        """
        there = self.there[name]
        if kept is not None:
            kept = kept[self.positions]
            there = kept if there is None else there & kept
        if there is None or there.all():
            return self.positions, self.values[name]
        return self.positions[there], self.values[name][there]


def aligned(con: duckdb.DuckDBPyConnection, relation: str, position: str, columns: Sequence[str], rows: int) -> Aligned:
    """Read columns of numbers, dates and times.

    Args:
        con: Where the relation is.
        relation: SQL that may follow FROM.
        position: SQL of the number of a row.
        columns: Their names.
        rows: How many rows the relation has.
    """
    listed = "".join(f", {quote_name(name)} AS v{index}" for index, name in enumerate(columns))
    blocks = con.sql(f"SELECT {position}::BIGINT AS position{listed} FROM {relation}").to_arrow_reader(_BLOCK_ROWS)
    held: list[Values] = []
    there: list[NDArray[np.bool_] | None] = [None] * (len(columns) + 1)
    start = 0
    for block in blocks:
        read = [as_numpy(block[place]) for place in range(len(columns) + 1)]
        if not held:
            held = [np.empty(rows, values.dtype) for values, _ in read]
        part = slice(start, start + len(block))
        for place, (values, are_there) in enumerate(read):
            held[place][part] = values
            if are_there is not None:
                mask = there[place]
                mask = np.ones(rows, np.bool_) if mask is None else mask
                mask[part] = are_there
                there[place] = mask
        start += len(block)
    if not held:
        held = [np.empty(0, np.int64) for _ in range(len(columns) + 1)]
    positions = held[0]
    if not (positions[1:] > positions[:-1]).all():  # threads may finish out of order
        order = np.argsort(positions, kind="stable")
        held = [one[order] for one in held]
        there = [None if one is None else one[order] for one in there]
    return Aligned(
        held[0].astype(np.int64, copy=False),
        dict(zip(columns, held[1:], strict=True)),
        dict(zip(columns, there[1:], strict=True)),
    )


def as_numpy(column: pa.Array) -> tuple[Values, NDArray[np.bool_] | None]:
    """Return the values of a column of numbers, dates or times, and which are there; None where all are.

    >>> as_numpy(pa.array([1, None, 3]))[1].tolist()
    [True, False, True]
    """
    there = None
    if column.null_count:
        there = np.from_dlpack(column.is_valid().cast(pa.uint8())).view(np.bool_)
    kind = column.type
    if pa.types.is_temporal(kind):
        kind = pa.int32() if kind.bit_width == 32 else pa.int64()
    plain = pa.Array.from_buffers(kind, len(column), [None, column.buffers()[1]], offset=column.offset)
    return np.from_dlpack(plain), there


def positions_of(rows: NDArray[np.integer]) -> pa.Int64Array:
    """Return the numbers of rows as Arrow has them.

    >>> positions_of(np.array([3, 5])).to_pylist()
    [3, 5]
    """
    whole = np.ascontiguousarray(rows, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])
