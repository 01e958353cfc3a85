"""Judges the rows of an ingest together: their number, statistics, distinct values, distributions, age and columns.

All that can be computed in one pass over the rows is one query, however many checks there are. It looks at the rows
that are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from loopwright.core.storage.duck import quote_name, to_arrow
from loopwright.data.contract.bounds import as_moment
from loopwright.data.contract.check import Fresh, RowCount
from loopwright.data.contract.contract import require_known
from loopwright.data.contract.expected import Distribution, Volume
from loopwright.data.contract.header import ColumnCount, ColumnNames
from loopwright.data.contract.statistic import NUMBERS_ONLY, DistinctValues, MostCommon, Statistic
from loopwright.data.quality.past import unusual_volume
from loopwright.data.quality.row_set import number_of
from loopwright.data.quality.rule import literal_sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from loopwright.data.contract.contract import Contract
    from loopwright.data.contract.declared import DeclaredCheck
    from loopwright.data.contract.words import OnFailure
    from loopwright.data.quality.past import Past

_SHOWN = 5


@dataclass(frozen=True)
class WholeResult:
    """What a check of an ingest as a whole found; ``problem`` is None where it holds."""

    label: str
    on_failure: OnFailure
    found: str
    problem: str | None


@dataclass(frozen=True)
class _Asked:
    aggregates: tuple[str, ...] = ()  # SQL
    of_different: str | None = None  # over the different values ``v`` of this column, with the number ``n`` of each


class Whole:
    """Judges the accepted rows of an ingest.

    Args:
        con: Where the rows are.
        contract: The rules.
        types: The columns with their DuckDB types.
        event_time: The column by which :func:`fresh` judges.
        now: The moment of the ingest.
        past: What came before.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        types: Mapping[str, str],
        *,
        event_time: str | None,
        now: datetime,
        past: Past,
    ) -> None:
        self._con = con
        self._contract = contract
        self._types = types
        self._event_time = event_time
        self._now = now
        self._past = past

    def judge(
        self, relation: str, rows: int, *, total_rows: int, headers: Sequence[Sequence[str]]
    ) -> list[WholeResult]:
        """Judge the rows of a relation.

        Args:
            relation: SQL that may follow FROM.
            rows: How many rows it has.
            total_rows: How many rows the dataset has after it.
            headers: The columns of each file, table or batch that was read.

        Raises:
            ContractError: If a check names an unknown column, or cannot be computed of one.
        """
        checks = self._contract.checks
        asked = {check: self._asked(check, relation) for check in checks}
        values = self._computed(relation, asked)
        likened = [one for one in checks if isinstance(one, Distribution)]
        far = self._past.distances(self._con, relation, likened, self._types) if likened else {}
        results = []
        for index, check in enumerate(checks):
            if isinstance(check, Distribution):
                found = f"{check.measure} is {far[check]:.4g}"
                problem = f"{found}, above {check.at_most:g}" if far[check] > check.at_most else None
            elif asked[check].aggregates:
                found, problem = self._verdict(
                    check, [values[f"v{index}_{i}"] for i in range(len(asked[check].aggregates))]
                )
            else:
                judged = self._by_count(check, rows, total_rows, headers)
                if judged is None:
                    continue
                found, problem = judged
            results.append(WholeResult(check.label, check.severity, found, problem))
        return results

    def _asked(self, check: DeclaredCheck, relation: str) -> _Asked:
        """Return the SQL aggregates that a check needs."""
        if isinstance(check, Fresh) and self._event_time is not None:
            return _Asked((f"max({quote_name(self._event_time)})",))
        if not isinstance(check, (Statistic, DistinctValues, MostCommon)):
            return _Asked()
        require_known(check.named, self._types, check.label)
        column = quote_name(check.column)
        if isinstance(check, Statistic):
            if check.name == "distinct_count":
                return _Asked(("count(*)",), of_different=check.column)
            if check.name == "distinct_share":
                return _Asked(("count(*) / nullif(sum(n), 0)",), of_different=check.column)
            return _Asked((self._statistic(check),))
        if isinstance(check, MostCommon):
            counted = f"SELECT {column} AS v, count(*) AS n, max(count(*)) OVER () AS m FROM {relation}"
            counted += f" WHERE {column} IS NOT NULL GROUP BY 1"
            return _Asked((f"(SELECT list(v ORDER BY v) FROM ({counted}) WHERE n = m)",))
        listed = ", ".join(literal_sql(one, _kind(self._types[check.column])) for one in check.values)
        inside = f"v IN ({listed})"
        parts = (f"list(v) FILTER ({inside})", f"count(*) FILTER (NOT ({inside}))", f"min(v) FILTER (NOT ({inside}))")
        return _Asked(parts, of_different=check.column)

    def _statistic(self, check: Statistic) -> str:
        column, type_ = quote_name(check.column), self._types[check.column]
        if check.name in {"min", "max"}:
            value = number_of(check.column, type_, check.label) if type_ in {"FLOAT", "DOUBLE"} else column
            return f"{check.name}({value})"
        if check.name == "null_share":
            return f"1 - count({column}) / nullif(count(*), 0)"
        assert check.name in NUMBERS_ONLY  # noqa: S101 - the declaration knows no other
        number = number_of(check.column, type_, check.label)
        if check.name in {"median", "quantile"}:
            return f"quantile_cont({number}, {0.5 if check.q is None else check.q!r})"
        function = {"mean": "avg", "stdev": "stddev_samp", "variance": "var_samp", "sum": "sum"}[check.name]
        return f"{function}({number})"

    def _computed(self, relation: str, asked: Mapping[DeclaredCheck, _Asked]) -> dict[str, Any]:
        """Compute all aggregates in one query: those of the rows, and those of each column's different values.

        A query that groups the values of one column is faster than an aggregate of different ones beside others.
        """
        listed: dict[str | None, list[str]] = {}
        for index, one in enumerate(asked.values()):
            names = [f"{sql} AS v{index}_{i}" for i, sql in enumerate(one.aggregates)]
            listed.setdefault(one.of_different, []).extend(names)
        parts = []
        for number, (column, names) in enumerate(one for one in listed.items() if one[1]):
            rows = relation
            if column is not None:
                v = quote_name(column)
                rows = f"(SELECT {v} AS v, count(*) AS n FROM {relation} WHERE {v} IS NOT NULL GROUP BY 1)"
            parts.append(f"(SELECT {', '.join(names)} FROM {rows}) AS part_{number}")
        if not parts:
            return {}
        found: list[dict[str, Any]] = to_arrow(self._con.sql(f"SELECT * FROM {', '.join(parts)}")).to_pylist()
        return found[0]

    def _verdict(self, check: DeclaredCheck, values: list[Any]) -> tuple[str, str | None]:
        if isinstance(check, Fresh):
            return self._age(check, values[0])
        if isinstance(check, Statistic):
            return _within(check, values[0])
        if isinstance(check, MostCommon):
            common = list(values[0] or [])
            found = f"the most common value is {_shown(common)}" if common else "no value"
            return found, None if any(_equal(one, check.among) for one in common) else found
        assert isinstance(check, DistinctValues)  # noqa: S101 - nothing else asks for aggregates
        inside, others, example = list(values[0] or []), int(values[1] or 0), values[2]
        absent = [one for one in check.values if not any(_same(one, value) for value in inside)]
        problems = []
        if check.contain is None and others:
            problems.append(f"{others} other value{'s' if others > 1 else ''}, such as {example!r}")
        if check.among is None and absent:
            problems.append(f"no {_shown(absent)}")
        return "; ".join(problems) or "as declared", "; ".join(problems) or None

    def _age(self, check: Fresh, newest: Any) -> tuple[str, str | None]:  # noqa: ANN401 - a time of any type
        if newest is None:
            return "no event time", "no event time"
        age = (
            self._now.replace(tzinfo=None) - (self._now.utcoffset() or timedelta()) - as_moment("", newest)
        ).total_seconds()
        found = f"the newest event is {age:.0f} s old"
        return found, found if age > check.within.total_seconds() else None

    def _by_count(
        self, check: DeclaredCheck, rows: int, total_rows: int, headers: Sequence[Sequence[str]]
    ) -> tuple[str, str | None] | None:
        if isinstance(check, RowCount) and check.same_as is not None:
            other = self._past.rows(check.same_as)
            found = f"{total_rows} rows, and {check.same_as} has {other}"
            return found, None if total_rows == other else found
        if isinstance(check, RowCount):
            is_outside = _outside(rows, check.at_least, check.at_most)
            return f"{rows} good rows", f"{rows} good rows" if is_outside else None
        if isinstance(check, Volume):
            problem = unusual_volume(check, rows, self._past.accepted(check.last))
            return problem or f"{rows} rows", problem
        if isinstance(check, ColumnCount):
            wrong = sorted({len(one) for one in headers if _outside(len(one), check.at_least, check.at_most)})
            found = f"{', '.join(map(str, wrong or sorted({len(one) for one in headers})))} columns"
            return found, found if wrong else None
        if isinstance(check, ColumnNames):
            problem = next((text for one in headers if (text := _misnamed(check, list(one)))), None)
            return problem or "as declared", problem
        return None


