"""How a model answers events: the declaration behind ``loop.deploy(model, stream=lw.stream("orders"))``.

Light on purpose: a project file imports this, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.core.sizes import parse_size
from loopwright.data.sources.record_format import RecordFormat, record_format
from loopwright.data.sources.stream import checked_name

if TYPE_CHECKING:
    from loopwright.data.sources.stream import Start

MAX_ROWS = 1_000
MAX_SIZE = "4MB"
FAILURES_IN_A_ROW = 100


@dataclass(frozen=True)
class StreamDeployment:
    """Which topic a model answers, and where its answers go. Make it with `stream`, which checks it.

    Attributes:
        topic: Events are read from here.
        to: Predictions are written here, one per event.
        dead_letter: Events that cannot be answered are written here, unchanged, with the reason in their headers.
        key: The field of an event's value that names its row and sticks to a version in a canary; None for the
            event's own key.
        record: How values are read.
        start: Where the first start begins: with the oldest event that is there, or behind the newest.
        max_rows: Events that are computed in one call at most.
        max_bytes: Bytes of values that are held at once; an event that is larger comes alone.
        metrics_port: Port on loopback where Prometheus finds the stream's metrics; None for none.
        failures_in_a_row: Events in a row on which a version may fail before the stream waits for another; None for
            any number.
    """

    topic: str
    to: str
    dead_letter: str
    key: str | None = None
    record: RecordFormat = field(default_factory=RecordFormat)
    start: Start = "earliest"
    max_rows: int = MAX_ROWS
    max_bytes: int = 4_000_000
    metrics_port: int | None = None
    failures_in_a_row: int | None = FAILURES_IN_A_ROW


def stream(
    topic: str,
    *,
    to: str | None = None,
    dead_letter: str | None = None,
    key: str | None = None,
    format: str = "json",
    schema: str | None = None,
    message: str | None = None,
    framed: bool = False,
    start: Start = "earliest",
    max_rows: int = MAX_ROWS,
    max_size: str = MAX_SIZE,
    metrics_port: int | None = None,
    failures_in_a_row: int | None = FAILURES_IN_A_ROW,
) -> StreamDeployment:
    """Declare that a model answers the events of a topic of the event log (``[stream] url`` says where that is).

    Every event is answered once: by a prediction in ``to``, or by a copy of itself in ``dead_letter`` with the reason.
    Events of one partition (on SQLite: of the topic) are answered in their order.

    Args:
        topic: The topic; values are request rows.
        to: The topic for predictions; ``<topic>.predictions`` by default.
        dead_letter: The topic for what cannot be answered; ``<topic>.dead`` by default.
        key: The field whose value names the row, for outcomes and for sticking to a version in a canary; the event's
            own key by default.
        format: What the values are: ``json`` (one object each), ``avro`` or ``protobuf``.
        schema: For Avro the path of its schema; for Protobuf the file that ``protoc --descriptor_set_out`` wrote.
        message: For Protobuf the full name of the message.
        framed: Whether values begin with the five bytes of a schema registry.
        start: ``"earliest"`` answers what is there before the first start; ``"latest"`` only what comes after.
        max_rows: How many events one call of the model takes at most; what is there is taken, nothing is waited for.
        max_size: How many bytes of values are held at once, as ``"4MB"``.
        metrics_port: A port on loopback for Prometheus; none by default.
        failures_in_a_row: When a version fails on so many events in a row, the stream waits for another version and
            no further event becomes a dead letter; None sends all of them there.

    Raises:
        DeclarationError: If the parts do not go together.

    >>> stream("orders").to, stream("orders").dead_letter
    ('orders.predictions', 'orders.dead')
    """
    checked_name("stream", "topic", topic)
    names = {"topic": topic, "to": to or f"{topic}.predictions", "dead_letter": dead_letter or f"{topic}.dead"}
    for name in names.values():
        checked_name("stream", "topic", name)
    if len(set(names.values())) < len(names):
        listed = ", ".join(f"{word}={name!r}" for word, name in names.items())
        raise DeclarationError(f"stream(): the three topics must differ, got {listed}.", hint="Name them apart.")
    if start not in ("earliest", "latest"):
        raise DeclarationError(f"stream(): start={start!r} is not known.", hint="Say 'earliest' or 'latest'.")
    if max_rows < 1:
        raise DeclarationError(f"stream(): max_rows={max_rows} takes nothing.", hint="Give 1 or more.")
    if metrics_port is not None and not 0 < metrics_port < 65_536:
        raise DeclarationError(f"stream(): metrics_port={metrics_port} is no port.", hint="Give 1 to 65535.")
    if failures_in_a_row is not None and failures_in_a_row < 1:
        raise DeclarationError(
            f"stream(): failures_in_a_row={failures_in_a_row} would never answer.", hint="Give 1 or more, or None."
        )
    record = record_format("stream", format=format, schema=schema, message=message, framed=framed, attributes=())
    return StreamDeployment(
        topic,
        names["to"],
        names["dead_letter"],
        key,
        record,
        start,
        max_rows,
        parse_size(max_size),
        metrics_port,
        failures_in_a_row,
    )
