"""Finds the rows that fail a check for what other rows hold, or that fail one which must hold for most rows only.

One query gives the position of every failing row, with a flag for each check.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.errors import ContractError
from loopwright.core.storage.duck import quote_name, to_arrow
from loopwright.data.contract.contract import Contract, require_known
from loopwright.data.contract.expression import Expect
from loopwright.data.contract.series import Monotone, Outliers, References
from loopwright.data.quality.failing import RowsFailed
from loopwright.data.quality.ordering import in_order
from loopwright.data.quality.rule import fails, value_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import duckdb

    from loopwright.data.contract.column import Column
    from loopwright.data.contract.words import OnFailure
    from loopwright.data.quality.past import Past

NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
FLOATS = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class _Asked:
    check: str
    column: str
    failed: str  # SQL
    on_failure: OnFailure
    mostly: float | None = None
    seen: str = "count(*)"  # SQL of the rows it looks at
    label: str = ""


def each_row(contract: Contract) -> Contract:
    """Return the part of a contract that each row is judged by alone: without what must hold for most rows only."""
    if all(item.mostly is None for item in contract.columns):
        return contract
    columns = tuple(item if item.mostly is None else bare(item) for item in contract.columns)
    return replace(contract, columns=columns)


class RowSet:
    """Judges the rows of a relation against each other.

    Args:
        con: Where the relation lives.
        contract: The rules.
        types: The relation's columns with their DuckDB types.
        position: The column that orders the rows.
        past: Other datasets.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        types: Mapping[str, str],
        *,
        position: str,
        past: Past,
    ) -> None:
        self._con = con
        self._contract = contract
        self._types = types
        self._position = quote_name(position)
        self._past = past

    def ordered(self) -> list[Monotone]:
        """Return the checks of order over all rows, of values with a place on an axis."""
        return [check for check in self._contract.checks if isinstance(check, Monotone) and self._is_plain(check)]

    def judge(
        self, relation: Callable[[], str], in_memory: Callable[[Sequence[Monotone]], list[RowsFailed]] | None = None
    ) -> list[RowsFailed]:
        """Return the rows that fail, by check; those of checks that hold for enough rows are ``is_tolerated``.

        Args:
            relation: Gives SQL that may follow FROM, where it is needed.
            in_memory: Who judges the checks that :meth:`ordered` gives; without it, they are read from the relation.

        Raises:
            ContractError: If a check names an unknown column, cannot be computed of one, or needs a dataset without
                rows.
        """
        stats: list[str] = []
        asked = [one for check in self._contract.checks for one in self._asked(check, stats)]
        asked += [one for item in self._contract.columns if item.mostly is not None for one in _mostly(item)]
        plain = self.ordered()
        made: list[RowsFailed] = []
        if plain and in_memory is not None:
            made = in_memory(plain)
        elif plain:
            made = in_order(self._con, relation(), self._position, plain)
        if not asked:
            return made
        rows = relation()
        flags = ", ".join(f"coalesce({one.failed}, false) AS f{i}" for i, one in enumerate(asked))
        joined = f"{rows} AS r, (SELECT {', '.join(stats)} FROM {rows}) AS s" if stats else f"{rows} AS r"
        found = to_arrow(
            self._con.sql(
                f"SELECT * FROM (SELECT {self._position} AS position, {flags} FROM {joined}) "
                f"WHERE {' OR '.join(f'f{i}' for i in range(len(asked)))}"
            )
        )
        if not found.num_rows:
            return made
        counts = self._con.execute(f"SELECT {', '.join(one.seen for one in asked)} FROM {rows}").fetchall()[0]
        for index, one in enumerate(asked):
            positions = found["position"].filter(found[f"f{index}"]).combine_chunks().cast(pa.int64())
            if not len(positions):
                continue
            share = 1 - len(positions) / counts[index]
            tolerated = one.mostly is not None and share >= one.mostly - 1e-12
            label = one.label or f"{one.check}({one.column})"
            ordered = positions.take(pc.sort_indices(positions))
            made.append(
                RowsFailed(one.check, one.column, label, one.on_failure, ordered, int(counts[index]), tolerated)
            )
        return made

    def _asked(self, check: object, stats: list[str]) -> list[_Asked]:
        if isinstance(check, Expect):
            if check.mostly is None:
                return []
            failed, seen = fails(check.expression), f"count(TRY(({check.expression})::BOOLEAN))"
            return [_Asked("expect", check.name, failed, check.on_failure, check.mostly, seen, check.label)]
        if not isinstance(check, (Monotone, Outliers, References)):
            return []
        require_known(check.named, self._types, check.label)
        if isinstance(check, References):
            failed = self._unreferenced(check, len(stats))
        elif isinstance(check, Outliers):
            failed = self._outlying(check, stats)
        elif self._is_plain(check):
            return []
        else:
            failed = self._unordered(check)
        whole = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in check.named[:1])
        columns = check.column if isinstance(check, (Monotone, Outliers)) else ", ".join(check.named)
        seen = f"count(*) FILTER ({whole})"
        return [_Asked(check.word, columns, failed, check.on_failure, check.mostly, seen, check.label)]

    def _is_plain(self, check: Monotone) -> bool:
        """Tell whether a check of order is one over all rows, of values with a place on an axis."""
        type_ = self._types.get(check.column, "")
        return not check.per and (type_ in {*NUMERIC, *FLOATS, "DATE"} or type_.startswith("TIMESTAMP"))

    def _unordered(self, check: Monotone) -> str:
        value = f"r.{quote_name(check.column)}"
        groups = f"PARTITION BY {', '.join(f'r.{quote_name(name)}' for name in check.per)} " if check.per else ""
        frame = f"{groups}ORDER BY r.{self._position} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
        furthest, sign = ("min", ">") if check.is_falling else ("max", "<")
        return f"{value} {sign}{'=' if check.strictly else ''} {furthest}({value}) OVER ({frame})"

    def _outlying(self, check: Outliers, stats: list[str]) -> str:
        number = number_of(check.column, self._types[check.column], check.label)
        value = number_of(check.column, self._types[check.column], check.label, table="r.")
        first, second = f"s{len(stats)}", f"s{len(stats) + 1}"
        if check.method == "zscore":
            stats += [f"avg({number}) AS {first}", f"stddev_samp({number}) AS {second}"]
            return f"abs({value} - s.{first}) > {check.deviations!r} * s.{second}"
        stats += [f"quantile_cont({number}, {q}) AS {name}" for q, name in ((0.25, first), (0.75, second))]
        width = f"{check.deviations!r} * (s.{second} - s.{first})"
        return f"({value} < s.{first} - {width} OR {value} > s.{second} + {width})"

    def _unreferenced(self, check: References, number: int) -> str:
        view = f"referenced {check.dataset} {number}"
        if not self._past.attach(self._con, view, check.dataset):
            raise ContractError(
                f"{check.label} cannot be judged: the dataset '{check.dataset}' has no rows yet.",
                hint=f"Run `loopwright data ingest {check.dataset}` first.",
            )
        listed = self._con.execute(f"DESCRIBE SELECT * FROM {quote_name(view)}").fetchall()
        there = {str(row[0]): str(row[1]) for row in listed}
        require_known(check.theirs, [name for name in there if not name.startswith("_")], check.label)
        own, theirs = [], []
        for mine, other in zip(check.own, check.theirs, strict=True):
            same = "" if self._types[mine] == there[other] else "::VARCHAR"
            own.append(f"r.{quote_name(mine)}{same}")
            theirs.append(f"{quote_name(other)}{same}")
        whole = " AND ".join(f"{name} IS NOT NULL" for name in own)
        there_whole = " AND ".join(f"{name} IS NOT NULL" for name in theirs)
        left = own[0] if len(own) == 1 else f"({', '.join(own)})"
        return f"({whole} AND {left} NOT IN (SELECT {', '.join(theirs)} FROM {quote_name(view)} WHERE {there_whole}))"