def _within(check: Statistic, value: Any) -> tuple[str, str | None]:  # noqa: ANN401 - a number or a time
    if value is None:
        return f"{check.name} of no values", f"{check.name} of no values"
    is_time = isinstance(value, (date, datetime))
    measured = as_moment("", value) if is_time else float(value)

    def limit(bound: Any) -> Any:  # noqa: ANN401 - a number or a time
        return as_moment(check.label, bound) if is_time else float(bound)

    broken = []
    if check.at_least is not None and measured < limit(check.at_least):
        broken.append(f"below {check.at_least}")
    if check.at_most is not None and measured > limit(check.at_most):
        broken.append(f"above {check.at_most}")
    if check.above is not None and measured <= limit(check.above):
        broken.append(f"not above {check.above}")
    if check.below is not None and measured >= limit(check.below):
        broken.append(f"not below {check.below}")
    shown = f"{check.name} is {value if is_time else format(float(value), '.6g')}"
    return shown, f"{shown}, {' and '.join(broken)}" if broken else None


def _misnamed(check: ColumnNames, there: list[str]) -> str | None:
    absent = [name for name in check.names if name not in there]
    extra = [name for name in there if name not in check.names]
    if absent:
        return f"no column {', '.join(absent)}"
    if extra and not check.others:
        return f"another column {', '.join(extra)}"
    if check.ordered and [name for name in there if name in check.names] != list(check.names):
        return f"another order: {', '.join(there)}"
    return None


def _outside(value: int, low: int | None, high: int | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


def _kind(type_: str) -> str:
    if type_ == "DATE":
        return "date"
    return "timestamp" if type_.startswith("TIMESTAMP") else "string"


def _equal(value: object, allowed: Sequence[object]) -> bool:
    return any(_same(one, value) for one in allowed)


def _same(declared: object, value: object) -> bool:
    if isinstance(value, (date, datetime)):
        return as_moment("", declared) == as_moment("", value)  # type: ignore[arg-type]
    return declared == value


def _shown(values: Sequence[object]) -> str:
    listed = ", ".join(str(one) for one in values[:_SHOWN])
    return listed + (", …" if len(values) > _SHOWN else "")
