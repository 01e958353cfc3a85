"""Records of a stream as columns: decoded one by one, so that one that cannot be read keeps only itself back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.errors import SourceError
from loopwright.data.sources.avro_records import AvroRecords
from loopwright.data.sources.json_records import JsonRecords
from loopwright.data.sources.protobuf_records import ProtobufRecords
from loopwright.data.sources.unit import DEFECT, ROW, SHOWN_CHARACTERS, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loopwright.data.sources.record_format import RecordFormat
    from loopwright.data.sources.record_frame import RecordDecoder

SOURCE = "_source"
_MOMENT = pa.timestamp("us", tz="UTC")


@dataclass
class Records:
    """Some records in the order in which they came; one list per attribute, all of one length.

    Attributes:
        sources: What rows carry as ``_source``: the stream and its part.
        parts: The partition or shard.
        offsets: What rows carry as ``_source_row``.
        values: The content; None where there is none.
        keys: The keys, or None.
        times_ms: Milliseconds since 1970, or None.
        headers: What stands beside the values, or None.
    """

    sources: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    times_ms: list[int | None] = field(default_factory=list)
    headers: list[Mapping[str, str] | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def cut(self, count: int) -> None:
        """Keep the first ``count`` records."""
        for name in ("sources", "parts", "offsets", "values", "keys", "times_ms", "headers"):
            del getattr(self, name)[count:]

    @property
    def size_bytes(self) -> int:
        """The bytes of the values."""
        return sum(len(value) for value in self.values if value is not None)


def decoder_of(declared: RecordFormat, project: Path) -> RecordDecoder:
    """Return the decoder of a format.

    Raises:
        SourceError: If the schema is missing or is none.
        MissingExtraError: If the package for the format is not installed.
    """
    if declared.format == "json":
        return JsonRecords(is_framed=declared.framed)
    path = project / str(declared.schema)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"The schema {declared.schema} cannot be read: {error.strerror}.", hint="Correct schema= in the project."
        ) from error
    if declared.format == "avro":
        return AvroRecords(content, str(declared.schema), is_framed=declared.framed)
    return ProtobufRecords(content, str(declared.schema), str(declared.message), is_framed=declared.framed)


def rows_of(records: Records, decoder: RecordDecoder, declared: RecordFormat) -> pa.Table:
    """Return the records as rows with ``_source``, ``_source_row`` and the attributes asked for.

    A record that cannot be decoded, or has no value, comes as a defect with the beginning of its text.
    """
    table, reasons = decoder.table(records.values)
    for name in (SOURCE, ROW, DEFECT, TEXT):
        table, reasons = _without(table, reasons, name, f"columns: the column '{name}' has a name kept for the system")
    for name, what in declared.attributes:
        message = f"attributes: the column '{name}' is in the value, too; give the attribute another name"
        table, reasons = _without(table, reasons, name, message)
        table = table.append_column(name, _attribute(records, what))
    if any(reasons):
        texts = [
            None if reason is None else _shown(value) for reason, value in zip(reasons, records.values, strict=True)
        ]
        table = table.append_column(DEFECT, pa.array(reasons, pa.string()))
        table = table.append_column(TEXT, pa.array(texts, pa.string()))
    table = table.append_column(SOURCE, pa.array(records.sources, pa.string()))
    return table.append_column(ROW, pa.array(records.offsets, pa.int64()))


def _without(table: pa.Table, reasons: list[str | None], name: str, message: str) -> tuple[pa.Table, list[str | None]]:
    """Leave out a column whose name is taken; rows that have a value in it are defects."""
    if name not in table.column_names:
        return table, reasons
    present = table[name].is_valid().to_pylist()
    found = [reason or (message if there else None) for reason, there in zip(reasons, present, strict=True)]
    return table.drop_columns([name]), found


def _attribute(records: Records, what: str) -> pa.Array:
    if what == "key":
        return pa.array([None if key is None else _text(key) for key in records.keys], pa.string())
    if what == "part":
        if all(part.isdigit() for part in records.parts):  # a partition is a number, a shard has a name
            return pa.array([int(part) for part in records.parts], pa.int64())
        return pa.array(records.parts, pa.string())
    if what == "offset":
        return pa.array(records.offsets, pa.int64())
    if what == "timestamp":
        return pa.array(records.times_ms, pa.timestamp("ms", tz="UTC")).cast(_MOMENT)
    return pa.array([None if one is None else json.dumps(dict(one)) for one in records.headers], pa.string())


def _shown(value: bytes | None) -> str:
    return "" if value is None else _text(value[: SHOWN_CHARACTERS * 4])[:SHOWN_CHARACTERS]


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
