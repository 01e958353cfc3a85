"""Keeps erased keys out: rows whose key was erased ``forever`` are left out of every later ingest.

Keys are compared by their salted digests, in the form in which the dataset holds them; an ingest of a dataset without
such erasures does nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from loopwright.core.storage.duck import borrowed, quote_name, to_arrow
from loopwright.data.versions.erasure import digest_sql, erasures, raw_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopwright.core.storage.facts import Facts
    from loopwright.data.quality.judge import Judged


@dataclass(frozen=True)
class _Key:
    column: str
    salt: str
    digests: tuple[str, ...]

    def matches(self, form: str) -> str:
        listed = ", ".join(f"'{digest}'" for digest in self.digests)
        return f"coalesce({digest_sql(self.salt, form)} IN ({listed}), false)"


class Suppression:
    """The erased keys of one dataset that must not come back.

    Attributes:
        rows: How many rows were left out so far.
        requests: How many erasures the dataset has on record, whether or not they keep keys out.
    """

    def __init__(self, facts: Facts, dataset: str) -> None:
        c = erasures.c
        query = sa.select(c.key_column, c.salt, c.key_digests, c.forever).where(c.dataset == dataset)
        with facts.read() as connection:
            rows = connection.execute(query).all()
        self._keys = [_Key(row[0], row[1], tuple(row[2])) for row in rows if row.forever]
        self.requests = len(rows)
        self.rows = 0

    def without(
        self,
        judged: Judged,
        *,
        good: Callable[[pa.Table], pa.Table],
        bad: Callable[[pa.Table], pa.Table],
        types: Mapping[str, str],
    ) -> Judged:
        """Return what was judged without the rows of erased keys.

        Args:
            judged: Accepted and quarantined rows of a batch.
            good: Gives accepted rows the form in which they are stored.
            bad: The same for quarantined rows.
            types: The stored columns' DuckDB types.
        """
        if not self._keys:
            return judged
        stored, kept_out = good(judged.good), bad(judged.bad)
        accepted = [key.matches(f"{quote_name(key.column)}::VARCHAR") for key in self._keys_in(stored)]
        raw = [key.matches(form) for key in self._keys for form in raw_forms(key.column, types.get(key.column))]
        return replace(
            judged, good=self._left(judged.good, stored, accepted), bad=self._left(judged.bad, kept_out, raw)
        )

    def _keys_in(self, rows: pa.Table) -> list[_Key]:
        return [key for key in self._keys if key.column in rows.column_names]

    def _left(self, rows: pa.Table, seen: pa.Table, conditions: list[str]) -> pa.Table:
        if not rows.num_rows or not conditions:
            return rows
        with borrowed() as con:
            con.register("seen", seen)
            gone = to_arrow(con.sql(f"SELECT {' OR '.join(conditions)} AS gone FROM seen"))["gone"]
        left = rows.filter(pc.invert(gone))
        self.rows += rows.num_rows - left.num_rows
        return left
