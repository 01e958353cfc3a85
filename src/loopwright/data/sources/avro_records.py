"""Decodes records in Avro."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import MissingExtraError, SourceError
from loopwright.data.sources.avro import avro_columns, avro_table
from loopwright.data.sources.record_frame import payload, reason
from loopwright.data.sources.unit import UnreadableUnitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa


class AvroRecords:
    """Records in Avro, each written with the one schema and without the header of a file."""

    def __init__(self, content: bytes, path: str, *, is_framed: bool) -> None:
        try:
            import fastavro  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise MissingExtraError("fastavro", extra="avro") from None
        self._is_framed = is_framed
        try:
            declared = json.loads(content)
            self._schema = fastavro.parse_schema(declared)
            self._kinds = avro_columns(declared)
        except (ValueError, KeyError, UnreadableUnitError, fastavro.schema.SchemaParseException) as error:
            raise SourceError(
                f"{path} is no Avro schema of records: {reason(error)}.", hint="Correct schema=."
            ) from error
        self._read = fastavro.schemaless_reader

    def table(self, values: Sequence[bytes | None]) -> tuple[pa.Table, list[str | None]]:
        """Return one row per value, and why a value could not be read, or None."""
        empty: dict[str, Any] = dict.fromkeys(self._kinds)
        records: list[Mapping[str, Any]] = []
        reasons: list[str | None] = [None] * len(values)
        for index, value in enumerate(values):
            try:
                stream = io.BytesIO(payload(value, is_framed=self._is_framed))
                record: Any = self._read(stream, self._schema, None)
                if stream.read(1):
                    raise ValueError("bytes are left over behind the record; was it written with another schema?")  # noqa: TRY301
                records.append(record)
            except Exception as error:  # noqa: BLE001 - damaged bytes can make the decoder raise anything
                reasons[index] = f"avro: {reason(error)}"
                records.append(empty)
        try:
            return avro_table(self._kinds, records), reasons
        except UnreadableUnitError:
            for index, record in enumerate(records):
                try:
                    avro_table(self._kinds, [record])
                except UnreadableUnitError as error:
                    reasons[index], records[index] = f"avro: {error}", empty
            return avro_table(self._kinds, records), reasons
