"""One check of a row, spelled in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.storage.duck import quote_text
from loopwright.data.contract.words import BYTES_TYPES, TEXT_TYPES
from loopwright.data.quality.reading import SQL_TYPES

if TYPE_CHECKING:
    from loopwright.data.contract.column import Column, OnFailure, Scalar


@dataclass(frozen=True)
class Rule:
    """One check of a row: it fails where ``failed`` is true. ``value`` is the SQL text of what was found."""

    check: str
    column: str
    failed: str
    value: str
    on_failure: OnFailure = "quarantine"

    @property
    def label(self) -> str:
        """How reports name it, such as ``at_most(distance_km)``."""
        return f"{self.check}({self.column})"


def value_checks(item: Column, value: str) -> list[tuple[str, str]]:
    """Return the checks of a column's values: the name of each, and the SQL that is true where it fails.

    Each is null, or false, where the value is missing.
    """
    checks: list[tuple[str, str]] = []

    def bound(sign: str, limit: Scalar | None) -> str | None:
        return None if limit is None else f"{value} {sign} {literal_sql(limit, item.type)}"

    low, high = bound("<", item.at_least), bound(">", item.at_most)
    if low and high:
        checks.append(("between", f"({low} OR {high})"))
    elif low:
        checks.append(("at_least", low))
    elif high:
        checks.append(("at_most", high))
    for name, failed in (("above", bound("<=", item.above)), ("below", bound(">=", item.below))):
        if failed:
            checks.append((name, failed))
    for name, values, word in (("among", item.among, "NOT IN"), ("not_among", item.not_among, "IN")):
        if values is not None:
            checks.append((name, f"{value} {word} ({', '.join(literal_sql(one, item.type) for one in values)})"))
    if item.multiple_of is not None:
        checks.append(("multiple_of", _no_multiple(item, value)))
    return checks + _text_checks(item, value)


def is_of_type(kind: pa.DataType, type_: str) -> bool:
    """Tell whether a source's type is the declared one, of whatever width, so that nothing has to be read as it."""
    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    if type_ in TEXT_TYPES:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
    if type_ in BYTES_TYPES:
        return True
    fits = {
        "int": pa.types.is_integer,
        "float": pa.types.is_floating,
        "bool": pa.types.is_boolean,
        "timestamp": pa.types.is_timestamp,
        "date": pa.types.is_date,
    }
    return bool(fits[type_](kind))


def fails(expression: str) -> str:
    """Return the SQL that is true where an expression over a row is false; unknown is not false."""
    return f"NOT TRY(({expression})::BOOLEAN)"


def literal_sql(value: Scalar, type_: str) -> str:
    """Return a declared value as SQL, for a column of the type."""
    if type_ in {"timestamp", "date"}:
        text = value.isoformat() if isinstance(value, (date, datetime)) else str(value)
        return f"{quote_text(text)}::{SQL_TYPES[type_]}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{quote_text(repr(value))}::DOUBLE"
    return str(value) if isinstance(value, int) else quote_text(str(value))


def _no_multiple(item: Column, value: str) -> str:
    if item.type == "int":
        return f"{value} % {int(item.multiple_of or 1)} <> 0"
    times = f"({value} / {literal_sql(float(item.multiple_of or 1), 'float')})"
    return f"isfinite({value}) AND abs({times} - round({times})) > 1e-9 * greatest(1, abs({times}))"


def _text_checks(item: Column, value: str) -> list[tuple[str, str]]:
    checks: list[tuple[str, str]] = []
    if item.matches is not None:
        checks.append(("matches", f"NOT regexp_full_match({value}, {quote_text(item.matches)})"))
    if item.not_matches is not None:
        checks.append(("not_matches", f"regexp_full_match({value}, {quote_text(item.not_matches)})"))
    for name, function, part in (
        ("starts_with", "starts_with", item.starts_with),
        ("ends_with", "ends_with", item.ends_with),
        ("contains", "contains", item.contains),
    ):
        if part is not None:
            checks.append((name, f"NOT {function}({value}, {quote_text(part)})"))
    if item.length is not None:
        low, high = item.length
        limits = (("<>", low),) if low == high else (("<", low), (">", high))
        outside = [f"length({value}) {sign} {limit}" for sign, limit in limits if limit is not None]
        checks.append(("length", f"({' OR '.join(outside)})"))
    if item.format is not None:
        checks.append(("format", f"({value} IS NOT NULL AND try_strptime({value}, {quote_text(item.format)}) IS NULL)"))
    if item.json:
        checks.append(("json", f"NOT json_valid({value})"))
    return checks
