"""Rules of a contract beyond one column: uniqueness, freshness, row count, expressions over columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.durations import format_duration, parse_duration
from loopwright.core.errors import ContractError
from loopwright.data.column import OnFailure, check_on_failure

if TYPE_CHECKING:
    from datetime import timedelta

_WHOLE_INGEST = ("warn", "stop")


@dataclass(frozen=True)
class Unique:
    """No two rows share these values, in one ingest or across all."""

    columns: tuple[str, ...]
    on_failure: OnFailure = "quarantine"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"unique({', '.join(self.columns)})"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {"check": "unique", "columns": list(self.columns), "on_failure": self.on_failure}


@dataclass(frozen=True)
class Fresh:
    """The newest event time of an ingest is at most this old."""

    within: timedelta
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"fresh({format_duration(self.within)})"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {"check": "fresh", "seconds": self.within.total_seconds(), "on_failure": self.on_failure}


@dataclass(frozen=True)
class RowCount:
    """An ingest that brings rows brings this many good ones."""

    at_least: int | None = None
    at_most: int | None = None
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return "row_count"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {
            "check": "row_count",
            "at_least": self.at_least,
            "at_most": self.at_most,
            "on_failure": self.on_failure,
        }


@dataclass(frozen=True)
class Expect:
    """An SQL expression over the columns of a row that must not be false."""

    expression: str
    name: str
    on_failure: OnFailure = "quarantine"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"expect({self.name})"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {"check": "expect", "expression": self.expression, "name": self.name, "on_failure": self.on_failure}


Check = Unique | Fresh | RowCount | Expect


def unique(*columns: str, on_failure: OnFailure = "quarantine") -> Unique:
    """Declare that no two rows share the values of ``columns``; rows with a missing value among them are left alone.

    >>> unique("order_id").label
    'unique(order_id)'
    """
    if not columns or not all(isinstance(name, str) and name for name in columns):
        raise ContractError(f"unique() takes names of columns, got {columns!r}.")
    if len(set(columns)) != len(columns):
        raise ContractError(f"unique() names a column twice: {', '.join(columns)}.")
    check_on_failure(on_failure, "unique()")
    return Unique(columns, on_failure)


def fresh(within: str | float | timedelta, *, on_failure: OnFailure = "warn") -> Fresh:
    """Declare how old the newest event of an ingest may be, as in ``fresh("2h")``.

    It judges an ingest that brings rows, by the dataset's event time and the moment of the ingest.
    """
    check_on_failure(on_failure, "fresh() judges a whole ingest and not a row", _WHOLE_INGEST)
    return Fresh(parse_duration(within), on_failure)


def row_count(*, at_least: int | None = None, at_most: int | None = None, on_failure: OnFailure = "warn") -> RowCount:
    """Declare how many good rows one ingest brings, when it brings any."""
    check_on_failure(on_failure, "row_count() judges a whole ingest and not a row", _WHOLE_INGEST)
    if at_least is None and at_most is None:
        raise ContractError("row_count() needs at_least= or at_most=.")
    if (at_least or 0) < 0 or (at_most is not None and at_most < (at_least or 0)):
        raise ContractError(f"row_count(at_least={at_least}, at_most={at_most}) can never hold.")
    return RowCount(at_least, at_most, on_failure)


def expect(expression: str, *, name: str | None = None, on_failure: OnFailure = "quarantine") -> Expect:
    """Declare an SQL expression over the columns of one row, such as ``expect("picked_at <= delivered_at")``.

    A row fails where it is false. Where it is unknown (a value is missing, or a cast in it fails) the row
    passes, as with CHECK in SQL. The names in it are judged at the first ingest.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise ContractError("expect() needs an SQL expression such as 'a <= b'.")
    if ";" in expression or "--" in expression:
        raise ContractError(f"expect({expression!r}) holds a statement end or a comment.", hint="Write one expression.")
    check_on_failure(on_failure, "expect()")
    return Expect(expression.strip(), name or expression.strip(), on_failure)
