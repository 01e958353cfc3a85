"""Checks of which columns the data bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from loopwright.core.errors import ContractError
from loopwright.data.contract.declared import DeclaredCheck, check_whole, checked_names

if TYPE_CHECKING:
    from loopwright.data.contract.words import OnFailure


@dataclass(frozen=True)
class ColumnNames(DeclaredCheck):
    """The data have these columns: these alone unless ``others``, and in this order where it is ``ordered``."""

    word: ClassVar[str] = "column_names"
    positional: ClassVar[tuple[str, ...]] = ("names",)
    is_spread: ClassVar[bool] = True

    names: tuple[str, ...]
    ordered: bool = False
    others: bool = False
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return (
            f"column_names({len(self.names)}{' in order' if self.ordered else ''}{' or more' if self.others else ''})"
        )


@dataclass(frozen=True)
class ColumnCount(DeclaredCheck):
    """The data have this many columns."""

    word: ClassVar[str] = "column_count"

    at_least: int | None = None
    at_most: int | None = None
    on_failure: OnFailure = "warn"

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return "column_count"


def column_names(
    *names: str, ordered: bool = False, others: bool = False, on_failure: OnFailure = "warn"
) -> ColumnNames:
    """Declare the columns that each file (or table, or batch) of an ingest brings.

    Args:
        names: Their names.
        ordered: Whether they come in this order.
        others: Whether there may be more of them.
        on_failure: ``warn``, or ``stop`` before anything is stored.

    >>> column_names("order_id", "minutes", others=True).label
    'column_names(2 or more)'
    """
    check_whole(on_failure, "column_names()")
    return ColumnNames(checked_names("column_names()", names), bool(ordered), bool(others), on_failure)


def column_count(
    *, at_least: int | None = None, at_most: int | None = None, on_failure: OnFailure = "warn"
) -> ColumnCount:
    """Declare how many columns each file (or table, or batch) of an ingest brings.

    >>> column_count(at_least=3, at_most=3).describe()
    {'check': 'column_count', 'at_least': 3, 'at_most': 3}
    """
    check_whole(on_failure, "column_count()")
    if at_least is None and at_most is None:
        raise ContractError("column_count() needs at_least= or at_most=.")
    if (at_least or 0) < 0 or (at_most is not None and at_most < max(at_least or 0, 1)):
        raise ContractError(f"column_count(at_least={at_least}, at_most={at_most}) can never hold.")
    return ColumnCount(at_least, at_most, on_failure)