def number_of(name: str, type_: str, label: str, *, table: str = "") -> str:
    """Return the SQL of a column's value as a finite DOUBLE, null where it is none.

    Raises:
        ContractError: If the column holds no numbers.
    """
    column = f"{table}{quote_name(name)}"
    if type_ in FLOATS:
        return f"CASE WHEN isfinite({column}) THEN {column}::DOUBLE END"
    if type_ == "BOOLEAN":
        return f"{column}::INTEGER::DOUBLE"
    if type_ in NUMERIC or type_.startswith("DECIMAL"):
        return f"{column}::DOUBLE"
    raise ContractError(f"{label} needs numbers, and column '{name}' holds {type_}.", hint="Declare it as a number.")


def bare(item: Column) -> Column:
    """Return a column without what its values must satisfy."""
    return replace(
        item,
        at_least=None, at_most=None, above=None, below=None, among=None, not_among=None, multiple_of=None,
        matches=None, not_matches=None, starts_with=None, ends_with=None, contains=None, length=None, format=None,
        json=False, required=False, mostly=None,
    )  # fmt: skip


def _mostly(item: Column) -> list[_Asked]:
    value = quote_name(item.name)
    made = [
        _Asked(check, item.name, failed, item.on_failure, item.mostly, f"count({value})")
        for check, failed in value_checks(item, value)
    ]
    if item.required:
        made.append(_Asked("required", item.name, f"{value} IS NULL", item.on_failure, item.mostly))
    return made
