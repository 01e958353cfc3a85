"""A contract: what every row of a dataset must satisfy, as one value with a content digest."""

from __future__ import annotations

import difflib
import inspect
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from loopwright.core.errors import ContractError
from loopwright.core.hashing import digest_json
from loopwright.data.contract.check import Check, Unique, fresh, row_count, unique
from loopwright.data.contract.column import Column, column
from loopwright.data.contract.declared import DeclaredCheck, plain
from loopwright.data.contract.expected import Distribution, distribution, volume
from loopwright.data.contract.expression import Expect, expect
from loopwright.data.contract.header import column_count, column_names
from loopwright.data.contract.series import Outliers, decreasing, increasing, outliers, references
from loopwright.data.contract.statistic import NUMBERS_ONLY, Statistic, distinct_values, most_common, statistic
from loopwright.data.contract.words import NUMBER_TYPES, PAYLOAD_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")
_CHECKS: dict[str, Callable[..., Check]] = {
    function.__name__: function
    for function in (
        unique, fresh, row_count, expect, increasing, decreasing, outliers, references, statistic, distinct_values,
        most_common, column_names, column_count, distribution, volume,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Contract:
    """Columns and checks. Columns that it does not name are kept with the type they have, unless ``strict``.

    Raises:
        ContractError: If a column is declared twice, a check is there twice, one names an undeclared column of a strict
            contract, or one cannot be computed of a column's type.

    >>> from loopwright.data.contract.column import column
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
        for check in self.checks:
            if self.strict:
                require_known(check.named, names, check.label)
            self._check_types(check)

    def _check_types(self, check: Check) -> None:
        """Refuse a check that cannot be computed of the type that a column is declared with."""
        declared = [item for item in self.columns if item.name in check.named]
        numeric = isinstance(check, Outliers) or (isinstance(check, Statistic) and check.name in NUMBERS_ONLY)
        for item in declared:
            if numeric and item.type not in NUMBER_TYPES | {"bool"}:
                raise ContractError(f"{check.label} needs numbers, and column {item.name!r} is {item.type}.")
            if item.sensitive and not isinstance(check, (Unique, Expect)):
                raise ContractError(f"{check.label}: rows do not hold values of the sensitive column {item.name!r}.")
            if item.type in PAYLOAD_TYPES and not isinstance(check, Unique):
                raise ContractError(f"{check.label}: rows hold a reference in the {item.type} column {item.name!r}.")
            if (
                isinstance(check, Distribution)
                and check.measure == "ks"
                and item.type in {"string", "category", "bool"}
            ):
                raise ContractError(f"{check.label} needs an order, and column {item.name!r} is {item.type}.")
        if isinstance(check, Expect) and check.mostly is not None:
            texts = [item.name for item in self.columns if item.is_payload and item.name in check.expression]
            if texts:
                raise ContractError(f"{check.label} has mostly=, and rows hold a reference in {', '.join(texts)}.")

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
            elif isinstance(item, DeclaredCheck):
                checks.append(item)
            else:
                raise ContractError(
                    f"A contract holds columns and checks, got {item!r}.",
                    hint="Use lw.column(), lw.unique(), lw.fresh(), lw.row_count(), lw.expect() or another check.",
                )
        return cls(tuple(columns), tuple(checks), strict)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Contract:
        """Build a contract from what :meth:`describe` gave, or from that of a dataset.

        Raises:
            ContractError: If it is no such description, or one of its declarations cannot be.

        >>> one = Contract.of([column("a", "int", between=(0, 9)), unique("a")])
        >>> Contract.from_description(one.describe()) == one
        True
        """
        found = description.get("contract", description) if isinstance(description, dict) else description
        if not isinstance(found, dict) or not isinstance(found.get("columns", []), list):
            raise ContractError("This describes no contract.", hint="It has 'columns' and 'checks', as lists.")
        columns = [_rebuilt("column", column, one) for one in found.get("columns", [])]
        checks = [_rebuilt_check(one) for one in found.get("checks", [])]
        return cls(tuple(columns), tuple(checks), bool(found.get("strict", False)))

    @classmethod
    def load(cls, path: str | Path) -> Contract:
        """Read a contract from a JSON file that holds what :meth:`describe` gives."""
        try:
            return cls.from_description(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ContractError(f"{path} cannot be read as a contract: {error}.") from None

    @cached_property
    def digest(self) -> str:
        """The content digest: equal for equal rules, whatever the order of the checks."""
        return digest_json(self.describe())

    def describe(self) -> dict[str, object]:
        """Return the contract as a JSON value."""
        checks = sorted((check.describe() for check in self.checks), key=str)
        return {"columns": [item.describe() for item in self.columns], "checks": checks, "strict": self.strict}

    def to_source(self) -> str:
        """Return the contract as Python, to be edited: a list for ``contract=``, or a strict ``Contract.of``.

        >>> print(Contract.of([column("a", "int", between=(0, 9)), unique("a")]).to_source())
        [
            lw.column('a', 'int', between=(0, 9)),
            lw.unique('a'),
        ]
        """
        lines = [_spelled_column(item) for item in self.columns] + [check.spelled() for check in self.checks]
        listed = "\n".join(["[", *(f"    {line}," for line in lines), "]"])
        return f"lw.Contract.of({listed}, strict=True)" if self.strict else listed

    def column(self, name: str) -> Column | None:
        """Return the declared column of this name, or None."""
        return next((item for item in self.columns if item.name == name), None)

    def restricted(self) -> tuple[str, ...]:
        """Return the columns whose values only some may see."""
        return tuple(item.name for item in self.columns if item.sensitive == "restrict")

    def uniques(self) -> tuple[Unique, ...]:
        """Return the uniqueness checks."""
        return tuple(check for check in self.checks if isinstance(check, Unique))

    def expects(self) -> tuple[Expect, ...]:
        """Return the expression checks that each row is judged by, one by one."""
        return tuple(check for check in self.checks if isinstance(check, Expect) and check.mostly is None)


def require_known(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise ContractError with the closest known name for the first of ``names`` that is not among ``known``."""
    there = list(known)
    for name in names:
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1)
            listed = ", ".join(there[:20]) + (", …" if len(there) > 20 else "")
            hint = (f"Did you mean '{close[0]}'? " if close else "") + f"Columns: {listed or 'none'}."
            raise ContractError(f"{where} names an unknown column '{name}'.", hint=hint)


def _rebuilt_check(described: object) -> Check:
    given = dict(described) if isinstance(described, dict) else {}
    word = str(given.pop("check", ""))
    if word not in _CHECKS:
        raise ContractError(f"{word or described!r} is no check.", hint=f"Checks: {', '.join(sorted(_CHECKS))}.")
    if word == "fresh" and "seconds" in given:
        given["within"] = given.pop("seconds")
    return _rebuilt(word, _CHECKS[word], given)


def _rebuilt(word: str, function: Callable[..., T], given: Mapping[str, Any]) -> T:
    """Call a declaring function with a description's fields, those that it takes by position among them."""
    if not isinstance(given, dict):
        raise ContractError(f"{given!r} describes no {word}.")
    listed: list[object] = []
    rest = {"columns" if key == "own" else str(key): value for key, value in given.items()}
    parameters = inspect.signature(function).parameters
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            listed += rest.pop(name, [])
    unknown = [name for name in rest if name not in parameters]
    if unknown:
        raise ContractError(f"{word} has no {', '.join(unknown)}.", hint=f"It takes {', '.join(parameters)}.")
    try:
        return function(*listed, **rest)
    except TypeError as error:
        raise ContractError(f"{given!r} describes no {word}: {error}.") from None


def _spelled_column(item: Column) -> str:
    given: dict[str, Any] = item.describe()
    parts = [repr(given.pop("name")), repr(given.pop("type"))]
    if "at_least" in given and "at_most" in given:
        given = {"between": (given.pop("at_least"), given.pop("at_most"))} | given
    if isinstance(given.get("length"), list):
        given["length"] = tuple(given["length"])
    return f"lw.column({', '.join([*parts, *(f'{name}={_written(value)!r}' for name, value in given.items())])})"


def _written(value: object) -> object:
    return tuple(plain(one) for one in value) if isinstance(value, tuple) else plain(value)
