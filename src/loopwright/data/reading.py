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
image, audio    bytes, or the reference of stored ones; an image must be readable to its end
text            as string; the row then holds the reference of the stored text (:mod:`loopwright.data.text`)
==============  ========================================================================================================

A value that is there and cannot be read as its type fails the check ``type``. Columns that the contract does not name
keep the type they have in the dataset; new ones the type of the source, or, from text formats, the narrowest of int,
float, bool, timestamp and string that holds the first batch.
"""

from __future__ import annotations

import pyarrow as pa

from loopwright.core.errors import DeclarationError
from loopwright.core.storage.columns import storable_type
from loopwright.data.unit import UnreadableUnitError

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


def cast_sql(value: str, kind: pa.DataType, target: str) -> str:
    """Return the SQL that reads a raw value as ``target``; it gives null where that cannot be."""
    text = f"trim({value})"
    is_text = pa.types.is_string(kind)
    if target in {"BIGINT", "INTEGER", "SMALLINT", "TINYINT"}:
        whole = integer_sql(text) if is_text else _whole(value, kind)
        return f"TRY_CAST({whole} AS {target})"
    if target in {"DOUBLE", "FLOAT"}:
        number = number_sql(text) if is_text else f"TRY_CAST({value} AS DOUBLE)"
        return f"TRY_CAST(CASE WHEN NOT isnan({number}) THEN {number} END AS {target})"
    if target == "BOOLEAN":
        word = f"lower({text})" if is_text else f"lower(trim({value}::VARCHAR))"
        if pa.types.is_boolean(kind):
            return value
        if pa.types.is_floating(kind):
            return f"CASE WHEN {value} = 1 THEN true WHEN {value} = 0 THEN false END"
        return f"CASE WHEN {word} IN {_TRUE} THEN true WHEN {word} IN {_FALSE} THEN false END"
    if target == SQL_TYPES["timestamp"]:
        moment = f"TRY_CAST({text if is_text else value} AS TIMESTAMPTZ)"
        if not is_text and not pa.types.is_temporal(kind):
            return "NULL::TIMESTAMPTZ"
        return f"CASE WHEN isfinite({moment}) THEN {moment} END"
    if target == "DATE":
        if not is_text and not pa.types.is_temporal(kind):
            return "NULL::DATE"
        if is_text:  # through a timestamp, so that an offset counts
            return f"CASE WHEN isfinite(TRY_CAST({text} AS TIMESTAMPTZ)) THEN TRY_CAST({text} AS TIMESTAMPTZ)::DATE END"
        return f"TRY_CAST({value} AS DATE)"
    if target == "VARCHAR" and pa.types.is_binary(kind):
        return "NULL::VARCHAR"
    if is_text and target == "VARCHAR":
        return value
    return f"TRY_CAST({value} AS {target})"


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
