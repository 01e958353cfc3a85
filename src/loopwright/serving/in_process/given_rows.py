"""Rows as a program gives them: mappings, or any table that speaks Arrow (pandas, Polars, PyArrow, DuckDB)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from loopwright.core.error_text import short_text
from loopwright.core.errors import InvalidRequestError
from loopwright.features.assembly import NO_ROWS
from loopwright.features.row_batch import RowBatch
from loopwright.serving.bodies.row_bounds import check_rows
from loopwright.serving.bodies.table_body import check_names
from loopwright.serving.bodies.table_columns import column_values

if TYPE_CHECKING:
    from loopwright.features.request import RequestField


@runtime_checkable
class ArrowTable(Protocol):
    """A table that hands its columns over as Arrow does (the Arrow PyCapsule interface)."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return its batches."""


GivenRows: TypeAlias = "Sequence[Mapping[str, object]] | ArrowTable"


def read_given(rows: GivenRows, inputs: Sequence[RequestField]) -> Sequence[Mapping[str, object]]:
    """Return rows for the endpoint, none of which the caller can change any more.

    Raises:
        InvalidRequestError: When there is no row, a row is no mapping, or a column holds what no field takes.
        TooLargeError: When there are more than 100,000.
    """
    if isinstance(rows, ArrowTable):
        return _columns(rows, inputs)
    taken: list[Mapping[str, object]] = []
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            message = f"Row {index} must be a mapping with fields, got {type(row).__name__}."
            raise InvalidRequestError(message, row=index, hint='Write predict_many([{"distance_km": 3.5}, …]).')
        taken.append(dict(row))
    if not taken:
        raise InvalidRequestError(NO_ROWS, hint="Give at least one.")
    check_rows(len(taken))
    return taken


def _columns(rows: ArrowTable, inputs: Sequence[RequestField]) -> RowBatch:
    arrays = {field.name for field in inputs if field.shape}
    known = {field.name for field in inputs}
    try:
        table = pa.table(rows)
        check_rows(table.num_rows)
        check_names(table.column_names)
        if not table.num_rows:
            raise InvalidRequestError(NO_ROWS, hint="Give at least one.")
        missing: list[object] = [None] * table.num_rows
        columns = {
            name: column_values(name, table.column(name), is_array=name in arrays) if name in known else missing
            for name in table.column_names
        }
    except (pa.ArrowException, UnicodeDecodeError, OverflowError, TypeError) as error:
        raise InvalidRequestError(f"The table cannot be read: {short_text(error)}.") from error
    return RowBatch(columns, table.num_rows)
