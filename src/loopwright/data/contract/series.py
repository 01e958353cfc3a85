"""Checks of a row against other rows: their order, their spread, and the rows of another dataset."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from loopwright.core.errors import ContractError
from loopwright.data.contract.declared import DeclaredCheck, checked_names, checked_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.contract.words import OnFailure


@runtime_checkable
class NamedColumn(Protocol):
    """A column of a dataset, as ``couriers.courier_id``."""

    @property
    def name(self) -> str:
        """The column's name."""

    @property
    def dataset(self) -> object:
        """The dataset."""


@dataclass(frozen=True)
class Monotone(DeclaredCheck):
    """No value is below (or above) one that came before it in the same ingest."""

    names_rows: ClassVar[bool] = True
    positional: ClassVar[tuple[str, ...]] = ("column",)

    column: str
    strictly: bool = False
    per: tuple[str, ...] = ()
    on_failure: OnFailure = "quarantine"
    mostly: float | None = None
    is_falling: bool = False

    @property
    def word(self) -> str:
        """The function that declares it."""
        return "decreasing" if self.is_falling else "increasing"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        groups = f" per {', '.join(self.per)}" if self.per else ""
        return f"{self.word}({self.column}{groups})"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return (self.column, *self.per)

    def arguments(self) -> dict[str, object]:
        """Return the fields that are set."""
        return {key: value for key, value in super().arguments().items() if key != "is_falling"}


@dataclass(frozen=True)
class Outliers(DeclaredCheck):
    """No value is further from the mean than this many standard deviations."""

    word: ClassVar[str] = "outliers"
    names_rows: ClassVar[bool] = True
    positional: ClassVar[tuple[str, ...]] = ("column",)

    column: str
    deviations: float = 3.0
    method: str = "zscore"
    on_failure: OnFailure = "warn"
    mostly: float | None = None

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"outliers({self.column})"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return (self.column,)


@dataclass(frozen=True)
class References(DeclaredCheck):
    """The values of some columns exist in another dataset's newest snapshot."""

    word: ClassVar[str] = "references"
    names_rows: ClassVar[bool] = True
    positional: ClassVar[tuple[str, ...]] = ("own", "target")

    own: tuple[str, ...]
    target: str  # dataset.column, with more columns after commas
    on_failure: OnFailure = "quarantine"
    mostly: float | None = None

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"references({', '.join(self.own)} in {self.target})"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return self.own

    @property
    def dataset(self) -> str:
        """The dataset in which the values must exist."""
        return self.target.split(".", 1)[0]

    @property
    def theirs(self) -> tuple[str, ...]:
        """The columns of that dataset."""
        return tuple(name.strip() for name in self.target.split(".", 1)[1].split(","))


def increasing(
    column: str,
    *,
    strictly: bool = False,
    per: str | Sequence[str] = (),
    mostly: float | None = None,
    on_failure: OnFailure = "quarantine",
) -> Monotone:
    """Declare that a column's values never fall, in the order in which the rows of an ingest come.

    A row fails where an earlier one has a larger value, so that the rows that are left are in order. Missing values
    pass.

    Args:
        column: Numbers, times or texts.
        strictly: Whether an equal value fails too.
        per: Columns whose values have each an order of their own.
        mostly: The share of rows for which it must hold.
        on_failure: What becomes of the row, or the ingest.

    >>> increasing("placed_at", per="courier_id").label
    'increasing(placed_at per courier_id)'
    """
    return _monotone(column, per, mostly, on_failure, strictly=strictly, is_falling=False)


def decreasing(
    column: str,
    *,
    strictly: bool = False,
    per: str | Sequence[str] = (),
    mostly: float | None = None,
    on_failure: OnFailure = "quarantine",
) -> Monotone:
    """Declare that a column's values never rise; see :func:`increasing`."""
    return _monotone(column, per, mostly, on_failure, strictly=strictly, is_falling=True)


def outliers(
    column: str,
    *,
    deviations: float = 3.0,
    method: str = "zscore",
    mostly: float | None = None,
    on_failure: OnFailure = "warn",
) -> Outliers:
    """Declare how far from the others a number of an ingest may be.

    Args:
        column: Numbers.
        deviations: With ``zscore``, how many (sample) standard deviations from the mean; with ``iqr``, how many
            interquartile ranges below the first or above the third quartile (Tukey's fences; 1.5 is usual).
        method: ``zscore`` or ``iqr``.
        mostly: The share of rows for which it must hold.
        on_failure: What becomes of the row, or the ingest.

    >>> outliers("minutes", deviations=4).label
    'outliers(minutes)'
    """
    where = f"outliers({column!r})"
    checked_names(where, (column,))
    if isinstance(deviations, bool) or not isinstance(deviations, (int, float)) or not 0 < deviations < math.inf:
        raise ContractError(f"{where}: deviations= is a number above 0, got {deviations!r}.")
    if method not in {"zscore", "iqr"}:
        raise ContractError(f"{where}: method={method!r} is not known.", hint="Use 'zscore' or 'iqr'.")
    return Outliers(column, deviations, method, on_failure, checked_share(where, mostly, on_failure))


def references(
    columns: str | Sequence[str],
    target: object,
    *,
    mostly: float | None = None,
    on_failure: OnFailure = "quarantine",
) -> References:
    """Declare that a row's value exists in another dataset's newest snapshot; a missing value passes.

    Args:
        columns: The column, or columns, of this dataset.
        target: The column, or as many columns, of the other one: ``couriers.courier_id``, ``couriers["a", "b"]``, or
            the text ``"couriers.courier_id"``.
        mostly: The share of rows for which it must hold.
        on_failure: What becomes of the row, or the ingest.

    >>> references("courier_id", "couriers.courier_id").label
    'references(courier_id in couriers.courier_id)'
    """
    own = checked_names("references()", columns)
    where = f"references({', '.join(own)})"
    there = _target(where, target)
    share = checked_share(where, mostly, on_failure)
    found = References(own, there, on_failure, share)
    if len(found.theirs) != len(own):
        raise ContractError(f"{where} names {len(own)} columns here and {len(found.theirs)} there: {there}.")
    return found


def _target(where: str, target: object) -> str:
    refs = getattr(target, "refs", (target,))
    if all(isinstance(ref, NamedColumn) for ref in refs) and not isinstance(target, str):
        dataset = getattr(getattr(refs[0], "dataset", None), "name", "")
        return f"{dataset}.{', '.join(str(getattr(ref, 'name', '')) for ref in refs)}"
    if isinstance(target, str) and all(part.strip() for part in target.split(".", 1)) and "." in target:
        return target
    raise ContractError(f"{where} needs a column of another dataset, got {target!r}.", hint="Write 'dataset.column'.")


def _monotone(
    column: str,
    per: str | Sequence[str],
    mostly: float | None,
    on_failure: OnFailure,
    *,
    strictly: bool,
    is_falling: bool,
) -> Monotone:
    where = f"{'decreasing' if is_falling else 'increasing'}({column!r})"
    groups = checked_names(where, per, least=0)
    checked_names(where, (column, *groups))
    share = checked_share(where, mostly, on_failure)
    return Monotone(column, bool(strictly), groups, on_failure, share, is_falling)
