"""Events for events: one consumer of a topic that writes what it makes of each event exactly once.

The place up to which the topic was read, what was made of the events, the dead letters and the consumer's notes become
durable together, so that a consumer killed at any moment goes on at the first event it has not answered, and answers
none twice. Two adapters: :class:`~loopwright.core.storage.exchange_sqlite.SqliteExchange`, and on Kafka
:class:`~loopwright.core.storage.exchange_kafka.KafkaExchange`. ``conformance.exchange`` holds the tests both pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.core.storage.events import Event

Start = Literal["earliest", "latest"]


@dataclass(frozen=True)
class ExchangePlan:
    """Which topics a consumer reads and writes.

    Attributes:
        consumer: Its name, under which its place is kept.
        source: The topic it reads.
        target: The topic for what it makes.
        dead: The topic for events that it cannot use.
        notes: The topic for its own notes, or None where it keeps none.
        start: Where a consumer without a place begins: with the oldest event that is there, or behind the newest.
    """

    consumer: str
    source: str
    target: str
    dead: str
    notes: str | None = None
    start: Start = "earliest"


class Taken(NamedTuple):
    """An event as it was read.

    Attributes:
        partition: Part of the topic; events of one part have an order.
        offset: Place in the part, growing; on SQLite it begins at 1, on Kafka at 0.
        at_us: When it was appended, microseconds since 1970 UTC.
    """

    partition: int
    offset: int
    key: str | None
    value: bytes
    headers: Mapping[str, str]
    at_us: int


class Made(NamedTuple):
    """What was made of one event: an output or a dead letter, and a note in MessagePack, or None."""

    event: Event
    is_dead: bool
    note: bytes | None = None


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """The value of an event in the topic of notes.

    Attributes:
        notes: A MessagePack array of the notes of one ``put``, in order.
        journal: What the adapter needs to complete a ``put`` that was killed half-way, or nil.
    """

    notes: msgspec.Raw
    journal: msgspec.Raw = msgspec.Raw(b"\xc0")


@runtime_checkable
class Exchange(Protocol):
    """The one living consumer of a topic; used by one thread.

    ``take`` gives events in the order of their part; ``put`` answers what was taken. What ``put`` returned for is
    durable and never taken again; what it raised for is either wholly absent or completed by the next ``put`` of the
    same events, or by whoever opens the exchange next.
    """

    def take(self, *, limit: int, max_bytes: int, wait_s: float) -> list[Taken]:
        """Return the next events as soon as there are any: all that are there, up to both bounds, or none in time.

        The first is returned whatever its size. Must not be called again before they are put, or given back.
        """
        ...

    def put(self, taken: Sequence[Taken], made: Sequence[Made]) -> None:
        """Write what was made of the events just taken, in their order, and move the place behind them.

        Raises:
            StoreError: If it could not be written; call it again with the same events, or ``give_back``.
            ExchangeTakenError: If another consumer of this name has moved the place; nothing was written.
        """
        ...

    def give_back(self) -> None:
        """Forget what was taken and not put: it is taken again."""
        ...

    def lag(self) -> int:
        """Return how many events lie behind the place."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


_frames = msgspec.msgpack.Encoder()
_reader = msgspec.msgpack.Decoder(Frame)


def packed(notes: Sequence[bytes], journal: bytes | None = None) -> bytes:
    r"""Put notes into a frame, each of them one MessagePack value.

    >>> bytes(unpacked(packed([b"\x01", b"\x02"])).notes)
    b'\x92\x01\x02'
    """
    raw = msgspec.Raw(_frames.encode([msgspec.Raw(note) for note in notes]))
    return _frames.encode(Frame(raw) if journal is None else Frame(raw, msgspec.Raw(journal)))


def unpacked(value: bytes) -> Frame:
    """Read a frame back."""
    return _reader.decode(value)
