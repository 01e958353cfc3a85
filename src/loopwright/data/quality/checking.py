"""Checks a table by a contract without ingesting it, in a number of queries that does not grow with the checks.

The table stays where it is: one query over it reads every value in its type and gives the rows that fail, with a flag
for each check; then, over the rows that an ingest would keep, one looks for values that are there twice, one at rows
against each other, and one at all of them together. What is read as what, and what fails, is written once, in
:mod:`loopwright.data.quality.reading` and :mod:`loopwright.data.quality.rule`, for ingests and for this.

A row's uniqueness is judged among the rows of the table alone. Bytes of images and audio are not opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.storage.duck import to_arrow
from loopwright.data.quality.aligned import aligned
from loopwright.data.quality.kept import Kept
from loopwright.data.quality.ordering import in_order_of
from loopwright.data.quality.repeated import SORTED_TYPES, repeated_rows
from loopwright.data.quality.report import CheckReport, CheckResult, Example
from loopwright.data.quality.row_set import RowSet, each_row
from loopwright.data.quality.spelled import INDEX, Spelled
from loopwright.data.quality.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import duckdb

    from loopwright.data.contract.check import Unique
    from loopwright.data.contract.contract import Contract
    from loopwright.data.contract.series import Monotone
    from loopwright.data.contract.words import OnFailure
    from loopwright.data.quality.aligned import Aligned
    from loopwright.data.quality.failing import RowsFailed
    from loopwright.data.quality.past import Past
    from loopwright.data.quality.spelled import Relation

_EXAMPLES = 3
_CHECKED = '"checked rows"'
MOST_ALIGNED = 20_000_000  # rows; each column that is compared lies in memory with 8 bytes a row, and a copy


@dataclass
class _Found:
    label: str
    column: str
    on_failure: OnFailure
    positions: pa.Int64Array
    rows_seen: int
    is_tolerated: bool = False


def _out(found: Sequence[_Found]) -> list[pa.Int64Array]:
    return [one.positions for one in found if one.on_failure != "warn" and not one.is_tolerated]


def _found(one: RowsFailed) -> _Found:
    return _Found(one.label, one.column, one.on_failure, one.positions, one.of_rows, one.is_tolerated)


class Checking:
    """Checks one table.

    Args:
        con: An engine.
        contract: The rules.
        past: What came before.
        now: The moment, for :func:`fresh`.
        event_time: The column of the event's time.
        required: Columns that must have a value whatever the contract says.
        stored_rows: How many rows the dataset has without this table.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        *,
        past: Past,
        now: datetime,
        event_time: str | None = None,
        required: Sequence[str] = (),
        stored_rows: int = 0,
    ) -> None:
        self._con = con
        self._contract = contract
        self._past = past
        self._now = now
        self._event_time = event_time
        self._required = tuple(required)
        self._stored_rows = stored_rows

    def run(self, name: str, relation: Relation) -> CheckReport:
        """Check a relation.

        Raises:
            ContractError: If a column that must be there is not, or a check cannot be computed of the columns.
        """
        spelled = Spelled(
            self._con, each_row(self._contract), relation, required=self._required, needed=self._contract.columns
        )
        self._con.execute(f"CREATE OR REPLACE TEMP VIEW {_CHECKED} AS {spelled.query}")
        rows, found = self._row_by_row(spelled)
        kept = Kept(self._con, _CHECKED, INDEX, rows)
        kept.drop(_out(found))
        judge = RowSet(self._con, self._contract, spelled.types, position=INDEX, past=self._past)
        unique = [check for check in self._contract.uniques() if spelled.require(check.columns, check.label)]
        columns = self._aligned(unique, judge.ordered(), spelled, rows)
        repeated = [
            _found(one)
            for one in repeated_rows(
                self._con, kept.sql, unique, position=INDEX, rows=rows, columns=columns, kept=kept.mask
            )
        ]
        kept.drop(_out(repeated))
        in_memory = None if columns is None else partial(in_order_of, columns, kept.mask)
        others = [_found(one) for one in judge.judge(kept.sql, in_memory)]
        kept.drop(_out(others))
        found += repeated + others
        accepted = kept.rows
        whole = Whole(
            self._con, self._contract, spelled.types, event_time=self._event_time, now=self._now, past=self._past
        )
        together = whole.judge(kept.sql(), accepted, total_rows=self._stored_rows + accepted, headers=relation.headers)
        examples = self._examples(found, spelled)
        by_label = {one.label: one for one in found}
        results = [
            self._result(label, on_failure, by_label.get(label), rows, examples.get(label, ()))
            for label, on_failure in self._labels(spelled).items()
        ]
        results += [
            CheckResult(one.label, one.on_failure, one.problem is None, None, accepted, one.problem or one.found)
            for one in together
        ]
        positions = {one.label: one.positions for one in found}
        return CheckReport(name, rows, accepted, tuple(results), 0.0, positions)

    def _row_by_row(self, spelled: Spelled) -> tuple[int, list[_Found]]:
        """Run the query over all rows: their number, and those that fail."""
        rules = spelled.rules
        flags = ", ".join(f"coalesce({rule.failed}, false) AS f{index}" for index, rule in enumerate(rules))
        failing = " OR ".join(f"({rule.failed})" for rule in rules) or "false"
        table = to_arrow(self._con.sql(f"SELECT {INDEX}{', ' if flags else ''}{flags} FROM {_CHECKED} WHERE {failing}"))
        rows = spelled.relation.rows
        if rows is None:
            rows = int(self._con.execute(f"SELECT count(*) FROM {spelled.relation.sql}").fetchall()[0][0])
        if not table.num_rows:
            return rows, []
        found = []
        table = table.sort_by(INDEX)
        for index, rule in enumerate(rules):
            flag = table[f"f{index}"]
            if pc.any(flag).as_py():
                positions = table[INDEX].filter(flag).combine_chunks().cast(pa.int64())
                found.append(_Found(rule.label, rule.column, rule.on_failure, positions, rows))
        return rows, found

    def _aligned(
        self, unique: Sequence[Unique], ordered: Sequence[Monotone], spelled: Spelled, rows: int
    ) -> Aligned | None:
        """Read once what the checks of rows against rows compare in memory; None where there are too many rows."""
        if rows > MOST_ALIGNED:
            return None
        short = [check.columns[0] for check in unique if len(check.columns) == 1]
        names = [name for name in short if spelled.types[name] in SORTED_TYPES]
        names += [check.column for check in ordered]
        return aligned(self._con, _CHECKED, INDEX, list(dict.fromkeys(names)), rows) if names else None

    def _labels(self, spelled: Spelled) -> dict[str, OnFailure]:
        """Return every check that names rows, in the order of the contract, with what becomes of a failure."""
        labels: dict[str, OnFailure] = {f"type({item.name})": item.on_failure for item in self._contract.columns}
        labels |= {rule.label: rule.on_failure for rule in spelled.rules}
        for item in self._contract.columns:
            labels |= dict.fromkeys(spelled.mostly_labels(item), item.on_failure)
        for check in self._contract.checks:
            if check.names_rows:
                labels[check.label] = check.severity
        return labels

    def _result(
        self, label: str, on_failure: OnFailure, found: _Found | None, rows: int, examples: tuple[Example, ...]
    ) -> CheckResult:
        if found is None:
            return CheckResult(label, on_failure, True, 0, rows, "as declared")  # noqa: FBT003 - it has passed
        count = len(found.positions)
        share = f"{count:,} of {found.rows_seen:,} rows"
        text = f"{share}, within what mostly= allows" if found.is_tolerated else share
        return CheckResult(label, on_failure, found.is_tolerated, count, found.rows_seen, text, examples)

    def _examples(self, found: Sequence[_Found], spelled: Spelled) -> dict[str, tuple[Example, ...]]:
        """Read the first failing cells of every check, in one query."""
        first = {one.label: one.positions[:_EXAMPLES].to_pylist() for one in found}
        wanted = sorted({row for rows in first.values() for row in rows})
        if not wanted:
            return {}
        hidden = {item.name for item in self._contract.columns if item.sensitive}
        columns = [name for name in spelled.names if name not in hidden and any(one.column == name for one in found)]
        shown = "".join(f", left({spelled.shown(name)}::VARCHAR, 200) AS v{i}" for i, name in enumerate(columns))
        listed = ", ".join(map(str, wanted))
        rows = self._con.sql(f"SELECT {INDEX}{shown} FROM {_CHECKED} WHERE {INDEX} IN ({listed}) LIMIT {len(wanted)}")
        cells = {row[INDEX]: row for row in to_arrow(rows).to_pylist()}
        return {
            one.label: tuple(
                Example(row, cells[row][f"v{columns.index(one.column)}"] if one.column in columns else None)
                for row in first[one.label]
            )
            for one in found
        }
