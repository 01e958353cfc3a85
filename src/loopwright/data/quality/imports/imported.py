"""What an import made: a contract, and every rule of the original that has no counterpart, with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import ContractError, LoopwrightError
from loopwright.data.contract.column import COLUMN_TYPES, column
from loopwright.data.contract.contract import Contract
from loopwright.data.contract.expression import expect
from loopwright.data.quality.rule import value_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopwright.data.contract.column import Column
    from loopwright.data.contract.declared import DeclaredCheck
    from loopwright.data.contract.words import OnFailure


@dataclass(frozen=True)
class Left:
    """A rule that was not taken over."""

    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}"


@dataclass(frozen=True)
class ImportedContract:
    """A contract made from another tool's rules.

    Attributes:
        contract: What could be taken over.
        taken: How many rules of the original that is.
        left: The others, with the reason.
        assumed: What the original does not say and was chosen here, for people to look at.
    """

    contract: Contract
    taken: int
    left: tuple[Left, ...] = ()
    assumed: tuple[str, ...] = ()

    def to_source(self) -> str:
        """Return the contract as Python, what was assumed and left as comments before it."""
        lines = [f"# assumed: {text}" for text in self.assumed] + [f"# not taken over: {one}" for one in self.left]
        return "\n".join([*(line.replace("\n", " ") for line in lines), self.contract.to_source()])


class CannotTakeError(Exception):
    """A rule has no counterpart; the text is the reason."""


@dataclass
class Gathering:
    """Columns and checks as an import finds them, one rule after the other."""

    types: Mapping[str, str] = field(default_factory=dict)  # of columns, where the caller knows better
    options: dict[str, dict[str, Any]] = field(default_factory=dict)  # of each column
    checks: dict[str, DeclaredCheck] = field(default_factory=dict)  # by label
    left: list[Left] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    taken: int = 0
    is_strict: bool = False

    def __post_init__(self) -> None:
        for name, type_ in self.types.items():
            if type_ not in COLUMN_TYPES:
                raise ContractError(f"The column '{name}' cannot be {type_!r}.", hint=f"Use {', '.join(COLUMN_TYPES)}.")

    def take(self, rule: str, made: Callable[[], None]) -> None:
        """Take a rule over, or note why it cannot be."""
        try:
            made()
        except CannotTakeError as error:
            self.left.append(Left(rule, str(error)))
        except LoopwrightError as error:
            self.left.append(Left(rule, error.message))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.left.append(Left(rule, f"it cannot be read ({type(error).__name__}: {error})"))
        else:
            self.taken += 1

    def add(self, check: DeclaredCheck) -> None:
        """Add a check; the same one twice is one."""
        same = self.checks.get(check.label)
        if same is not None and same != check:
            raise CannotTakeError(f"there is another {check.label} already")
        self.checks[check.label] = check

    def set(
        self,
        name: str,
        type_: str | None = None,
        *,
        on_failure: OnFailure = "quarantine",
        mostly: float | None = None,
        **options: Any,  # noqa: ANN401 - options of a column
    ) -> None:
        """Set options of a column. What does not go with those that it has becomes an expression of its own.

        Raises:
            ContractError: If the column cannot be declared so.
        """
        before = self.options.get(name, {})
        known = before | ({"type": type_} if type_ and "type" not in before else {})
        if self.goes_with(name, on_failure, mostly) and all(
            known.get(option, value) == value for option, value in options.items()
        ):
            known |= options | {"on_failure": on_failure} | ({} if mostly is None else {"mostly": mostly})
            self._declared(name, known)
            self.options[name] = known
            return
        if not options:
            raise CannotTakeError(f"the column '{name}' is {before.get('type', 'declared')} already")
        alone = self._declared(name, {"type": self._type(name, known | options)} | options)
        for check, failed in value_checks(alone, quoted(name)):
            expression = f"NOT ({failed})"
            label = f"{check} {name}"
            if f"expect({label})" in self.checks:
                label = f"{label}: {expression}"
            self.add(expect(expression, name=label, mostly=mostly, on_failure=on_failure))

    def goes_with(self, name: str, on_failure: str, mostly: float | None) -> bool:
        """Tell whether a column's other rules have this consequence and share, or there are none."""
        before = self.options.get(name)
        if before is None:
            return True
        is_open = set(before) <= {"type", "on_failure", "coerce"}
        return before["on_failure"] == on_failure and (is_open or before.get("mostly") == mostly)

    def type_of(self, name: str) -> str | None:
        """Return a column's type, where it is known so far."""
        found = self.types.get(name) or self.options.get(name, {}).get("type")
        return None if found is None else str(found)

    def finished(self) -> ImportedContract:
        """Return what was made."""
        columns = []
        for name, options in self.options.items():
            made = self._declared(name, options)
            if "type" not in options and name not in self.types:
                self.assumed.append(f"the column '{name}' is {made.type}, since its type is not said")
            columns.append(made)
        contract = Contract(tuple(columns), tuple(self.checks.values()), self.is_strict)
        return ImportedContract(contract, self.taken, tuple(self.left), tuple(self.assumed))

    def _type(self, name: str, options: Mapping[str, Any]) -> str:
        return str(self.types.get(name) or options.get("type") or _fitting(options))

    def _declared(self, name: str, options: Mapping[str, Any]) -> Column:
        rest = {key: value for key, value in options.items() if key != "type"}
        required = bool(rest.pop("required", False))
        return replace(column(name, self._type(name, options), **rest), required=required)  # type: ignore[arg-type]


def _fitting(options: Mapping[str, Any]) -> str:
    """Return the type that a column must have for its options to make sense."""
    bounds = [options[name] for name in ("at_least", "at_most", "above", "below") if options.get(name) is not None]
    values = [*bounds, *(options.get("among") or ()), *(options.get("not_among") or ())]
    if values and all(isinstance(one, bool) for one in values):
        return "bool"
    if values and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values):
        return "float"
    return "timestamp" if bounds else "string"


def whole_pattern(pattern: str, *, is_from_start: bool = False) -> str:
    """Return a pattern that matches whole values, for one that is searched for in them.

    Args:
        pattern: The regular expression.
        is_from_start: Whether it is only tried at the beginning, as by ``re.match``.

    Raises:
        CannotTakeError: If it uses what RE2 lacks.

    >>> whole_pattern("^[A-Z]+$"), whole_pattern("a|b")
    ('[A-Z]+', '(?s:.*)(?:a|b)(?s:.*)')
    """
    if re.search(r"\(\?(=|!|<=|<!|P=|\()|\\[1-9]", pattern):
        raise CannotTakeError(f"the pattern {pattern!r} uses what RE2 lacks (a look around, or a reference back)")
    is_plain = "|" not in pattern
    starts = pattern.startswith("^") and is_plain
    ends = pattern.endswith("$") and not pattern.endswith("\\$") and is_plain
    core = pattern[1:] if starts else pattern
    core = core[:-1] if ends else core
    if starts and ends:
        return core
    before = "" if starts or is_from_start else "(?s:.*)"
    return f"{before}(?:{core}){'' if ends else '(?s:.*)'}"


def quoted(name: str) -> str:
    """Return a column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'
