"""Checks over several columns of one row, each an SQL expression that must not be false."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from loopwright.core.errors import ContractError
from loopwright.data.contract.declared import DeclaredCheck, checked_names, checked_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loopwright.data.contract.words import OnFailure

Sign = Literal["<", "<=", "=", "!=", ">=", ">"]


@dataclass(frozen=True)
class Expect(DeclaredCheck):
    """An SQL expression over the columns of a row that must not be false."""

    word: ClassVar[str] = "expect"
    names_rows: ClassVar[bool] = True
    positional: ClassVar[tuple[str, ...]] = ("expression",)

    expression: str
    name: str
    on_failure: OnFailure = "quarantine"
    mostly: float | None = None

    @property
    def label(self) -> str:
        """The check as reports name it."""
        return f"expect({self.name})"

    def arguments(self) -> dict[str, object]:
        """Return the fields that are set."""
        given = super().arguments()
        return {key: value for key, value in given.items() if key != "name" or value != self.expression}

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value."""
        described: dict[str, object] = {
            "check": "expect",
            "expression": self.expression,
            "name": self.name,
            "on_failure": self.on_failure,
        }
        return described if self.mostly is None else described | {"mostly": self.mostly}


def expect(
    expression: str, *, name: str | None = None, mostly: float | None = None, on_failure: OnFailure = "quarantine"
) -> Expect:
    """Declare an SQL expression over the columns of one row, such as ``expect("picked_at <= delivered_at")``.

    A row fails where it is false. Where it is unknown (a value is missing, or a cast in it fails) the row
    passes, as with CHECK in SQL. The names in it are judged at the first ingest.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise ContractError("expect() needs an SQL expression such as 'a <= b'.")
    if ";" in expression or "--" in expression:
        raise ContractError(f"expect({expression!r}) holds a statement end or a comment.", hint="Write one expression.")
    share = checked_share("expect()", mostly, on_failure)
    return Expect(expression.strip(), name or expression.strip(), on_failure, share)


def compare(
    left: str, sign: Sign, right: str, *, mostly: float | None = None, on_failure: OnFailure = "quarantine"
) -> Expect:
    """Declare how two columns of a row compare; a row in which one of them is missing passes.

    >>> compare("placed_at", "<=", "delivered_at").label
    'expect(placed_at <= delivered_at)'
    """
    if sign not in get_args(Sign):
        raise ContractError(
            f"compare({left!r}, {sign!r}, {right!r}) has no comparison.", hint=f"Use {' '.join(get_args(Sign))}."
        )
    checked_names("compare()", (left, right), least=2)
    return _expect(f"{_column(left)} {sign} {_column(right)}", f"{left} {sign} {right}", mostly, on_failure)


def all_equal(*columns: str, mostly: float | None = None, on_failure: OnFailure = "quarantine") -> Expect:
    """Declare that the values of some columns are equal within each row, those that are missing aside."""
    names = checked_names("all_equal()", columns, least=2)
    listed = f"[{', '.join(map(_column, names))}]"
    return _expect(f"len(list_distinct({listed})) <= 1", f"all_equal({', '.join(names)})", mostly, on_failure)


def all_different(*columns: str, mostly: float | None = None, on_failure: OnFailure = "quarantine") -> Expect:
    """Declare that the values of some columns differ from each other within each row, those that are missing aside."""
    names = checked_names("all_different()", columns, least=2)
    listed = f"[{', '.join(map(_column, names))}]"
    expression = f"len(list_distinct({listed})) = list_count({listed})"
    return _expect(expression, f"all_different({', '.join(names)})", mostly, on_failure)


def sums_to(
    columns: Sequence[str],
    total: float | str,
    *,
    tolerance: float = 1e-9,
    mostly: float | None = None,
    on_failure: OnFailure = "quarantine",
) -> Expect:
    """Declare what some columns of a row add up to: a number, or another column.

    Args:
        columns: The columns that are added; a row in which one is missing passes.
        total: A number, or the name of a column.
        tolerance: How far the sum may be off, as a share of the total, and at least as a number.
        mostly: The share of rows for which it must hold.
        on_failure: What becomes of the row, or the ingest.

    >>> sums_to(["casual", "registered"], "rented").label
    'expect(casual + registered = rented)'
    """
    names = checked_names("sums_to()", columns, least=2)
    if isinstance(total, bool) or not isinstance(total, (int, float, str)) or (not total and total != 0):
        raise ContractError(f"sums_to() takes a number or the name of a column as total, got {total!r}.")
    if tolerance < 0:
        raise ContractError(f"sums_to(tolerance={tolerance!r}) can never hold.")
    wanted = _column(total) if isinstance(total, str) else repr(total)
    added = " + ".join(map(_column, names))
    off = f"abs({added} - {wanted}) <= {tolerance!r} * greatest(1, abs({wanted}))"
    shown = total if isinstance(total, str) else format(total, "g")
    return _expect(off, f"{' + '.join(names)} = {shown}", mostly, on_failure)


def among_together(
    columns: Sequence[str],
    values: Iterable[Sequence[object]],
    *,
    mostly: float | None = None,
    on_failure: OnFailure = "quarantine",
) -> Expect:
    """Declare which combinations of values some columns may have; a row in which one is missing passes.

    >>> among_together(["city", "country"], [("Oslo", "NO"), ("Umeå", "SE")]).name
    'among_together(city, country)'
    """
    names = checked_names("among_together()", columns, least=2)
    allowed = [tuple(row) for row in values]
    if not allowed or any(len(row) != len(names) for row in allowed):
        raise ContractError(
            f"among_together() takes combinations of {len(names)} values each, got {allowed[:3]!r}.",
            hint=f"One value for each of {', '.join(names)}.",
        )
    rows = ", ".join(f"({', '.join(_literal(value) for value in row)})" for row in allowed)
    whole = " OR ".join(f"{_column(name)} IS NULL" for name in names)
    listed = ", ".join(map(_column, names))
    return _expect(f"{whole} OR ({listed}) IN ({rows})", f"among_together({', '.join(names)})", mostly, on_failure)


def _expect(expression: str, name: str, mostly: float | None, on_failure: OnFailure) -> Expect:
    return Expect(expression, name, on_failure, checked_share(name, mostly, on_failure))


def _column(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"
