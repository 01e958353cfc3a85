"""The columns of a table as the queries of a profile see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from loopwright.data.quality.profile import Kind

WHOLE_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
FLOAT_TYPES = ("FLOAT", "DOUBLE")
CELL_CHARACTERS = 200  # characters of a value that a profile keeps


@dataclass(frozen=True)
class Read:
    """A column as the queries see it: ``value`` is null where it is missing; ``number`` its place on an axis."""

    name: str
    type: str
    kind: Kind

    @property
    def value(self) -> str:
        """The SQL of the value; NaN is missing."""
        quoted = quote_name(self.name)
        return f"CASE WHEN NOT isnan({quoted}) THEN {quoted} END" if self.type in FLOAT_TYPES else quoted

    @property
    def number(self) -> str:
        """The SQL of the value as a finite DOUBLE: the number itself, 0 or 1, or epoch seconds."""
        quoted = quote_name(self.name)
        if self.kind == "time":
            moment = f"{quoted}::TIMESTAMP" if self.type == "DATE" else quoted
            return f"CASE WHEN isfinite({quoted}) THEN epoch({moment}) END"
        if self.type in FLOAT_TYPES:
            return f"CASE WHEN isfinite({quoted}) THEN {quoted}::DOUBLE END"
        return f"{quoted}::DOUBLE" if self.kind == "number" else f"{quoted}::INTEGER::DOUBLE"

    @property
    def text(self) -> str:
        """The SQL of the value as a text of bounded length."""
        return f"left({quote_name(self.name)}::VARCHAR, {CELL_CHARACTERS})"


def described(con: duckdb.DuckDBPyConnection, relation: str, payloads: Sequence[str] = ()) -> list[Read]:
    """Return the columns of a relation."""
    listed = con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return [Read(row[0], row[1], "payload" if row[0] in payloads else _kind(row[1])) for row in listed]


def _kind(type_: str) -> Kind:
    if type_ in WHOLE_TYPES or type_ in FLOAT_TYPES or type_.startswith("DECIMAL"):
        return "number"
    if type_ == "BOOLEAN":
        return "bool"
    if type_ == "VARCHAR" or type_.startswith("ENUM"):
        return "text"
    if type_ == "DATE" or type_.startswith("TIMESTAMP"):
        return "time"
    return "payload" if type_ == "BLOB" else "other"
