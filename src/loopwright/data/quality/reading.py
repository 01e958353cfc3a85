"""The SQL that reads raw values as the types that a contract names.

How a value is read as its declared type:

==============  ========================================================================================================
missing         null; a float that is NaN; and, for a type other than string, category and text, the texts ``""``,
                ``NaN``, ``NA``, ``N/A``, ``null`` and ``None`` in any case, with or without blanks around. In a text
                column ``""`` is a value, except the unquoted empty field of a CSV file, which is missing.
int             whole numbers: ``3``, ``+3``, ``3.0``; not ``3.7``, ``0x10`` or ``1_000``
float           numbers; ±infinity is read and fails the check ``finite``
bool            true/false, t/f, yes/no, y/n, 1/0, 1.0/0.0, in any case
timestamp       ISO 8601, with an offset or in UTC; a date is its midnight
date            ISO 8601; of a timestamp, the day in UTC
image, audio    bytes, or the reference of stored ones; an image must be readable to its end, audio by its header
text            as string; the row then holds the reference of the stored text (:mod:`loopwright.data.ingest.text`)
==============  ========================================================================================================

A value that is there and cannot be read as its type fails the check ``type``. Columns that the contract does not name
keep the type they have in the dataset; new ones the type of the source, or, from text formats, the narrowest of int,
float, bool, timestamp and string that holds the first batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from loopwright.core.errors import DeclarationError
from loopwright.core.storage.columns import storable_type
from loopwright.data.sources.unit import UnreadableUnitError

SQL_TYPES = {
    "int": "BIGINT",
    "float": "DOUBLE",
    "string": "VARCHAR",
    "category": "VARCHAR",
    "text": "VARCHAR",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
    "image": "VARCHAR",
    "audio": "VARCHAR",
}
_MISSING = "('', 'nan', 'na', 'n/a', 'null', 'none')"
_TRUE = "('true', 't', 'yes', 'y', '1', '1.0')"
_FALSE = "('false', 'f', 'no', 'n', '0', '0.0')"


def plain(batch: pa.Table) -> pa.Table:
    """Bring every column into a type that can be stored; dictionaries become their values, views plain texts.

    Raises:
        UnreadableUnitError: If a column has a type, or a value, that no table can hold.
    """
    columns = []
    for name, column in zip(batch.column_names, batch.columns, strict=True):
        try:
            columns.append(_plain(column))
        except (DeclarationError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            reason = str(error).split("\n", 1)[0]
            raise UnreadableUnitError(f"column '{name}': {reason}") from error
    return pa.table(columns, names=batch.column_names)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_timestamp(column.type):
        moment = column if column.type.tz else column.cast(pa.timestamp(column.type.unit, tz="UTC"))
        return moment.cast(pa.timestamp("us", tz="UTC"), safe=False)
    return column.cast(storable_type(column.type))


def present_sql(value: str, kind: pa.DataType, target: str) -> str:
    """Return the SQL that tells whether a raw value is there, for a column of type ``target``."""
    if pa.types.is_floating(kind):
        return f"{value} IS NOT NULL AND NOT isnan({value})"
    if pa.types.is_string(kind) and target != "VARCHAR":
        return f"{value} IS NOT NULL AND lower(trim({value})) NOT IN {_MISSING}"
    return f"{value} IS NOT NULL"


@dataclass(frozen=True)
class Reading:
    """How a raw value is read as a type: what is computed once, by name, and the value in terms of these."""

    value: str
    steps: tuple[tuple[str, str], ...] = ()


def reading_sql(value: str, kind: pa.DataType, target: str, name: str) -> Reading:
    """Return the SQL that reads a raw value as ``target``; it gives null where that cannot be.

    DuckDB computes a repeated expression anew inside a CASE, so parts that are used twice are steps, which are columns
    of an inner query. Its casts to numbers take blanks around a value by themselves; ``trim`` alone takes longer than
    the cast.

    Args:
        value: The raw value, a column.
        kind: Its Arrow type.
        target: The DuckDB type.
        name: How the steps' names begin.
    """
    is_text = pa.types.is_string(kind)
    if target in {"BIGINT", "INTEGER", "SMALLINT", "TINYINT"}:
        if not is_text:
            return Reading(_as(_whole(value, kind), target))
        whole, number = f"{name}_whole", f"{name}_number"
        exact = f"CASE WHEN {whole}::DOUBLE = {number} AND NOT contains({value}, '_') THEN {whole} END"
        steps = ((whole, f"TRY_CAST({value} AS BIGINT)"), (number, f"TRY_CAST({value} AS DOUBLE)"))
        return Reading(_as(exact, target), steps)
    if target in {"DOUBLE", "FLOAT"}:
        number = f"{name}_number"
        plain = f" AND NOT contains({value}, '_')" if is_text else ""
        found = f"CASE WHEN NOT isnan({number}){plain} THEN {number} END"
        as_target = found if target == "DOUBLE" else _as(found, target)
        return Reading(as_target, ((number, f"TRY_CAST({value} AS DOUBLE)"),))
    if target == "BOOLEAN":
        return _truth(value, kind, name)
    if target in {SQL_TYPES["timestamp"], "DATE"}:
        return _moment(value, kind, target, name)
    if target == "VARCHAR" and pa.types.is_binary(kind):
        return Reading("NULL::VARCHAR")
    if is_text and target == "VARCHAR":
        return Reading(value)
    return Reading(f"TRY_CAST({value} AS {target})")


def quick_sql(value: str, target: str, *, has_underscores: bool) -> tuple[str, str] | None:
    """Return SQL that reads a text as :func:`reading_sql` does, and SQL that is true where it might not.

    Where the first is null, the text is missing or has to be read carefully. None where there is no quicker way.
    """
    doubt = f" OR contains({value}, '_')" if has_underscores else ""
    if target == "BIGINT":
        whole = f"TRY_CAST({value} AS BIGINT)"
        return whole, f"{whole}::DOUBLE <> TRY_CAST({value} AS DOUBLE){doubt}"
    if target == "DOUBLE":
        number = f"TRY_CAST({value} AS DOUBLE)"
        return number, f"NOT isfinite({number}){doubt}"
    if target == "BOOLEAN":
        return f"TRY_CAST({value} AS BOOLEAN)", "false"
    if target == SQL_TYPES["timestamp"]:
        moment = f"TRY_CAST({value} AS TIMESTAMPTZ)"
        return moment, f"NOT isfinite({moment})"
    return (value, "false") if target == "VARCHAR" else None


def missing_sql(value: str) -> str:
    """Return the SQL that tells whether a text stands for a missing value, for types other than text."""
    return f"lower(trim({value})) IN {_MISSING}"


def _as(value: str, target: str) -> str:
    return value if target == "BIGINT" else f"TRY_CAST({value} AS {target})"


def _truth(value: str, kind: pa.DataType, name: str) -> Reading:
    if pa.types.is_boolean(kind):
        return Reading(value)
    if pa.types.is_floating(kind):
        return Reading(f"CASE WHEN {value} = 1 THEN true WHEN {value} = 0 THEN false END")
    word, text = f"{name}_word", value if pa.types.is_string(kind) else f"{value}::VARCHAR"
    plain = f"CASE WHEN {word} IN {_TRUE} THEN true WHEN {word} IN {_FALSE} THEN false END"
    return Reading(f"coalesce({plain}, {plain.replace(word, f'trim({word})')})", ((word, f"lower({text})"),))


def _moment(value: str, kind: pa.DataType, target: str, name: str) -> Reading:
    """Read a time; a text is tried without its blanks where it fails with them, and an offset counts for a date too."""
    if pa.types.is_string(kind):
        moment = f"{name}_moment"
        found = f"coalesce(TRY_CAST({value} AS TIMESTAMPTZ), TRY_CAST(trim({value}) AS TIMESTAMPTZ))"
        day = "::DATE" if target == "DATE" else ""
        return Reading(f"CASE WHEN isfinite({moment}) THEN {moment}{day} END", ((moment, found),))
    if not pa.types.is_temporal(kind):
        return Reading(f"NULL::{target}")
    if target == "DATE":
        return Reading(f"TRY_CAST({value} AS DATE)")
    moment = f"TRY_CAST({value} AS TIMESTAMPTZ)"
    return Reading(f"CASE WHEN isfinite({moment}) THEN {moment} END")


def null_where_missing(kind: pa.DataType, target: str) -> bool:
    """Tell whether a value that counts as missing is always read as null, so that the null alone tells suspects."""
    if pa.types.is_string(kind) or pa.types.is_floating(kind):
        numbers = {"BIGINT", "DOUBLE", "BOOLEAN"}
        return target in numbers or (pa.types.is_string(kind) and target in {*SQL_TYPES.values()})
    return True


def integer_sql(text: str) -> str:
    """Return the SQL that reads a text as a whole number."""
    whole = f"TRY_CAST({text} AS BIGINT)"
    plain = f"NOT contains({text}, '_')"
    return f"CASE WHEN {plain} AND {whole}::DOUBLE = TRY_CAST({text} AS DOUBLE) THEN {whole} END"


def number_sql(text: str) -> str:
    """Return the SQL that reads a text as a number."""
    return f"CASE WHEN NOT contains({text}, '_') THEN TRY_CAST({text} AS DOUBLE) END"


def _whole(value: str, kind: pa.DataType) -> str:
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return f"CASE WHEN {value} = trunc({value}) THEN TRY_CAST({value} AS BIGINT) END"
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return f"TRY_CAST({value} AS BIGINT)"
    return "NULL::BIGINT"
