"""What one column of a dataset must hold: its type, and the bounds of its values.

Declarations only; nothing here reads data. How a value is read as its type, and what counts as missing, is written in
:mod:`loopwright.data.quality.reading`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from loopwright.core.errors import ContractError, UnknownNameError
from loopwright.data.contract.bounds import (
    as_json,
    check_multiple,
    check_on_failure,
    check_range,
    check_text_options,
    checked_length,
    checked_mostly,
    checked_values,
)
from loopwright.data.contract.sensitive import check_sensitive
from loopwright.data.contract.words import (
    BYTES_TYPES,
    COLUMN_TYPES,
    PAYLOAD_TYPES,
    SYSTEM_COLUMNS,
    ColumnType,
    OnFailure,
    Scalar,
    Sensitive,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BYTES_TYPES",
    "COLUMN_TYPES",
    "PAYLOAD_TYPES",
    "SYSTEM_COLUMNS",
    "Column",
    "ColumnType",
    "OnFailure",
    "Scalar",
    "Sensitive",
    "check_on_failure",
    "column",
]


@dataclass(frozen=True)
class Column:
    """One declared column. Make it with :func:`column`, which checks it."""

    name: str
    type: ColumnType
    at_least: Scalar | None = None
    at_most: Scalar | None = None
    among: tuple[Scalar, ...] | None = None
    matches: str | None = None
    required: bool = True
    sensitive: Sensitive | None = None
    on_failure: OnFailure = "quarantine"
    above: Scalar | None = None
    below: Scalar | None = None
    not_among: tuple[Scalar, ...] | None = None
    not_matches: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    contains: str | None = None
    length: tuple[int | None, int | None] | None = None
    multiple_of: int | float | None = None
    format: str | None = None
    json: bool = False
    coerce: bool = True
    mostly: float | None = None

    @property
    def is_payload(self) -> bool:
        """Whether rows hold a reference to the stored bytes, or text, instead of the value."""
        return self.type in PAYLOAD_TYPES

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value; what is not set is left out."""
        described: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                described[field.name] = as_json(value)
        return described


def column(
    name: str,
    type: ColumnType,
    *,
    between: tuple[Scalar, Scalar] | None = None,
    among: Iterable[Scalar] | None = None,
    not_among: Iterable[Scalar] | None = None,
    at_least: Scalar | None = None,
    at_most: Scalar | None = None,
    above: Scalar | None = None,
    below: Scalar | None = None,
    multiple_of: float | None = None,
    matches: str | None = None,
    not_matches: str | None = None,
    starts_with: str | None = None,
    ends_with: str | None = None,
    contains: str | None = None,
    length: int | tuple[int | None, int | None] | None = None,
    format: str | None = None,
    json: bool = False,
    required: bool = True,
    coerce: bool = True,
    mostly: float | None = None,
    sensitive: bool | Sensitive | None = None,
    on_failure: OnFailure = "quarantine",
) -> Column:
    """Declare a column: its type and what its values must satisfy. A missing value fails ``required`` alone.

    Args:
        name: The column's name, as in the data.
        type: ``int``, ``float``, ``string``, ``category``, ``bool``, ``timestamp`` (UTC where the data names no zone),
            ``date``; or a payload, stored once by content while rows hold the reference: ``image``, ``audio`` (bytes)
            or ``text``. Take ``string`` for what rows are selected, joined, sorted or computed by in SQL and views
            (names, codes, short notes), ``category`` for one of few such values, and ``text`` for what only a model
            reads (messages, reviews, documents): the table stays small, and equal texts are stored once. Checks of a
            text column, and transforms and models that take it, see the text; SQL and views see the reference.
        between: Smallest and largest value, both included.
        among: The allowed values.
        not_among: Values that must not occur.
        at_least: Smallest value, included.
        at_most: Largest value, included.
        above: Lower bound, excluded.
        below: Upper bound, excluded.
        multiple_of: A number of which each value is a whole multiple, to a billionth of it.
        matches: Regular expression that the whole value must match (RE2 syntax).
        not_matches: Regular expression that the whole value must not match.
        starts_with: What a text begins with.
        ends_with: What a text ends with.
        contains: What a text holds somewhere, to the letter.
        length: Smallest and largest number of characters, either of them None; or one number for both.
        format: A time's form that a text must have, in the codes of ``strftime``, such as ``%Y-%m-%d``.
        json: Whether each text must be JSON.
        required: Whether a missing value is a failure.
        coerce: Whether values of another type are read as this one (``"3"`` as 3); without it, a source that has types
            must have this one. Text formats such as CSV have none, and are read either way.
        mostly: The share of rows for which each check of the column must hold, such as 0.95: of the rows of one ingest
            that have a value, and for ``required`` of all. Where it is reached, the rows that fail are kept; where it
            is not, ``on_failure`` is done. A value that cannot be read as the type, which no row could keep, always
            fails.
        sensitive: Personal data, and what is done about it: ``"hash"``, ``"mask"`` or ``"drop"`` the value at ingest,
            or ``"restrict"`` (``True``) who gets to see it; see :mod:`loopwright.data.contract.sensitive`.
        on_failure: ``quarantine`` the row, ``stop`` the ingest before anything is stored, or ``warn`` and keep the row.

    Raises:
        ContractError: If the declaration contradicts itself.

    >>> column("distance_km", "float", between=(0, 200)).at_most
    200
    """
    where = f"Column {name!r}"
    if not isinstance(name, str) or not name:
        raise ContractError(f"A column needs a name, got {name!r}.")
    if name in SYSTEM_COLUMNS:
        raise ContractError(f"{where} is a system column of every dataset.", hint="Rename the column in the source.")
    if type not in COLUMN_TYPES:
        unknown = UnknownNameError("column type", str(type), COLUMN_TYPES)
        raise ContractError(f"{where}: {unknown.message}", hint=unknown.hint)
    check_on_failure(on_failure, where)
    if between is not None:
        if any(bound is not None for bound in (at_least, at_most, above, below)):
            raise ContractError(f"{where} has between= and at_least= or at_most=.", hint="Keep one of them.")
        if isinstance(between, str) or not isinstance(between, Sequence) or len(between) != 2:
            raise ContractError(f"{where}: between= takes (smallest, largest), got {between!r}.")
        at_least, at_most = between
    check_range(where, type, at_least=at_least, at_most=at_most, above=above, below=below)
    check_multiple(where, type, multiple_of)
    texts: dict[str, object] = {"matches": matches, "not_matches": not_matches, "starts_with": starts_with}
    texts |= {"ends_with": ends_with, "contains": contains, "length": length, "format": format, "json": json}
    check_text_options(where, type, texts)
    marked = check_sensitive(where, type, sensitive)
    share = checked_mostly(where, mostly)
    if share is not None and type in PAYLOAD_TYPES:
        raise ContractError(f"{where} is {type}, which rows hold as a reference: mostly= is for values.")
    if share is not None and marked:
        raise ContractError(f"{where} is sensitive, and rows do not hold its values: mostly= is for values.")
    return Column(
        name,
        type,
        at_least,
        at_most,
        checked_values(where, type, among, "among"),
        matches,
        required,
        marked,
        on_failure,
        above=above,
        below=below,
        not_among=checked_values(where, type, not_among, "not_among"),
        not_matches=not_matches,
        starts_with=starts_with,
        ends_with=ends_with,
        contains=contains,
        length=checked_length(where, length),
        multiple_of=multiple_of,
        format=format,
        json=bool(json),
        coerce=bool(coerce),
        mostly=share,
    )
