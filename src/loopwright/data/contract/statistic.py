"""Checks of a column's values as a whole: statistics, distinct values, the most common one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from loopwright.core.errors import ContractError, UnknownNameError
from loopwright.data.contract.bounds import check_range
from loopwright.data.contract.declared import DeclaredCheck, check_whole, checked_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopwright.data.contract.words import OnFailure, Scalar

StatisticName = Literal[
    "mean",
    "median",
    "stdev",
    "variance",
    "min",
    "max",
    "sum",
    "quantile",
    "null_share",
    "distinct_count",
    "distinct_share",
]
NUMBERS_ONLY = frozenset({"mean", "median", "stdev", "variance", "sum", "quantile"})
_SHARES = frozenset({"null_share", "distinct_share"})


@dataclass(frozen=True)
class Statistic(DeclaredCheck):
    """A number computed from one column of the rows of an ingest lies within bounds."""

    word: ClassVar[str] = "statistic"
    positional: ClassVar[tuple[str, ...]] = ("column", "name")

    column: str
    name: StatisticName
    q: float | None = None
    at_least: Scalar | None = None
    at_most: Scalar | None = None
    above: Scalar | None = None
    below: Scalar | None = None
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"{self.name}({self.column})" if self.q is None else f"quantile({self.column}, {self.q:g})"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return (self.column,)


@dataclass(frozen=True)
class DistinctValues(DeclaredCheck):
    """The set of a column's values lies within a set, holds one, or is one."""

    word: ClassVar[str] = "distinct_values"
    positional: ClassVar[tuple[str, ...]] = ("column",)

    column: str
    among: tuple[Scalar, ...] | None = None
    contain: tuple[Scalar, ...] | None = None
    equal: tuple[Scalar, ...] | None = None
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        kind = "among" if self.among is not None else "contain" if self.contain is not None else "equal"
        return f"distinct_values({self.column} {kind})"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return (self.column,)

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The set."""
        return self.among or self.contain or self.equal or ()


@dataclass(frozen=True)
class MostCommon(DeclaredCheck):
    """The most common value of a column is one of these; where several are equally common, one of them suffices."""

    word: ClassVar[str] = "most_common"
    positional: ClassVar[tuple[str, ...]] = ("column",)

    column: str
    among: tuple[Scalar, ...] = ()
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"most_common({self.column})"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return (self.column,)


def statistic(
    column: str,
    name: StatisticName,
    *,
    between: tuple[Scalar, Scalar] | None = None,
    at_least: Scalar | None = None,
    at_most: Scalar | None = None,
    above: Scalar | None = None,
    below: Scalar | None = None,
    q: float | None = None,
    on_failure: OnFailure = "warn",
) -> Statistic:
    """Declare within what bounds a statistic of one column lies, over the accepted rows of an ingest.

    Missing values are left out, except by ``null_share``. Where no value is left, a statistic of the values fails,
    since nothing shows that it holds.

    Args:
        column: The column.
        name: ``mean``, ``median``, ``stdev`` and ``variance`` (of a sample: divided by n - 1), ``min``, ``max``,
            ``sum``, ``quantile`` (interpolated, at ``q``), ``null_share`` (of all rows), ``distinct_count``, or
            ``distinct_share`` (of the rows that have a value).
        between: Smallest and largest, both included.
        at_least: Smallest, included.
        at_most: Largest, included.
        above: Lower bound, excluded.
        below: Upper bound, excluded.
        q: Which quantile, from 0 to 1.
        on_failure: ``warn``, or ``stop`` before anything is stored.

    >>> statistic("minutes", "mean", between=(5, 60)).label
    'mean(minutes)'
    >>> statistic("minutes", "null_share", at_most=0.05).label
    'null_share(minutes)'
    """
    where = f"statistic({column!r}, {name!r})"
    checked_names("statistic()", (column,))
    if name not in get_args(StatisticName):
        unknown = UnknownNameError("statistic", str(name), get_args(StatisticName))
        raise ContractError(f"{where}: {unknown.message}", hint=unknown.hint)
    check_whole(on_failure, where)
    if between is not None:
        if any(bound is not None for bound in (at_least, at_most, above, below)):
            raise ContractError(f"{where} has between= and other bounds.", hint="Keep one of them.")
        if isinstance(between, str) or not hasattr(between, "__len__") or len(between) != 2:
            raise ContractError(f"{where}: between= takes (smallest, largest), got {between!r}.")
        at_least, at_most = between
    bounds = [bound for bound in (at_least, at_most, above, below) if bound is not None]
    if not bounds:
        raise ContractError(f"{where} needs bounds.", hint="Give between=, at_least= or at_most=.")
    is_time = name in {"min", "max"} and not isinstance(bounds[0], (int, float))
    check_range(
        where, "timestamp" if is_time else "float", at_least=at_least, at_most=at_most, above=above, below=below
    )
    if (name == "quantile") != (q is not None) or (q is not None and not 0 <= q <= 1):
        raise ContractError(f"{where}: q= is for quantile, from 0 to 1; got {q!r}.")
    _check_possible(where, name, at_least if above is None else above, at_most if below is None else below)
    return Statistic(column, name, q, at_least, at_most, above, below, on_failure)


def distinct_values(
    column: str,
    *,
    among: Iterable[Scalar] | None = None,
    contain: Iterable[Scalar] | None = None,
    equal: Iterable[Scalar] | None = None,
    on_failure: OnFailure = "warn",
) -> DistinctValues:
    """Declare the set of a column's values in an ingest: all of them are ``among``, they ``contain``, or are ``equal``.

    >>> distinct_values("city", contain=["Oslo"]).label
    'distinct_values(city contain)'
    """
    where = f"distinct_values({column!r})"
    checked_names(where, (column,))
    check_whole(on_failure, where)
    given = [one for one in (among, contain, equal) if one is not None]
    if len(given) != 1:
        raise ContractError(f"{where} takes one of among=, contain= and equal=, got {len(given)} of them.")
    sets = [None if one is None else _values(where, one) for one in (among, contain, equal)]
    return DistinctValues(column, sets[0], sets[1], sets[2], on_failure)


def most_common(column: str, *, among: Iterable[Scalar], on_failure: OnFailure = "warn") -> MostCommon:
    """Declare which values may be the most common one of a column in an ingest.

    >>> most_common("city", among=["Oslo"]).label
    'most_common(city)'
    """
    where = f"most_common({column!r})"
    checked_names(where, (column,))
    check_whole(on_failure, where)
    return MostCommon(column, _values(where, among), on_failure)


def _values(where: str, given: Iterable[Scalar]) -> tuple[Scalar, ...]:
    values = () if isinstance(given, str) else tuple(given)
    if not values:
        raise ContractError(f"{where} takes a list of values, got {given!r}.")
    return values


def _check_possible(where: str, name: str, low: Scalar | None, high: Scalar | None) -> None:
    """Refuse bounds outside what the statistic can be."""
    limits = (0.0, 1.0) if name in _SHARES else (0.0, math.inf)
    if name not in _SHARES | {"stdev", "variance", "distinct_count"}:
        return
    too_high = isinstance(low, (int, float)) and low > limits[1]
    too_low = isinstance(high, (int, float)) and high < limits[0]
    if too_high or too_low:
        shown = "between 0 and 1" if name in _SHARES else "never below 0"
        raise ContractError(f"{where} can never hold: it is {shown}.")
