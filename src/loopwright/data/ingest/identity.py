"""Finds rows that are stored already, or twice in one ingest: keys and uniqueness.

One query over the suspect rows and the stored ones, on the key and a 64-bit hash of the other values; it spills where
memory ends. Rows are compared in the order in which they came. Which rows are suspect, their hashes tell beforehand
(:mod:`loopwright.data.ingest.known_keys`); most often none is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.core.storage.duck import quote_name, quote_text, to_arrow
from loopwright.data.ingest.stage import POSITION, SOURCE
from loopwright.data.ingest.taken import name_owners
from loopwright.data.quality.judge import empty_bad
from loopwright.data.sources.unit import ROW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from loopwright.data.contract.check import Unique
    from loopwright.data.dataset import OnDuplicate
    from loopwright.data.ingest.known_keys import Suspects
    from loopwright.data.ingest.stage import Positions


@dataclass(frozen=True)
class Identified:
    """What the keys said: rows left out as duplicates, quarantined ones, and stored rows that newer ones supersede."""

    dropped: Positions
    quarantined: pa.Table  # _source, _source_row, reasons, raw
    duplicates: int
    superseding: int
    failures: dict[str, int]
    warned: dict[str, int]
    stopped: dict[str, int]

    @classmethod
    def nothing(cls) -> Identified:
        """Say that every row is new."""
        none: Positions = np.empty(0, dtype=np.int64)
        return cls(none, empty_bad(), 0, 0, {}, {}, {})


class Identity:
    """Judges staged rows by the dataset's key and its uniqueness checks.

    Args:
        con: A connection with the view ``staged`` (the staged rows) and, where there are any, the view ``stored``.
        columns: The columns whose values make two rows equal.
        stored_columns: The columns of ``stored``; empty where nothing is stored.
        suspects: By the columns of a check, the staged rows among which all are that fail it; without, all are.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        columns: Sequence[str],
        stored_columns: Sequence[str] = (),
        suspects: Mapping[tuple[str, ...], Suspects] | None = None,
    ) -> None:
        self._con = con
        self._suspects = dict(suspects or {})
        self._columns = list(columns)
        self._stored = list(stored_columns)
        self._fields: dict[tuple[str, str], Sequence[str]] = {}
        con.execute("CREATE TEMP TABLE dropped (position BIGINT, kind VARCHAR, label VARCHAR, field VARCHAR)")

    def judge(self, key: Sequence[str], policy: OnDuplicate, uniques: Sequence[Unique]) -> Identified:
        """Judge by the key first, then by each uniqueness check among the rows that are left."""
        superseding = 0
        if key:
            self._fields["key", ", ".join(key)] = key
            superseding = self._by_key(key, policy)
        failures = self._counts("key", key) if key else {}
        warned: dict[str, int] = {}
        stopped: dict[str, int] = {}
        for check in uniques:
            if set(check.columns) == set(key):
                continue
            self._fields["unique", ", ".join(check.columns)] = check.columns
            count = self._by_unique(check, key)
            if count:
                {"quarantine": failures, "warn": warned, "stop": stopped}[check.on_failure][check.label] = count
        rows = to_arrow(self._con.sql("SELECT kind, count(*) AS n FROM dropped GROUP BY kind")).to_pylist()
        duplicates = sum(row["n"] for row in rows if row["kind"] == "duplicate")
        return Identified(
            dropped=to_arrow(self._con.sql("SELECT DISTINCT position FROM dropped"))["position"].to_numpy(),
            quarantined=self._quarantined() if any(row["kind"] == "bad" for row in rows) else empty_bad(),
            duplicates=duplicates,
            superseding=superseding,
            failures=failures,
            warned=warned,
            stopped=stopped,
        )

    def _suspected(self, names: Sequence[str]) -> tuple[str, bool] | None:
        """Return the rows to look at, as a relation, and whether stored ones may equal them; None without any."""
        known = self._suspects.get(tuple(names))
        if known is None:
            has_stored = self._meets_stored(names)
            return ("staged", has_stored) if has_stored or self._repeats(names) else None
        if not len(known.positions):
            return None
        self._con.register("suspect rows", pa.table({"__at": known.positions}))
        relation = f'(SELECT * FROM staged SEMI JOIN "suspect rows" ON __at = {POSITION})'
        return relation, known.is_stored and all(name in self._stored for name in names)

    def _meets_stored(self, names: Sequence[str]) -> bool:
        """Tell whether any staged row has the values of a stored one; only these columns of the stored are read."""
        if not self._stored or not all(name in self._stored for name in names):
            return False
        listed = ", ".join(quote_name(name) for name in names)
        found = self._con.execute(
            f"SELECT 1 FROM (SELECT {listed} FROM stored) SEMI JOIN staged USING ({listed}) LIMIT 1"
        )
        return found.fetchone() is not None

    def _repeats(self, names: Sequence[str]) -> bool:
        """Tell whether two staged rows have the same values; far cheaper than putting the rows of each in order."""
        listed = ", ".join(quote_name(name) for name in names)
        whole = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in names)
        found = self._con.execute(f"SELECT 1 FROM staged WHERE {whole} GROUP BY {listed} HAVING count(*) > 1 LIMIT 1")
        return found.fetchone() is not None

    def _content(self, there: Sequence[str] | None) -> str:
        listed = [
            f"{quote_name(name)}::VARCHAR" if there is None or name in there else "NULL::VARCHAR"
            for name in self._columns
        ]
        return f"hash({', '.join(listed)})"

    def _by_key(self, key: Sequence[str], policy: OnDuplicate) -> int:
        names = ", ".join(quote_name(name) for name in key)
        suspected = self._suspected(key)
        if suspected is None:
            return 0
        staged, has_stored = suspected
        stored = (
            f"SELECT {names}, any_value({self._content(self._stored)}) AS h, true AS has FROM stored "
            f"SEMI JOIN {staged} USING ({names}) GROUP BY {names}"
            if has_stored
            else f"SELECT {names}, 0::UBIGINT AS h, true AS has FROM staged WHERE false"
        )
        whole = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in key)
        self._con.execute(
            f"CREATE OR REPLACE TEMP TABLE keyed AS WITH fresh AS (SELECT {POSITION} AS position, {names}, "
            f"{self._content(None)} AS h FROM {staged} WHERE {whole}), old AS ({stored}) "
            f"SELECT position, fresh.h AS h, row_number() OVER w AS n, lag(fresh.h) OVER w AS before, "
            f"first_value(fresh.h) OVER w AS first, old.h AS old, coalesce(has, false) AS has "
            f"FROM fresh LEFT JOIN old USING ({names}) WINDOW w AS (PARTITION BY {names} ORDER BY position)"
        )
        label = quote_text("key")
        field = quote_text(", ".join(key))
        if policy == "upsert":
            same = "h = coalesce(before, old)"
            self._con.execute(f"INSERT INTO dropped SELECT position, 'duplicate', NULL, NULL FROM keyed WHERE {same}")
            newer = f"SELECT count(*) FROM keyed WHERE (has OR n > 1) AND ({same}) IS NOT TRUE"
            return int(self._con.execute(newer).fetchall()[0][0])
        other = "(has OR n > 1)"
        equal = "h = CASE WHEN has THEN old ELSE first END"
        kind = "'duplicate'" if policy == "ignore" else f"CASE WHEN {equal} THEN 'duplicate' ELSE 'bad' END"
        self._con.execute(f"INSERT INTO dropped SELECT position, {kind}, {label}, {field} FROM keyed WHERE {other}")
        return 0

    def _by_unique(self, check: Unique, key: Sequence[str]) -> int:
        names = ", ".join(quote_name(name) for name in check.columns)
        whole = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in check.columns)
        owner = f"hash({', '.join(quote_name(name) + '::VARCHAR' for name in key)})" if key else POSITION
        suspected = self._suspected(check.columns)
        if suspected is None:
            return 0
        staged, has_stored = suspected
        there = has_stored and all(name in self._stored for name in key)
        stored_owner = owner if key else "-1"
        stored = (
            f"SELECT {names}, any_value({stored_owner}) AS owner FROM stored "
            f"SEMI JOIN {staged} USING ({names}) GROUP BY {names}"
            if there
            else f"SELECT {names}, {owner} AS owner FROM staged WHERE false"
        )
        self._con.execute(
            f"CREATE OR REPLACE TEMP TABLE doubled AS WITH fresh AS (SELECT {POSITION} AS position, {names}, "
            f"{owner} AS owner FROM {staged} WHERE {whole} AND {POSITION} NOT IN (SELECT position FROM dropped)), "
            f"old AS ({stored}) SELECT position FROM (SELECT position, fresh.owner AS mine, "
            f"first_value(fresh.owner) OVER (PARTITION BY {names} ORDER BY position) AS first, old.owner AS theirs "
            f"FROM fresh LEFT JOIN old USING ({names})) WHERE mine <> coalesce(theirs, first)"
        )
        if check.on_failure == "quarantine":
            columns = quote_text(", ".join(check.columns))
            self._con.execute(f"INSERT INTO dropped SELECT position, 'bad', 'unique', {columns} FROM doubled")
        return int(self._con.execute("SELECT count(*) FROM doubled").fetchall()[0][0])

    def _counts(self, label: str, key: Sequence[str]) -> dict[str, int]:
        count = self._con.execute("SELECT count(*) FROM dropped WHERE kind = 'bad'").fetchall()[0][0]
        return {f"{label}({', '.join(key)})": count} if count else {}

    def _quarantined(self) -> pa.Table:
        name_owners(self._con, self._fields, stored=bool(self._stored))
        fields = ", ".join(f"{quote_name(name)} := {quote_name(name)}" for name in self._columns)
        return to_arrow(
            self._con.sql(
                f"SELECT {SOURCE}, {ROW}, [{{'check': __label, 'column': __field, 'value': __owner}}] AS reasons, "
                f"to_json(struct_pack({fields}))::VARCHAR AS raw FROM staged "
                "JOIN (SELECT position AS __dropped, min(label) AS __label, min(field) AS __field, "
                "arg_min(owner, label) AS __owner FROM dropped LEFT JOIN owners USING (position, label, field) "
                f"WHERE kind = 'bad' GROUP BY position) ON __dropped = {POSITION} ORDER BY {POSITION}"
            )
        )
