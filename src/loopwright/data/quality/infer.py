"""Writes a contract from data, to be read and edited by a person.

What it claims is what the data bear out, with room: every row that was read passes, and of rows that were not, those
that are like them. So

- a value is *required* where none is missing;
- numbers lie *between* the smallest and the largest, wider by half their distance on both sides, and not below zero
  where the data come down to zero and never go below;
- texts of few values are *among* these, if hardly any was seen only once: the share of values seen once estimates how
  often a value that was never seen would come (I. J. Good, The population frequencies of species and the estimation of
  population parameters, Biometrika 40, 1953);
- texts of one shape *match* it: e-mail addresses, UUIDs, or the same sequence of letters, digits and signs;
- columns whose values never repeat are *unique*, and the first of them, or else a category with a time, is the key.

What looks like personal data is said in a comment and never decided.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name
from loopwright.data.contract.check import Check, unique
from loopwright.data.contract.column import Column, column
from loopwright.data.contract.contract import Contract
from loopwright.data.contract.words import SYSTEM_COLUMNS
from loopwright.data.quality.infer_text import looks_personal, shape_of
from loopwright.data.quality.profile_run import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from loopwright.data.quality.profile import ColumnProfile, Numbers

SAMPLE_SEED = 0
MOST_VALUES = 50
MOST_NUMBERS = 12
ROWS_PER_VALUE = 20
SEEN_ONCE = 0.001
HEAD_ROOM = 0.5
KEY_ROWS = 30  # below which values that never repeat say little
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Inferred:
    """A contract that the data suggest.

    Attributes:
        notes: What a person should look at, by column.
        key: Columns that identify a row, in these data.
        event_times: Columns that could be the event time, the likeliest first.
        rows: How many rows were looked at, of ``rows_there``.
    """

    contract: Contract
    rows: int
    rows_there: int
    notes: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    event_times: tuple[str, ...] = ()

    def keeping(self, declared: Contract) -> Inferred:
        """Return it with sensitive columns as they are declared, so that pasting it protects them still."""
        kept = {item.name: item for item in declared.columns if item.sensitive is not None}
        columns = [kept.pop(item.name, item) for item in self.contract.columns]
        protected = {item.name for item in declared.columns if item.sensitive is not None}
        notes = {name: note for name, note in self.notes.items() if name not in protected}
        return replace(self, contract=Contract((*columns, *kept.values()), self.contract.checks), notes=notes)

    def to_source(self, name: str, source: str) -> str:
        """Return the declaration of a dataset as Python.

        Args:
            name: What the dataset is to be called.
            source: Its source, as Python.
        """
        seen = f"{self.rows:,} rows" if self.rows == self.rows_there else f"{self.rows:,} of {self.rows_there:,} rows"
        called = re.sub("[^A-Za-z0-9_-]+", "_", name).lstrip("_-0123456789") or "rows"
        lines = [
            f"# Inferred from {seen}. What holds in them by chance is yours to strike out.",
            f"{called.replace('-', '_').lower()} = loop.dataset(",
            f"    {called!r},",
            f"    source={source},",
        ]
        if self.event_times:
            others = ", ".join(self.event_times[1:])
            lines.append(f"    event_time={self.event_times[0]!r}," + (f"  # or {others}" if others else ""))
        if self.key:
            lines.append(f"    key={self.key[0]!r}," if len(self.key) == 1 else f"    key={list(self.key)!r},")
        return "\n".join([*lines, "    contract=" + self.contract_source().replace("\n", "\n    ") + ",", ")", ""])

    def contract_source(self) -> str:
        """Return the contract as Python, with the notes as comments."""
        written = self.contract.to_source().split("\n")
        for index, item in enumerate(self.contract.columns, start=1):
            if item.name in self.notes:
                written[index] += f"  # {self.notes[item.name]}"
        left = [name for name in self.notes if self.contract.column(name) is None]
        extra = [f"    # {name}: {self.notes[name]}" for name in left]
        return "\n".join([*written[:-1], *extra, written[-1]])


def infer(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    *,
    rows: int | None = None,
    payloads: Sequence[str] = (),
    leave_out: Sequence[str] = SYSTEM_COLUMNS,
) -> Inferred:
    """Infer a contract from the rows of a relation.

    Args:
        con: Where the relation lives.
        relation: The name of a view or table, quoted as SQL needs it.
        rows: Look at a sample of so many rows, drawn evenly, with uniqueness still checked on all.
        payloads: Columns that hold references; they are left out.
        leave_out: Columns that are not the data's own.

    Raises:
        UsageError: If there are no columns.
    """
    there = int(con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])
    seen = relation
    if rows is not None and rows < there:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE __inferred AS SELECT * FROM {relation} "
            f"USING SAMPLE reservoir({rows} ROWS) REPEATABLE ({SAMPLE_SEED})"
        )
        seen = "__inferred"
    profile = measure(con, seen, "the data", payloads=payloads, leave_out=leave_out, with_pairs=False)
    columns: list[Column] = []
    checks: list[Check] = []
    notes: dict[str, str] = {}
    single = [one.name for one in profile.columns if _may_be_key(one) and not _repeats(con, relation, [one.name])]
    for one in profile.columns:
        if one.name.startswith("__"):
            notes[one.name] = "the name is kept for the system; rename it"
            continue
        made, note = _declared(con, seen, one, is_key=one.name in single)
        if made is not None:
            columns.append(made)
        personal = looks_personal(con, seen, one) if made is not None else None
        told = "; ".join(part for part in (note, personal) if part)
        if told:
            notes[one.name] = told
    declared = {item.name for item in columns}
    single = sorted((name for name in single if name in declared), key=lambda name: "id" not in name.lower())
    checks += [unique(name) for name in single]
    times = _event_times(profile.columns)
    key = tuple(single[:1])
    if not key and profile.rows >= KEY_ROWS:
        key = _compound(con, relation, profile.columns, times)
        if key:
            checks.append(unique(*key))
    return Inferred(Contract(tuple(columns), tuple(checks)), profile.rows, there, notes, key, tuple(times))


def _declared(
    con: duckdb.DuckDBPyConnection, relation: str, one: ColumnProfile, *, is_key: bool
) -> tuple[Column | None, str | None]:
    required = one.nulls == 0 and one.rows > 0
    if not one.filled:
        return column(one.name, "string", required=False), "no value in these data; the type is a guess"
    if one.kind == "bool":
        return column(one.name, "bool", required=required), None
    if one.kind == "time":
        return _time(one, required=required)
    if one.kind == "number":
        return _number(con, relation, one, required=required, is_key=is_key)
    if one.kind == "text":
        return _text(con, relation, one, required=required, is_key=is_key)
    return None, f"{one.type}: kept as it is, without a rule"


def _time(one: ColumnProfile, *, required: bool) -> tuple[Column | None, str | None]:
    if one.histogram is None or sum(one.histogram.counts) < one.filled:
        return None, "holds infinite times: left without a rule"
    seen = f"{one.minimum} … {one.maximum}"
    return column(one.name, "date" if one.type == "DATE" else "timestamp", required=required), seen


def _number(
    con: duckdb.DuckDBPyConnection, relation: str, one: ColumnProfile, *, required: bool, is_key: bool
) -> tuple[Column | None, str | None]:
    numbers, name = one.numbers, one.name
    if numbers is None:  # no finite value
        return column(name, "float", required=required, on_failure="warn"), "infinite; such values only warn"
    if one.type not in _WHOLE:
        if one.type in {"HUGEINT", "UBIGINT"}:
            return None, f"{one.type}: larger than the type int holds; left without a rule"
        if numbers.infinite:
            return column(name, "float", required=required, on_failure="warn"), (
                f"{numbers.infinite:,} infinite values; they only warn"
            )
        low, high = _room(numbers)
        return column(name, "float", between=(low, high), required=required), _sentinel(numbers)
    if is_key:
        return column(name, "int", required=required), None
    if one.distinct <= MOST_NUMBERS and one.filled >= ROWS_PER_VALUE * max(one.distinct, 1):
        found = con.execute(
            f"SELECT {quote_name(name)}::BIGINT, count(*) FROM {relation} WHERE {quote_name(name)} IS NOT NULL "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
        if sum(1 for _, n in found if n == 1) <= SEEN_ONCE * one.filled:
            return column(name, "int", among=[value for value, _ in found], required=required), None
    low, high = _room(numbers)
    bounds = (max(-_LARGEST - 1, math.floor(low)), min(_LARGEST, math.ceil(high)))
    return column(name, "int", between=bounds, required=required), _sentinel(numbers)


def _room(numbers: Numbers) -> tuple[float, float]:
    """Return the smallest and largest value that should pass."""
    low, high = numbers.minimum, numbers.maximum
    width = high - low or abs(high) or 1.0
    first = dict(numbers.quantiles)[0.01]
    reaches_zero = low >= 0 and (numbers.zeros > 0 or first < 0.05 * width)
    lower = 0.0 if reaches_zero else _rounded(low - HEAD_ROOM * width, down=True)
    if low >= 0:
        lower = max(lower, 0.0)  # what was never negative is not expected to be
    return min(lower, low), max(_rounded(high + HEAD_ROOM * width, down=False), high)


def _rounded(value: float, *, down: bool) -> float:
    """Round outwards to two digits, so that nobody takes a bound for a measurement."""
    if value == 0 or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    steps = math.floor(value / step) if down else math.ceil(value / step)
    return float(f"{steps * step:.6g}") if math.isfinite(steps * step) else value


def _sentinel(numbers: Numbers) -> str | None:
    """Say where a lone value far outside the others stretches the range, as -999 for a missing one does."""
    shares = dict(numbers.quantiles)
    inner = shares[0.99] - shares[0.01]
    if inner <= 0:
        return None
    below, above = shares[0.01] - numbers.minimum, numbers.maximum - shares[0.99]
    for value, distance in ((numbers.minimum, below), (numbers.maximum, above)):
        if distance > 10 * inner:
            return f"{value:g} lies far outside the rest: is it a value?"
    return None


def _text(
    con: duckdb.DuckDBPyConnection, relation: str, one: ColumnProfile, *, required: bool, is_key: bool
) -> tuple[Column, str | None]:
    name, texts = one.name, one.texts
    assert texts is not None  # noqa: S101 - there are values
    rare = sum(1 for _, n in one.top if n == 1)
    is_few = one.is_distinct_exact and one.distinct <= MOST_VALUES and one.filled >= ROWS_PER_VALUE * one.distinct
    if is_few and not is_key and rare <= SEEN_ONCE * one.filled and texts.longest <= 60:
        values = sorted(value for value, _ in one.top)
        return column(name, "category", among=values, required=required), None
    inside = one.filled - texts.blank
    note = None
    if texts.blank and inside and texts.numeric == inside:
        note = f"text, yet all {inside:,} values that are not blank are numbers: is it 'float', with required=False?"
    elif texts.mean_length > 60:
        note = "long: 'text' stores it apart, for models that read it"
    return column(name, "string", matches=shape_of(con, relation, one), required=required), note


def _may_be_key(one: ColumnProfile) -> bool:
    if one.nulls or one.rows < KEY_ROWS or one.distinct < 0.9 * one.rows:
        return False
    short = one.texts is not None and one.texts.longest <= 64
    return short or (one.kind == "number" and one.type in _WHOLE)


def _repeats(con: duckdb.DuckDBPyConnection, relation: str, names: Sequence[str]) -> bool:
    listed = ", ".join(map(quote_name, names))
    query = f"SELECT 1 FROM {relation} GROUP BY {listed} HAVING count(*) > 1 LIMIT 1"
    return con.execute(query).fetchone() is not None


def _event_times(columns: Sequence[ColumnProfile]) -> list[str]:
    there = [one for one in columns if one.kind == "time" and not one.nulls and not one.is_constant and one.rows > 1]
    there = [one for one in there if one.histogram is not None and sum(one.histogram.counts) == one.filled]
    return [one.name for one in sorted(there, key=lambda one: (one.type == "DATE", -one.distinct))]


def _compound(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[ColumnProfile], times: Sequence[str]
) -> tuple[str, ...]:
    """Find a category that makes a time unique, as a station does an hour."""
    groups = [
        one.name
        for one in columns
        if not one.nulls and 1 < one.distinct <= 0.1 * one.rows and (one.kind == "text" or one.type in _WHOLE)
    ]
    for moment in times[:2]:
        for name in groups[:6]:
            if not _repeats(con, relation, [name, moment]):
                return (name, moment)
    return ()
