"""What one column of a dataset must hold: its type, and the bounds of its values.

Declarations only; nothing here reads data. How a value is read as its type, and what counts as missing, is written in
:mod:`loopwright.data.quality.reading`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, get_args

from loopwright.core.errors import ContractError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

ColumnType = Literal["int", "float", "string", "category", "bool", "timestamp", "date", "image", "audio", "text"]
OnFailure = Literal["quarantine", "stop", "warn"]
Sensitive = Literal["hash", "mask", "drop"]
Scalar = bool | int | float | str | date | datetime

COLUMN_TYPES: tuple[str, ...] = get_args(ColumnType)
BYTES_TYPES = frozenset({"image", "audio"})
PAYLOAD_TYPES = BYTES_TYPES | {"text"}
SYSTEM_COLUMNS = ("_source", "_source_row", "_arrived_at", "_ingest_id")
_NUMBERS = frozenset({"int", "float"})
_ORDERED = _NUMBERS | {"timestamp", "date"}
_TEXTS = frozenset({"string", "category", "text"})


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
                described[field.name] = _as_json(value)
        return described


def column(
    name: str,
    type: ColumnType,
    *,
    between: tuple[Scalar, Scalar] | None = None,
    among: Iterable[Scalar] | None = None,
    at_least: Scalar | None = None,
    at_most: Scalar | None = None,
    matches: str | None = None,
    required: bool = True,
    sensitive: bool | Sensitive | None = None,
    on_failure: OnFailure = "quarantine",
) -> Column:
    """Declare a column: its type and what its values must satisfy.

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
        at_least: Smallest value, included.
        at_most: Largest value, included.
        matches: Regular expression that the whole value must match (RE2 syntax).
        required: Whether a missing value is a failure.
        sensitive: Marks personal data, for what is logged and shown: ``"hash"`` (``True``), ``"mask"`` or ``"drop"``
            there. The dataset itself holds the value.
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
        if at_least is not None or at_most is not None:
            raise ContractError(f"{where} has between= and at_least= or at_most=.", hint="Keep one of them.")
        if isinstance(between, str) or not isinstance(between, Sequence) or len(between) != 2:
            raise ContractError(f"{where}: between= takes (smallest, largest), got {between!r}.")
        at_least, at_most = between
    _check_bounds(where, type, at_least, at_most)
    allowed = _check_among(where, type, among)
    if matches is not None:
        _check_pattern(where, type, matches)
    marked: Sensitive | None = "hash" if sensitive is True else (sensitive or None)
    if marked not in (None, "hash", "mask", "drop"):
        raise ContractError(f"{where}: sensitive= is True, 'hash', 'mask' or 'drop', got {sensitive!r}.")
    return Column(name, type, at_least, at_most, allowed, matches, required, marked, on_failure)


def check_on_failure(on_failure: str, where: str, allowed: tuple[str, ...] = get_args(OnFailure)) -> None:
    """Raise ContractError unless ``on_failure`` is one of ``allowed``."""
    if on_failure not in allowed:
        raise ContractError(f"{where}: on_failure={on_failure!r} is not known.", hint=f"Use {' or '.join(allowed)}.")


def _check_bounds(where: str, type_: str, low: Scalar | None, high: Scalar | None) -> None:
    for bound in (low, high):
        if bound is None:
            continue
        if type_ not in _ORDERED:
            raise ContractError(
                f"{where} is {type_}, and a range needs a number, a timestamp or a date.",
                hint="Use among= or matches=.",
            )
        number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
        if number != (type_ in _NUMBERS) or (isinstance(bound, float) and math.isnan(bound)):
            raise ContractError(f"{where} is {type_}, and {bound!r} is no bound for it.")
        if not number:
            _as_moment(where, bound)
    if low is None or high is None:
        return
    first, last = (low, high) if type_ in _NUMBERS else (_as_moment(where, low), _as_moment(where, high))
    if first > last:  # type: ignore[operator]
        raise ContractError(f"{where} must lie between {low!r} and {high!r}: the first is larger.", hint="Swap them.")


def _as_moment(where: str, value: Scalar) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ContractError(f"{where}: {value!r} is no time.", hint="Write it as '2026-01-31T00:00:00'.") from None
    return moment.replace(tzinfo=None) - (moment.utcoffset() or (moment - moment))


def _check_among(where: str, type_: str, among: Iterable[Scalar] | None) -> tuple[Scalar, ...] | None:
    if among is None:
        return None
    if isinstance(among, str):
        raise ContractError(f"{where}: among= takes a list of values, got the text {among!r}.")
    allowed = tuple(among)
    if not allowed:
        raise ContractError(f"{where}: among= is empty, so no value could pass.", hint="Name the allowed values.")
    if type_ in BYTES_TYPES or type_ in {"timestamp", "date"}:
        raise ContractError(f"{where} is {type_}: among= is for numbers, texts and truth values.")
    for value in allowed:
        fits = (
            isinstance(value, str)
            if type_ in _TEXTS
            else isinstance(value, bool)
            if type_ == "bool"
            else isinstance(value, (int, float)) and not isinstance(value, bool)
        )
        if not fits:
            raise ContractError(f"{where} is {type_}, and {value!r} in among= is not.")
    return allowed


def _check_pattern(where: str, type_: str, pattern: str) -> None:
    if type_ not in _TEXTS:
        raise ContractError(f"{where} is {type_}: matches= is for string, category and text.")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ContractError(f"{where}: matches={pattern!r} is no regular expression: {error}.") from None


def _as_json(value: object) -> object:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
