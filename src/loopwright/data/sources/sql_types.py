"""The Arrow types of a database's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from loopwright.data.sources.rows import MOMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_DIGITS = 38  # of Arrow's decimal128
# Object identifiers of PostgreSQL's types (its catalogue pg_type); 1700 is numeric, with its size in the description.
_POSTGRES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    17: pa.binary(),
    20: pa.int64(),
    21: pa.int64(),
    23: pa.int64(),
    25: pa.string(),
    26: pa.int64(),
    114: pa.string(),
    700: pa.float64(),
    701: pa.float64(),
    1042: pa.string(),
    1043: pa.string(),
    1082: pa.date32(),
    1114: MOMENT,
    1184: MOMENT,
    2950: pa.string(),
    3802: pa.string(),
}
_NUMERIC = 1700


def column_types(dialect: str, kinds: Sequence[sa.types.TypeEngine[Any]]) -> tuple[pa.DataType | None, ...]:
    """Return the types of a table's columns, as the database declares them; None where it says nothing useful."""
    return tuple(_arrow_type(dialect, kind) for kind in kinds)


def described_types(dialect: str, cursor: Any) -> tuple[pa.DataType | None, ...]:  # noqa: ANN401 - of any driver
    """Return the types of a query's columns, where the driver describes them; empty where it does not."""
    if dialect != "postgresql" or cursor is None or not cursor.description:
        return ()
    return tuple(
        _decimal(column.precision, column.scale) if column.type_code == _NUMERIC else _POSTGRES.get(column.type_code)
        for column in cursor.description
    )


def _arrow_type(dialect: str, kind: sa.types.TypeEngine[Any]) -> pa.DataType | None:
    plain = kind.as_generic() if not isinstance(kind, sa.types.NullType) and _is_generic(kind) else kind
    if isinstance(plain, sa.types.Boolean):
        return pa.bool_()
    if isinstance(plain, sa.types.Integer):
        return pa.int64()
    if isinstance(plain, sa.types.Float):
        return pa.float64()
    if isinstance(plain, sa.types.Numeric):
        return pa.float64() if dialect == "sqlite" else _decimal(plain.precision, plain.scale)
    if isinstance(plain, sa.types.DateTime):
        return MOMENT
    if isinstance(plain, sa.types.Date):
        return pa.date32()
    if isinstance(plain, sa.types.LargeBinary):
        return pa.binary()
    return None if isinstance(plain, sa.types.NullType) else pa.string()


def _is_generic(kind: sa.types.TypeEngine[Any]) -> bool:
    try:
        kind.as_generic()
    except NotImplementedError:
        return False
    return True


def _decimal(precision: int | None, scale: int | None) -> pa.DataType:
    """Return the exact type of a decimal, or text where its size is not declared."""
    if precision is None or precision > _MOST_DIGITS or scale is None or not 0 <= scale <= precision:
        return pa.string()
    return pa.decimal128(precision, scale)
