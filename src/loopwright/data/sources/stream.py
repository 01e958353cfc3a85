"""The source ``events``: a topic of the workspace's own event log, embedded or on Kafka."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from loopwright.core.errors import DeclarationError
from loopwright.core.sizes import parse_size
from loopwright.data.sources.record_format import RecordFormat, record_format

if TYPE_CHECKING:
    from loopwright.data.sources.record_format import Attributes

Start = Literal["earliest", "latest"]
_LONGEST_NAME = 150  # with a partition behind it, it names a mark
MAX_RECORDS = 500_000
MAX_SIZE = "256MB"


@dataclass(frozen=True)
class StreamBounds:
    """How much of a stream one ingest takes, and where the first one begins. Make it with :func:`stream_bounds`."""

    start: Start = "earliest"
    max_records: int = MAX_RECORDS
    max_bytes: int = 256_000_000


@dataclass(frozen=True)
class EventsSource:
    """A topic of the event log."""

    topic: str
    record: RecordFormat = field(default_factory=RecordFormat)
    bounds: StreamBounds = field(default_factory=StreamBounds)

    @property
    def kind(self) -> str:
        """``events``."""
        return "events"

    @property
    def name(self) -> str:
        """What rows carry as ``_source``."""
        return f"events:{self.topic}"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value; how much one ingest takes is not part of it."""
        return {"kind": self.kind, "topic": self.topic, "start": self.bounds.start, **self.record.describe()}


def events(
    topic: str,
    *,
    format: str = "json",
    schema: str | None = None,
    message: str | None = None,
    framed: bool = False,
    attributes: Attributes = (),
    start: Start = "earliest",
    max_records: int = MAX_RECORDS,
    max_size: str = MAX_SIZE,
) -> EventsSource:
    """Declare a topic of the workspace's event log as a source: ``[stream] url`` in the settings says where it is.

    An ingest reads what was appended since the last one, up to the topic's end at its beginning. How far it came is
    put on record with the rows, so that nothing is lost or read twice, whatever is killed.

    Args:
        topic: The topic.
        format: What the values are: ``json`` (one object each), ``avro`` or ``protobuf``. One that cannot be read goes
            to the quarantine with its offset and never holds others up.
        schema: For Avro the path of its schema; for Protobuf the file that ``protoc --descriptor_set_out`` wrote.
        message: For Protobuf the full name of the message.
        framed: Whether values begin with the five bytes of a schema registry, as Confluent's serialisers write them.
        attributes: What stands beside the value and becomes a column: ``key``, ``part``, ``offset``, ``timestamp``,
            ``headers`` (JSON); as a mapping, columns by name: ``{"sent_at": "timestamp"}``.
        start: Whether the first ingest begins with the oldest record that is there, or behind the newest.
        max_records: How many records one ingest takes at most.
        max_size: How many bytes of values one ingest takes, as ``"256MB"``; the record that goes over it is the last.

    Raises:
        DeclarationError: If the parts do not go together.

    >>> events("orders").describe()
    {'kind': 'events', 'topic': 'orders', 'start': 'earliest', 'format': 'json'}
    """
    checked_name("events", "topic", topic)
    record = record_format(
        "events", format=format, schema=schema, message=message, framed=framed, attributes=attributes
    )
    return EventsSource(topic, record, stream_bounds("events", start=start, max_records=max_records, max_size=max_size))


def stream_bounds(source: str, *, start: str, max_records: int, max_size: str) -> StreamBounds:
    """Check how much one ingest takes.

    Raises:
        DeclarationError: If it could take nothing, or ``start`` is unknown.
    """
    if start not in get_args(Start):
        raise DeclarationError(f"{source}(): start={start!r} is not known.", hint="Say 'earliest' or 'latest'.")
    if max_records < 1:
        raise DeclarationError(f"{source}(): max_records={max_records} takes nothing.", hint="Give 1 or more.")
    return StreamBounds(start, max_records, parse_size(max_size))  # type: ignore[arg-type]


def checked_name(source: str, what: str, name: str) -> None:
    """Refuse a name of a topic or stream that cannot be one.

    Raises:
        DeclarationError: If it is empty or too long.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME:
        raise DeclarationError(
            f"{source}(): {name!r} cannot be the name of a {what}.", hint=f"Use 1 to {_LONGEST_NAME} characters."
        )
