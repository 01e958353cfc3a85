"""Settles which staged rows are accepted, by the checks that look at other rows, and judges the accepted ones together.

This comes after rows were judged one by one and told apart by key, and before anything is committed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.core.storage.duck import quote_name, quote_text, to_arrow
from loopwright.data.contract.check import Expect, Unique
from loopwright.data.contract.column import SYSTEM_COLUMNS
from loopwright.data.ingest.past import LakePast
from loopwright.data.ingest.stage import POSITION, SOURCE
from loopwright.data.quality.judge import empty_bad
from loopwright.data.quality.row_set import RowSet
from loopwright.data.quality.whole import Whole
from loopwright.data.sources.unit import ROW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.contract.contract import Contract
    from loopwright.data.dataset import Dataset
    from loopwright.data.ingest.stage import Positions, Stage
    from loopwright.data.quality.failing import RowsFailed
    from loopwright.data.quality.whole import WholeResult


@dataclass(frozen=True)
class Settled:
    """What the checks that look at other rows found."""

    quarantined: pa.Table  # _source, _source_row, reasons, raw
    failures: dict[str, int] = field(default_factory=dict)
    warned: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)


class Settling:
    """Settles the good rows of a stage.

    Args:
        con: An engine.
        stores: The lake.
        dataset: Whose rows they are.
        stage: Where they lie.
        now: The moment of the ingest.
        refused: Units whose rows do not count.
        dropped: Rows that do not count.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        stores: Stores,
        dataset: Dataset,
        stage: Stage,
        *,
        now: datetime,
        refused: Sequence[str],
        dropped: Positions,
    ) -> None:
        self._con = con
        self._stage = stage
        self._dataset = dataset
        self._now = now
        self._past = LakePast(stores, dataset.name)
        self._refused = list(refused)
        self.dropped = dropped
        con.register("settling rows", stage.table("good"))
        described = con.execute('DESCRIBE SELECT * FROM "settling rows"').fetchall()
        self._types: Mapping[str, str] = {
            str(row[0]): str(row[1]) for row in described if row[0] not in (*SYSTEM_COLUMNS, POSITION)
        }

    def rows(self) -> Settled:
        """Find the rows that fail; those to quarantine are dropped from the stage."""
        judge = RowSet(self._con, self._dataset.contract, self._types, position=POSITION, past=self._past)
        failed = [one for one in judge.judge(self._relation) if not one.is_tolerated]
        counts: dict[str, dict[str, int]] = {"quarantine": {}, "warn": {}, "stop": {}}
        for one in failed:
            counts[one.on_failure][one.label] = len(one.positions)
        bad = [one for one in failed if one.on_failure == "quarantine"]
        quarantined = self._quarantined(bad) if bad else empty_bad()
        if bad:
            self.dropped = np.unique(np.concatenate([self.dropped, *(one.positions.to_numpy() for one in bad)]))
            self._stage.drop(self.dropped)
        return Settled(quarantined, counts["quarantine"], counts["warn"], counts["stop"])

    def whole(self, rows: int, superseding: int, headers: Sequence[Sequence[str]]) -> list[WholeResult]:
        """Judge the accepted rows together."""
        judge = Whole(
            self._con,
            self._dataset.contract,
            self._types,
            event_time=self._dataset.event_time,
            now=self._now,
            past=self._past,
        )
        total = self._past.rows(self._dataset.name) + rows - superseding
        return judge.judge(self._relation(), rows, total_rows=total, headers=headers)

    def _relation(self) -> str:
        conditions = []
        if self._refused:
            conditions.append(f"{SOURCE} NOT IN ({', '.join(map(quote_text, self._refused))})")
        if len(self.dropped):
            self._con.register("settled out", pa.table({"position": pa.array(self.dropped, pa.int64())}))
            conditions.append(f'{POSITION} NOT IN (SELECT position FROM "settled out")')
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f'(SELECT * FROM "settling rows"{where})'

    def _quarantined(self, failed: Sequence[RowsFailed]) -> pa.Table:
        reasons = pa.concat_tables(
            pa.table(
                {
                    "position": one.positions,
                    "check": pa.repeat(one.check, len(one.positions)),
                    "column": pa.repeat(one.column, len(one.positions)),
                }
            )
            for one in failed
        )
        self._con.register("settled reasons", reasons)
        fields = ", ".join(f"{quote_name(name)} := {quote_name(name)}" for name in self._types)
        shown = " ".join(
            f"WHEN {quote_text(name)} THEN left({quote_name(name)}::VARCHAR, 200)"
            for name in self._types
            if any(one.column == name for one in failed)
        )
        value = f'CASE "column" {shown} END' if shown else "NULL::VARCHAR"
        packed = f"{{'check': \"check\", 'column': \"column\", 'value': {value}}}"
        return to_arrow(
            self._con.sql(
                f"SELECT {SOURCE}, {ROW}, list({packed}) AS reasons, any_value(raw) AS raw FROM (SELECT r.*, e.*, "
                f'to_json(struct_pack({fields}))::VARCHAR AS raw FROM "settling rows" AS r '
                f'JOIN "settled reasons" AS e ON e.position = r.{POSITION}) '
                f"GROUP BY {POSITION}, {SOURCE}, {ROW} ORDER BY {POSITION}"
            )
        )


def looks_at_others(contract: Contract) -> bool:
    """Tell whether a contract has checks that look at more than one row."""
    return any(item.mostly is not None for item in contract.columns) or any(
        not isinstance(check, Unique) and not (isinstance(check, Expect) and check.mostly is None)
        for check in contract.checks
    )
