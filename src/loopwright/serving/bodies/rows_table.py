"""Tables as the rows of a request: Arrow, Parquet and CSV bodies into columns that the model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.error_text import short_text
from loopwright.core.errors import InvalidRequestError, TooLargeError
from loopwright.serving.bodies.csv_body import read_csv, typed_texts
from loopwright.serving.bodies.row_bounds import check_rows
from loopwright.serving.bodies.table_body import read_arrow, read_parquet
from loopwright.serving.bodies.table_columns import column_values, text_bytes
from loopwright.serving.http.media_type import CSV, PARQUET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.features.request import RequestField
    from loopwright.serving.bodies.table_columns import Values

KEY_COLUMN = "__key__"
MAX_TEXT_BYTES = 64 << 20


def read_table(body: bytes, kind: str, inputs: Sequence[RequestField]) -> tuple[dict[str, Values], int]:
    """Read the columns of a body, and count its rows.

    A column that the model does not take is not read: it stands there as nothing but its name, for the answer to say
    that it was ignored.

    Args:
        body: The body.
        kind: Its media type: Arrow, Parquet or CSV.
        inputs: The fields that the model takes; a column ``__key__`` holds the rows' keys.

    Raises:
        InvalidRequestError: When it cannot be read, or holds a value that no field can take.
        TooLargeError: When it is over a bound.
    """
    types = {field.name: str(field.type) for field in inputs}
    arrays = {field.name for field in inputs if field.shape}
    names = {*types, KEY_COLUMN}
    read = {CSV: read_csv, PARQUET: read_parquet}.get(kind, read_arrow)
    table, others = read(body, names)
    check_rows(table.num_rows)
    columns: dict[str, Values] = {}
    try:
        if kind != CSV:  # there each text stands in the body itself
            _check_texts(table)
        for name, column in zip(table.column_names, table.columns, strict=True):
            if kind == CSV:
                columns[name] = typed_texts(name, types.get(name, "string"), column)
            else:
                columns[name] = column_values(name, column, is_array=name in arrays)
    except (pa.ArrowException, UnicodeDecodeError, OverflowError) as error:  # a type that says what cannot be
        raise InvalidRequestError(f"The table cannot be read: {short_text(error)}.") from error
    missing: list[object] = [None] * table.num_rows
    columns.update(dict.fromkeys(others, missing))
    return columns, table.num_rows


def _check_texts(table: pa.Table) -> None:
    total = sum(map(text_bytes, table.columns))
    if total > MAX_TEXT_BYTES:
        raise TooLargeError(f"The texts of the table have {total} bytes, written out.", hint="Send fewer rows.")
