"""One check of a row, spelled in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_text
from loopwright.data.quality.reading import SQL_TYPES

if TYPE_CHECKING:
    from loopwright.data.column import Column, OnFailure, Scalar


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
    """Return the checks of a column's values: the name of each, and the SQL that is true where it fails."""
    low = None if item.at_least is None else f"{value} < {_literal(item.at_least, item.type)}"
    high = None if item.at_most is None else f"{value} > {_literal(item.at_most, item.type)}"
    checks: list[tuple[str, str]] = []
    if low and high:
        checks.append(("between", f"({low} OR {high})"))
    elif low:
        checks.append(("at_least", low))
    elif high:
        checks.append(("at_most", high))
    if item.among is not None:
        checks.append(("among", f"{value} NOT IN ({', '.join(_literal(one, item.type) for one in item.among)})"))
    if item.matches is not None:
        checks.append(("matches", f"NOT regexp_full_match({value}, {quote_text(item.matches)})"))
    return checks


def _literal(value: Scalar, type_: str) -> str:
    if type_ in {"timestamp", "date"}:
        text = value.isoformat() if isinstance(value, (date, datetime)) else str(value)
        return f"{quote_text(text)}::{SQL_TYPES[type_]}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{quote_text(repr(value))}::DOUBLE"
    return str(value) if isinstance(value, int) else quote_text(str(value))
