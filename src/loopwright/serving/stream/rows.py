"""Values of events as request rows: one that cannot be read fails alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from loopwright.core.errors import InvalidRequestError
from loopwright.data.sources.records import decoder_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopwright.data.sources.record_format import RecordFormat
    from loopwright.data.sources.record_frame import RecordDecoder

Row = dict[str, object]
_NO_OBJECT = "The value is no JSON object."


class RowReader(Protocol):
    """Reads values, each by itself."""

    def read(self, values: Sequence[bytes]) -> list[Row | InvalidRequestError]:
        """Return a row for each value, or why it is none."""
        ...


class JsonRows:
    """Rows of JSON objects, with the types that JSON gives them.

    >>> JsonRows().read([b'{"x": 1.5}'])
    [{'x': 1.5}]
    """

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder().decode

    def read(self, values: Sequence[bytes]) -> list[Row | InvalidRequestError]:
        """Return a row for each value, or why it is none."""
        found: list[Row | InvalidRequestError] = []
        for value in values:
            try:
                row = self._decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                found.append(InvalidRequestError(f"The value is no JSON: {error}."))
            else:
                found.append(row if isinstance(row, dict) else InvalidRequestError(_NO_OBJECT))
        return found


class RecordRows:
    """Rows of Avro or Protobuf records, by the decoders of the data sources."""

    def __init__(self, decoder: RecordDecoder) -> None:
        self._decoder = decoder

    def read(self, values: Sequence[bytes]) -> list[Row | InvalidRequestError]:
        """Return a row for each value, or why it is none."""
        table, reasons = self._decoder.table(list(values))
        rows = table.to_pylist() if table.num_columns else [{} for _ in values]
        return [
            row if reason is None else InvalidRequestError(f"The value cannot be read: {reason}.")
            for row, reason in zip(rows, reasons, strict=True)
        ]


def reader_of(record: RecordFormat, project: Path) -> RowReader:
    """Return the reader of a format.

    Raises:
        SourceError: If the schema is missing or is none.
        MissingExtraError: If the package for the format is not installed.
    """
    if record.format == "json" and not record.framed:
        return JsonRows()
    return RecordRows(decoder_of(record, project))
