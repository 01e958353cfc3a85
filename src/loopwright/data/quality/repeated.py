"""Finds the rows of a table whose values an earlier row has.

Whole numbers and times of a single column are counted in an array, or sorted, which shows what is there twice in a
fifth of the time that grouping a million different values takes. Everything else is grouped by the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.storage.duck import quote_name, to_arrow
from loopwright.data.quality.aligned import positions_of
from loopwright.data.quality.failing import RowsFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb
    from numpy.typing import NDArray

    from loopwright.data.contract.check import Unique
    from loopwright.data.quality.aligned import Aligned, Values

SORTED_TYPES = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE"})
_WIDE = 4  # times as many possible values as there are rows may be counted in an array


def repeated_rows(
    con: duckdb.DuckDBPyConnection,
    relation: Callable[[], str],
    checks: Sequence[Unique],
    *,
    position: str,
    rows: int,
    columns: Aligned | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> list[RowsFailed]:
    """Return the rows whose values stand in a row with a lower position, for each check that finds some.

    Args:
        con: Where the relation lives.
        relation: Gives SQL that may follow FROM; a row with a missing value repeats nothing.
        checks: Which columns must not repeat.
        position: The column that orders the rows.
        rows: How many rows were read.
        columns: Those that are in memory already.
        kept: Which rows of those count, by number.
    """
    short = [] if columns is None else [check for check in checks if _is_there(check, columns)]
    found = _by_grouping(con, relation, [check for check in checks if check not in short], quote_name(position))
    if columns is not None:
        found |= {check: _repeated(*columns.column(check.columns[0], kept)) for check in short}
    return [
        RowsFailed(check.word, ", ".join(check.columns), check.label, check.on_failure, positions, rows)
        for check in checks
        if len(positions := found[check])
    ]


def _is_there(check: Unique, columns: Aligned) -> bool:
    return len(check.columns) == 1 and check.columns[0] in columns.values


def _by_grouping(
    con: duckdb.DuckDBPyConnection, relation: Callable[[], str], checks: Sequence[Unique], position: str
) -> dict[Unique, pa.Int64Array]:
    if not checks:
        return {}
    parts, rows = [], relation()
    for number, check in enumerate(checks):
        names = ", ".join(map(quote_name, check.columns))
        whole = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in check.columns)
        doubled = f"SELECT {names}, min({position}) AS first FROM {rows} WHERE {whole} GROUP BY {names}"
        parts.append(
            f"SELECT {position} AS position, {number} AS number FROM (SELECT {position}, {names} FROM {rows}) "
            f"JOIN ({doubled} HAVING count(*) > 1) USING ({names}) WHERE {position} > first"
        )
    table = to_arrow(con.sql(f"{' UNION ALL '.join(parts)} ORDER BY position"))
    return {
        check: table["position"].filter(pc.equal(table["number"], number)).combine_chunks().cast(pa.int64())
        for number, check in enumerate(checks)
    }


def _repeated(positions: NDArray[np.int64], values: Values) -> pa.Int64Array:
    """Return, in order, the positions whose value a lower position has."""
    if len(values) < 2 or (values[1:] > values[:-1]).all():
        return positions_of(positions[:0])
    chosen = _again(values)
    positions, values = positions[chosen], values[chosen]
    order = np.lexsort((positions, values))
    positions, values = positions[order], values[order]
    is_first = np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]
    return positions_of(np.sort(positions[~is_first]))


def _again(values: Values) -> NDArray[np.bool_]:
    """Tell of each value whether it is there more than once."""
    low, high = int(values.min()), int(values.max())
    if high - low < _WIDE * len(values):
        offsets = values.astype(np.int64, copy=False) - low
        again: NDArray[np.bool_] = (np.bincount(offsets) > 1)[offsets]
        return again
    in_order = np.sort(values)
    return np.isin(values, np.unique(in_order[1:][in_order[1:] == in_order[:-1]]))
