"""Rules of a contract beyond one column, by what they look at.

==================  ===================================================================================================
several columns     :func:`expect`, :func:`compare`, :func:`all_equal`, :func:`all_different`, :func:`sums_to` and
of one row          :func:`among_together` (:mod:`loopwright.data.contract.expression`)
other rows          :func:`unique`; :func:`increasing`, :func:`decreasing`, :func:`outliers` and :func:`references`
                    (:mod:`loopwright.data.contract.series`)
the rows of an      :func:`row_count`, :func:`fresh`; :func:`statistic`, :func:`distinct_values`, :func:`most_common`
ingest together     (:mod:`loopwright.data.contract.statistic`); :func:`distribution`, :func:`volume`
                    (:mod:`loopwright.data.contract.expected`); :func:`column_names`, :func:`column_count`
                    (:mod:`loopwright.data.contract.header`)
==================  ===================================================================================================

The first two kinds name the rows to blame, so ``on_failure`` is ``quarantine``, ``warn`` or ``stop``. The last is about
no row in particular and can ``warn`` or ``stop``; it is judged on the rows that are accepted.

What Great Expectations and pandera call them stands in ``docs/contracts.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from loopwright.core.durations import format_duration, parse_duration
from loopwright.core.errors import ContractError
from loopwright.data.contract.bounds import check_on_failure
from loopwright.data.contract.declared import DeclaredCheck, check_whole, checked_names
from loopwright.data.contract.expression import Expect, expect

if TYPE_CHECKING:
    from datetime import timedelta

    from loopwright.data.contract.words import OnFailure

__all__ = ["Check", "Expect", "Fresh", "RowCount", "Unique", "expect", "fresh", "row_count", "unique"]

Check: TypeAlias = DeclaredCheck


@dataclass(frozen=True)
class Unique(DeclaredCheck):
    """No two rows share these values, in one ingest or across all."""

    word: ClassVar[str] = "unique"
    names_rows: ClassVar[bool] = True
    positional: ClassVar[tuple[str, ...]] = ("columns",)
    is_spread: ClassVar[bool] = True

    columns: tuple[str, ...]
    on_failure: OnFailure = "quarantine"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"unique({', '.join(self.columns)})"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return self.columns

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {"check": "unique", "columns": list(self.columns), "on_failure": self.on_failure}


@dataclass(frozen=True)
class Fresh(DeclaredCheck):
    """The newest event time of an ingest is at most this old."""

    word: ClassVar[str] = "fresh"

    within: timedelta
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"fresh({format_duration(self.within)})"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        return {"check": "fresh", "seconds": self.within.total_seconds(), "on_failure": self.on_failure}

    def spelled(self) -> str:
        """Return the declaration as Python."""
        ending = "" if self.on_failure == "warn" else f", on_failure={self.on_failure!r}"
        return f"lw.fresh({self.within.total_seconds()!r}{ending})"


@dataclass(frozen=True)
class RowCount(DeclaredCheck):
    """An ingest that brings rows brings this many good ones; or the dataset then has as many as another."""

    word: ClassVar[str] = "row_count"

    at_least: int | None = None
    at_most: int | None = None
    on_failure: OnFailure = "warn"
    same_as: str | None = None

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return "row_count" if self.same_as is None else f"row_count(same_as {self.same_as})"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        described: dict[str, object] = {
            "check": "row_count",
            "at_least": self.at_least,
            "at_most": self.at_most,
            "on_failure": self.on_failure,
        }
        return described if self.same_as is None else described | {"same_as": self.same_as}


def unique(*columns: str, on_failure: OnFailure = "quarantine") -> Unique:
    """Declare that no two rows share the values of ``columns``; rows with a missing value among them are left alone.

    >>> unique("order_id").label
    'unique(order_id)'
    """
    names = checked_names("unique()", columns)
    check_on_failure(on_failure, "unique()")
    return Unique(names, on_failure)


def fresh(within: str | float | timedelta, *, on_failure: OnFailure = "warn") -> Fresh:
    """Declare how old the newest event of an ingest may be, as in ``fresh("2h")``.

    It judges an ingest that brings rows, by the dataset's event time and the moment of the ingest.
    """
    check_whole(on_failure, "fresh()")
    return Fresh(parse_duration(within), on_failure)


def row_count(
    *,
    at_least: int | None = None,
    at_most: int | None = None,
    same_as: object = None,
    on_failure: OnFailure = "warn",
) -> RowCount:
    """Declare how many good rows one ingest brings, when it brings any.

    ``same_as`` names another dataset (or is one): after the ingest, this dataset has as many rows as that one's newest
    snapshot.
    """
    check_whole(on_failure, "row_count()")
    if at_least is None and at_most is None and same_as is None:
        raise ContractError("row_count() needs at_least= or at_most=.")
    for bound in (at_least, at_most):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise ContractError(f"row_count() takes whole numbers of rows, got {bound!r}.")
    if (at_least or 0) < 0 or (at_most is not None and at_most < (at_least or 0)):
        raise ContractError(f"row_count(at_least={at_least}, at_most={at_most}) can never hold.")
    if same_as is not None and (at_least is not None or at_most is not None):
        raise ContractError("row_count() has same_as= and bounds.", hint="Write two checks.")
    other = same_as if isinstance(same_as, str) or same_as is None else getattr(same_as, "name", None)
    if same_as is not None and (not isinstance(other, str) or not other):
        raise ContractError(f"row_count(same_as={same_as!r}) names no dataset.")
    return RowCount(at_least, at_most, on_failure, other)
