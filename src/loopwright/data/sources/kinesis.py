"""The source ``kinesis``: a data stream of Amazon Kinesis, with all its shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.data.sources.record_format import RecordFormat, record_format
from loopwright.data.sources.stream import MAX_RECORDS, MAX_SIZE, StreamBounds, checked_name, stream_bounds

if TYPE_CHECKING:
    from loopwright.data.sources.record_format import Attributes
    from loopwright.data.sources.stream import Start


@dataclass(frozen=True)
class KinesisSource:
    """A stream of Kinesis. Make it with :func:`kinesis`, which checks it."""

    stream: str
    region: str | None = None
    endpoint: str | None = None
    record: RecordFormat = field(default_factory=RecordFormat)
    bounds: StreamBounds = field(default_factory=StreamBounds)

    @property
    def kind(self) -> str:
        """``kinesis``."""
        return "kinesis"

    @property
    def name(self) -> str:
        """How ``_source`` begins; the shard follows."""
        return f"kinesis:{self.stream}"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value; how much one ingest takes is not part of it."""
        described = {"kind": self.kind, "stream": self.stream, "region": self.region, "endpoint": self.endpoint}
        return {key: value for key, value in described.items() if value is not None} | {
            "start": self.bounds.start,
            **self.record.describe(),
        }


def kinesis(
    stream: str,
    *,
    region: str | None = None,
    endpoint: str | None = None,
    format: str = "json",
    schema: str | None = None,
    message: str | None = None,
    framed: bool = False,
    attributes: Attributes = (),
    start: Start = "earliest",
    max_records: int = MAX_RECORDS,
    max_size: str = MAX_SIZE,
) -> KinesisSource:
    """Declare a data stream of Kinesis as a source.

    An ingest reads what arrived since the last one and before its own beginning, each record once. How far each shard
    was read is put on record with the rows. Where a shard was split or merged, its children are read after it, so that
    the records of a key keep their order. A shard's records are numbered as they are read: that is ``_source_row``.
    Credentials are found as AWS's own tools find them. Needs the extra ``kinesis``. Records that the producer library
    has packed into one are not taken apart.

    Args:
        stream: The stream's name.
        region: The region; by default the one that AWS's tools are set to.
        endpoint: The URL of another server that speaks Kinesis.
        format: What the values are: ``json`` (one object each), ``avro`` or ``protobuf``. One that cannot be read goes
            to the quarantine and never holds others up.
        schema: For Avro the path of its schema; for Protobuf the file that ``protoc --descriptor_set_out`` wrote.
        message: For Protobuf the full name of the message.
        framed: Whether values begin with the five bytes of a schema registry, as Confluent's serialisers write them.
        attributes: What stands beside the value and becomes a column: ``key`` (the partition key), ``part`` (the
            shard), ``offset`` (the number), ``timestamp`` (of arrival), ``headers`` (JSON with ``sequence_number``); as
            a mapping, columns by name: ``{"sent_at": "timestamp"}``.
        start: Whether the first ingest begins with the oldest record that is there, or with those that come after it.
        max_records: How many records one ingest takes at most, of all shards.
        max_size: How many bytes of values one ingest takes, as ``"256MB"``; the record that goes over it is the last.

    Raises:
        DeclarationError: If the parts do not go together.

    >>> kinesis("orders", region="eu-north-1").describe()["region"]
    'eu-north-1'
    """
    checked_name("kinesis", "stream", stream)
    record = record_format(
        "kinesis", format=format, schema=schema, message=message, framed=framed, attributes=attributes
    )
    bounds = stream_bounds("kinesis", start=start, max_records=max_records, max_size=max_size)
    return KinesisSource(stream, region, endpoint, record, bounds)
