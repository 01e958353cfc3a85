"""A contract: what every row of a dataset must satisfy, as one value with a content digest."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from loopwright.core.errors import ContractError
from loopwright.core.hashing import digest_json
from loopwright.data.check import Check, Expect, Fresh, RowCount, Unique
from loopwright.data.column import Column

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Contract:
    """Columns and checks. Columns that it does not name are kept with the type they have, unless ``strict``.

    Raises:
        ContractError: If a column is declared twice, or a strict contract's check names an undeclared column.

    >>> from loopwright.data.column import column
    >>> Contract.of([column("city", "category", among=["Oslo"])]).column("city").type
    'category'
    """

    columns: tuple[Column, ...] = ()
    checks: tuple[Check, ...] = field(default=())
    strict: bool = False

    def __post_init__(self) -> None:
        names = [item.name for item in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ContractError(f"The contract declares {', '.join(twice)} more than once.", hint="Keep one of them.")
        labels = [check.label for check in self.checks]
        again = sorted({label for label in labels if labels.count(label) > 1})
        if again:
            raise ContractError(f"The contract has {', '.join(again)} more than once.", hint="Keep one, or name them.")
        for check in self.checks if self.strict else ():
            if isinstance(check, Unique):
                require_known(check.columns, names, check.label)

    @classmethod
    def of(cls, items: Contract | Iterable[Column | Check] | None, *, strict: bool = False) -> Contract:
        """Build a contract from a list of columns and checks in any order."""
        if isinstance(items, Contract):
            return items
        columns: list[Column] = []
        checks: list[Check] = []
        for item in items or ():
            if isinstance(item, Column):
                columns.append(item)
            elif isinstance(item, (Unique, Fresh, RowCount, Expect)):
                checks.append(item)
            else:
                raise ContractError(
                    f"A contract holds columns and checks, got {item!r}.",
                    hint="Use lw.column(), lw.unique(), lw.fresh(), lw.row_count() and lw.expect().",
                )
        return cls(tuple(columns), tuple(checks), strict)

    @cached_property
    def digest(self) -> str:
        """The content digest: equal for equal rules, whatever the order of the checks."""
        return digest_json(self.describe())

    def describe(self) -> dict[str, object]:
        """Return the contract as a JSON value."""
        checks = sorted((check.describe() for check in self.checks), key=str)
        return {"columns": [item.describe() for item in self.columns], "checks": checks, "strict": self.strict}

    def column(self, name: str) -> Column | None:
        """Return the declared column of this name, or None."""
        return next((item for item in self.columns if item.name == name), None)

    def uniques(self) -> tuple[Unique, ...]:
        """Return the uniqueness checks."""
        return tuple(check for check in self.checks if isinstance(check, Unique))

    def expects(self) -> tuple[Expect, ...]:
        """Return the expression checks."""
        return tuple(check for check in self.checks if isinstance(check, Expect))


def require_known(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise ContractError with the closest known name for the first of ``names`` that is not among ``known``."""
    there = list(known)
    for name in names:
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1)
            listed = ", ".join(there[:20]) + (", …" if len(there) > 20 else "")
            hint = (f"Did you mean '{close[0]}'? " if close else "") + f"Columns: {listed or 'none'}."
            raise ContractError(f"{where} names an unknown column '{name}'.", hint=hint)
