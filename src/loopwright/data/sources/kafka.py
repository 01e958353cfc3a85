"""The source ``kafka``: a topic of any Kafka cluster, with all its partitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.core.storage.kafka_url import masked
from loopwright.data.sources.record_format import RecordFormat, record_format
from loopwright.data.sources.stream import MAX_RECORDS, MAX_SIZE, StreamBounds, checked_name, stream_bounds

if TYPE_CHECKING:
    from loopwright.data.sources.record_format import Attributes
    from loopwright.data.sources.stream import Start


@dataclass(frozen=True)
class KafkaSource:
    """A topic of a Kafka cluster. Make it with :func:`kafka`, which checks it."""

    servers: str = field(repr=False)  # may hold a password
    topic: str = ""
    group: str | None = None
    record: RecordFormat = field(default_factory=RecordFormat)
    bounds: StreamBounds = field(default_factory=StreamBounds)
    patience_s: float = 30.0

    @property
    def kind(self) -> str:
        """``kafka``."""
        return "kafka"

    @property
    def name(self) -> str:
        """How ``_source`` begins; the partition follows: ``kafka:orders/3``."""
        return f"kafka:{self.topic}"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value, without passwords; how much one ingest takes is not part of it."""
        described: dict[str, object] = {"kind": self.kind, "servers": masked(self.servers), "topic": self.topic}
        if self.group is not None:
            described["group"] = self.group
        return described | {"start": self.bounds.start, **self.record.describe()}


def kafka(
    servers: str,
    topic: str,
    *,
    group: str | None = None,
    format: str = "json",
    schema: str | None = None,
    message: str | None = None,
    framed: bool = False,
    attributes: Attributes = (),
    start: Start = "earliest",
    max_records: int = MAX_RECORDS,
    max_size: str = MAX_SIZE,
    patience_s: float = 30.0,
) -> KafkaSource:
    """Declare a topic of a Kafka cluster as a source.

    An ingest reads what was written since the last one, up to the ends that the partitions have at its beginning; new
    partitions are read from their oldest record. How far it came is put on record in the transaction that makes the
    rows visible, so that nothing is lost or read twice, whatever is killed. Needs the extra ``kafka``.

    Args:
        servers: ``host:9092,other:9092``; or the name of a connection in the settings, which may hold user, password
            and any setting of librdkafka: ``[sources] shop = "kafka://user:password@host:9092?ssl.ca.location=ca.pem"``.
        topic: The topic.
        group: A consumer group whose offsets follow each ingest, for those who watch its lag. Where the ingest begins
            is not read from it.
        format: What the values are: ``json`` (one object each), ``avro`` or ``protobuf``. One that cannot be read, or
            is empty, goes to the quarantine with partition and offset, and never holds others up.
        schema: For Avro the path of its schema; for Protobuf the file that ``protoc --descriptor_set_out`` wrote.
        message: For Protobuf the full name of the message.
        framed: Whether values begin with the five bytes of a schema registry, as Confluent's serialisers write them.
        attributes: What stands beside the value and becomes a column: ``key``, ``part`` (the partition), ``offset``,
            ``timestamp``, ``headers`` (JSON); as a mapping, columns by name: ``{"sent_at": "timestamp"}``.
        start: Whether the first ingest begins with the oldest record that is there, or behind the newest.
        max_records: How many records one ingest takes at most, of all partitions.
        max_size: How many bytes of values one ingest takes, as ``"256MB"``; the record that goes over it is the last.
        patience_s: How long the cluster may be silent before the ingest fails, in seconds.

    Raises:
        DeclarationError: If the parts do not go together.

    >>> kafka("localhost:9092", "orders", attributes={"sent_at": "timestamp"}).describe()["attributes"]
    {'sent_at': 'timestamp'}
    """
    checked_name("kafka", "topic", topic)
    if not isinstance(servers, str) or not servers.strip():
        raise DeclarationError("kafka(): no broker is named.", hint="Write kafka('host:9092', 'orders').")
    record = record_format("kafka", format=format, schema=schema, message=message, framed=framed, attributes=attributes)
    bounds = stream_bounds("kafka", start=start, max_records=max_records, max_size=max_size)
    return KafkaSource(servers, topic, group, record, bounds, patience_s)
