"""Which rows of a table an ingest would keep, as far as its checks have come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.data.quality.aligned import as_numpy, positions_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb
    from numpy.typing import NDArray

_MOST_BITS = 100_000_000  # rows; they reach the engine as a text of as many bytes
_BITS, _KEPT_OUT = '"rows kept out"', '"kept out"'


class Kept:
    """The rows of a relation that are not out.

    The engine is asked for them by a bit for each row, which it looks up in a third of the time that it takes to
    look into a hash table of the rows that are out.

    Args:
        con: Where the relation is.
        relation: SQL that may follow FROM.
        position: The column with the number of each row, from 0 without a gap.
        rows: How many rows the relation has.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, relation: str, position: str, rows: int) -> None:
        self._con = con
        self._relation = relation
        self._position = position
        self.mask: NDArray[np.bool_] = np.ones(rows, dtype=np.bool_)
        self.rows = rows
        self._sql: str | None = relation

    def drop(self, positions: Iterable[pa.Int64Array]) -> None:
        """Take rows out."""
        for one in positions:
            if len(one):
                self.mask[as_numpy(one)[0]] = False
                self._sql = None
        self.rows = int(np.count_nonzero(self.mask))

    def sql(self) -> str:
        """Return SQL that may follow FROM and gives the rows that are in."""
        if self._sql is None:
            self._sql = self._by_bits() if len(self.mask) <= _MOST_BITS else self._by_join()
        return self._sql

    def _by_bits(self) -> str:
        text = (np.uint8(ord("0")) + self.mask.view(np.uint8)).tobytes().decode("ascii")
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE {_BITS} AS SELECT ?::BIT AS kept", [text])
        bit = f"get_bit((SELECT kept FROM {_BITS}), {self._position}::INTEGER)"
        return f"(SELECT * FROM {self._relation} WHERE {bit} = 1)"

    def _by_join(self) -> str:
        self._con.register("kept out", pa.table({"position": positions_of(np.flatnonzero(~self.mask))}))
        return f"(SELECT * FROM {self._relation} ANTI JOIN {_KEPT_OUT} ON {self._position} = position)"
