"""Checks against what came before: how many rows an ingest brings, and how a column's values are distributed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from loopwright.core.errors import ContractError
from loopwright.data.contract.declared import DeclaredCheck, check_whole, checked_names

if TYPE_CHECKING:
    from loopwright.data.contract.words import OnFailure

Measure = Literal["psi", "js", "ks"]


@dataclass(frozen=True)
class Volume(DeclaredCheck):
    """The rows of an ingest are about as many as those of the ingests before it."""

    word: ClassVar[str] = "volume"

    deviations: float | None = None
    factor: float | None = None
    last: int = 20
    least_history: int = 5
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return "volume"


@dataclass(frozen=True)
class Distribution(DeclaredCheck):
    """A column's values are distributed about as those of a reference."""

    word: ClassVar[str] = "distribution"
    positional: ClassVar[tuple[str, ...]] = ("column",)

    column: str
    like: str | int = ""
    at_most: float = 0.1
    measure: Measure = "psi"
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"distribution({self.column}, {self.measure})"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return (self.column,)


def volume(
    *,
    deviations: float | None = None,
    factor: float | None = None,
    last: int = 20,
    least_history: int = 5,
    on_failure: OnFailure = "warn",
) -> Volume:
    """Declare how far the rows of an ingest may be from the ingests before it that brought rows.

    The middle is the median of the last ingests. With ``deviations``, the distance is measured in robust standard
    deviations, 1.4826 times the median absolute deviation (P. Rousseeuw, C. Croux, 1993), and at least the square root
    of the median, below which a count varies by chance alone. With ``factor``, the rows lie between the median divided
    by it and the median times it. With neither, ``deviations=5``. While there is too little history it passes.

    Args:
        deviations: Most robust standard deviations from the median.
        factor: Largest ratio to the median, above 1.
        last: How many ingests make the history.
        least_history: How many there must be.
        on_failure: ``warn``, or ``stop`` before anything is stored.

    >>> volume(factor=2).describe()
    {'check': 'volume', 'factor': 2}
    """
    check_whole(on_failure, "volume()")
    if deviations is not None and factor is not None:
        raise ContractError("volume() has deviations= and factor=.", hint="Keep one of them.")
    if deviations is None and factor is None:
        deviations = 5.0
    if deviations is not None and not 0 < deviations < math.inf:
        raise ContractError(f"volume(deviations={deviations!r}) is no number above 0.")
    if factor is not None and not 1 < factor < math.inf:
        raise ContractError(f"volume(factor={factor!r}) must be above 1: 2 allows half to twice the rows.")
    if not 1 <= least_history <= last:
        raise ContractError(f"volume(last={last!r}, least_history={least_history!r}): at least 1, and at most last.")
    return Volume(deviations, factor, last, least_history, on_failure)


def distribution(
    column: str,
    *,
    like: str | int,
    at_most: float = 0.1,
    measure: Measure = "psi",
    on_failure: OnFailure = "warn",
) -> Distribution:
    """Declare how far a column's distribution in an ingest may be from a reference.

    Both are counted on the reference's own bins: 20 of equal count for numbers and times, the 50 most common values by
    name for others, missing values in a cell of their own.

    Args:
        column: The column.
        like: The reference: a snapshot by version (``3``) or by name (``"orders@3"``), ``"previous"`` for the newest
            snapshot before the ingest, or the path of a profile's JSON file, seen from the project's folder.
        at_most: The largest distance.
        measure: ``psi``, the population stability index less what is expected of samples of these sizes without a
            change (0.1 is a small change, 0.25 a large one); ``js``, the Jensen-Shannon distance, from 0 to 1; ``ks``,
            the largest distance between the two cumulative distributions on the bins, for numbers and times.
        on_failure: ``warn``, or ``stop`` before anything is stored.

    >>> distribution("minutes", like="orders@3", at_most=0.2).label
    'distribution(minutes, psi)'
    """
    where = f"distribution({column!r})"
    checked_names(where, (column,))
    check_whole(on_failure, where)
    if measure not in get_args(Measure):
        raise ContractError(f"{where}: measure={measure!r} is not known.", hint=f"Use {', '.join(get_args(Measure))}.")
    if isinstance(like, bool) or not isinstance(like, (str, int)) or like == "" or (isinstance(like, int) and like < 0):
        raise ContractError(
            f"{where}: like={like!r} is no reference.",
            hint="Give a snapshot's version, 'previous', or a profile's path.",
        )
    if not isinstance(at_most, (int, float)) or not 0 < at_most < math.inf or (measure != "psi" and at_most > 1):
        largest = "above 0" if measure == "psi" else "above 0 and at most 1"
        raise ContractError(f"{where}: at_most={at_most!r} must be {largest}.")
    return Distribution(column, like, at_most, measure, on_failure)
