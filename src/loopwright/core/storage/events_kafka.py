"""The event log on Kafka: one topic of the log is one topic of the cluster with a single partition.

Offset ``n`` of the log is offset ``n - 1`` of Kafka. What the port promises and Kafka does not:

- *an append becomes visible at once*: it does where it fits one batch of the producer (``batch.size``); a longer one
  may be seen in parts, and another process may append between the parts. Transactions would close this and leave an
  offset without an event behind each append;
- *a repeated append adds nothing*: as long as one process at a time speaks for a producer, and the cluster keeps the
  offsets of idle groups (``offsets.retention.minutes``, a week by default), where the producer's place is noted;
- *offsets have no gaps*: in topics that are written by this class; not where others write with transactions, or the
  cluster compacts.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import (
    DeclarationError,
    StoreError,
)
from loopwright.core.storage.events import Event, StoredEvent
from loopwright.core.storage.kafka_topics import KafkaTopics
from loopwright.core.storage.kafka_url import KafkaUrl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOPIC = re.compile(r"[A-Za-z0-9_/.-]{1,200}")
_APPEND = "loopwright-append"  # the header of an event whose append may be repeated
_PIECE = 10_000


@dataclass(frozen=True)
class _Appended:
    """An append of a producer that may be repeated, as far as it is in the topic: offset by place."""

    sequence: int
    count: int
    offsets: dict[int, int]


class KafkaEventLog:
    """The event log on a Kafka cluster, for the processes of many machines.

    Durable when ``append`` returns: every in-sync replica has the events (``acks=all``). A topic's name may hold
    letters, digits, ``_``, ``-``, ``.`` and ``/``, which Kafka sees as a dot: ``a/b`` and ``a.b`` are one topic. Each
    thread has its own connection, and so has each forked child. Nothing is connected before it is needed.

    Args:
        url: ``kafka://host:9092,…/prefix?setting=value``; see :mod:`loopwright.core.storage.kafka_url`.
        patience_s: How long an answer of the cluster is waited for.

    Raises:
        MissingExtraError: If ``confluent_kafka`` is not installed.
    """

    def __init__(self, url: str, *, patience_s: float = 30.0) -> None:
        self._url = KafkaUrl.parse(url)
        self._patience_s = patience_s
        self._topics = KafkaTopics(self._url, patience_s=patience_s)
        self._lock = threading.RLock()

    def append(
        self, topic: str, events: Sequence[Event], *, producer: str | None = None, sequence: int | None = None
    ) -> list[int]:
        """Append the events and return their offsets; a repeated ``(producer, sequence)`` adds nothing.

        Raises:
            StoreError: If the cluster did not take all of them in time; says how many it took.
            DeclarationError: ``producer`` without ``sequence``, a sequence older than the producer's last, or a name
                that Kafka does not allow.
        """
        if (producer is None) != (sequence is None):
            raise DeclarationError("An idempotent append needs both producer and sequence.", hint="Give both, or none.")
        name = self._name(topic)
        if not events:
            return []
        with self._topics.translated(f"append to '{topic}'"), self._lock:
            self._topics.make(name)
            if producer is None or sequence is None:
                offsets = self._produce(name, dict(enumerate(events)), {})
                return [offsets[place] for place in range(len(events))]
            return self._append_once(name, events, producer, sequence)

    def read(self, topic: str, *, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Return up to ``limit`` events behind offset ``after``, in order; none from a topic that is not there."""
        name = self._name(topic)
        with self._topics.translated(f"read '{topic}'"):
            return [_stored(message) for message in self._topics.messages(name, after, limit)]

    def end(self, topic: str) -> int:
        """Return the offset of the topic's newest event, 0 when there has been none.

        Raises:
            StoreError: If others wrote to further partitions of the topic, which have no place in a log in order.
        """
        return self._topics.bounds(self._name(topic))[1]

    def start(self, topic: str) -> int:
        """Return the offset up to which the topic has been trimmed, 0 when never."""
        return self._topics.bounds(self._name(topic))[0]

    def topics(self) -> list[str]:
        """List the topics that begin with the URL's prefix, by name; those that Kafka keeps for itself are left out."""
        prefix = f"{self._url.prefix}." if self._url.prefix else ""
        inside = (
            name.removeprefix(prefix)
            for name in self._topics.names()
            if name.startswith(prefix) and not name.startswith("__")
        )
        return sorted(name.replace(".", "/") for name in inside)

    def committed(self, topic: str, group: str) -> int:
        """Return the offset the group committed last, 0 when it has not yet."""
        with self._topics.translated(f"read the offset of group '{group}'"):
            return self._place(self._name(topic), group)[0]

    def commit(self, topic: str, group: str, offset: int) -> None:
        """Note that the group is done with everything up to ``offset``; the newest call counts, back or forth.

        Raises:
            DeclarationError: the offset is negative or behind the topic's end.
        """
        end = self.end(topic)
        if not 0 <= offset <= end:
            raise DeclarationError(
                f"Group '{group}' cannot commit offset {offset} of topic '{topic}', which ends at {end}.",
                hint="Commit the offset of an event that was read.",
            )
        with self._topics.translated(f"commit the offset of group '{group}'"):
            self._set_place(self._name(topic), group, offset)

    def trim(self, topic: str, up_to: int) -> int:
        """Remove the events up to offset ``up_to`` and return how many went; offsets of the others stay."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        name = self._name(topic)
        start, end = self._topics.bounds(name)
        before = min(up_to, end)
        if before <= start:
            return 0
        with self._topics.translated(f"trim '{topic}'"):
            admin = self._topics.admin()
            asked = admin.delete_records([TopicPartition(name, 0, before)], request_timeout=self._patience_s)
            for future in asked.values():
                future.result(self._patience_s)
        return before - start

    def close(self) -> None:
        """Close this thread's connections; using the log again opens new ones."""
        self._topics.close()

    def _name(self, topic: str) -> str:
        if not _TOPIC.fullmatch(topic):
            raise DeclarationError(
                f"'{topic[:200]}' cannot be the name of a topic on Kafka.",
                hint="Use letters, digits, '_', '-', '.' and '/'.",
            )
        name = topic.replace("/", ".")
        return f"{self._url.prefix}.{name}" if self._url.prefix else name

    def _produce(self, name: str, events: dict[int, Event], marks: dict[int, bytes]) -> dict[int, int]:
        """Send events, one behind the other, and return the offset of each by its place."""
        producer = self._topics.sender()
        offsets: dict[int, int] = {}
        errors: list[Any] = []

        def delivered(place: int, error: object, message: Message) -> None:
            if error is not None:
                errors.append(error)
            else:
                offsets[place] = int(message.offset() or 0) + 1

        for place, event in events.items():
            headers = [(key, text.encode()) for key, text in event.headers.items()]
            if place in marks:
                headers.append((_APPEND, marks[place]))
            while True:
                try:
                    producer.produce(
                        name,
                        event.value,
                        event.key,
                        partition=0,
                        headers=headers,  # type: ignore[arg-type]
                        on_delivery=partial(delivered, place),
                    )
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
        producer.flush(self._patience_s * 2)
        if len(offsets) < len(events):
            reason = errors[0].str() if errors else "no answer"
            raise StoreError(
                f"Kafka took {len(offsets)} of {len(events)} events for '{name}': {reason}.",
                hint="Check that the brokers are up, then append again; with producer= and sequence= nothing doubles.",
            )
        return offsets

    def _append_once(self, name: str, events: Sequence[Event], producer: str, sequence: int) -> list[int]:
        """Append what is not there yet.

        The producer's last finished append is noted as the metadata of a group's offset. What it appended since, and
        did not live to note, lies behind that offset and carries its name.
        """
        group = f"loopwright-producer.{producer}"
        noted, last = self._place(name, group)
        end = self._topics.bounds(name)[1]
        if last is None:  # noted before the first append, so that a repeated one has not to read all of the topic
            self._set_place(name, group, end, _Appended(-1, 0, {}))
            noted, last = end, _Appended(-1, 0, {})
        if noted < end:
            last = self._unnoted(name, noted, end, producer, last)
        if last.sequence > sequence:
            raise DeclarationError(
                f"Producer '{producer}' appended number {last.sequence} to '{name}' and now comes with {sequence}.",
                hint="Only the last append can be repeated; count on from there.",
            )
        done = last.offsets if last.sequence == sequence else {}
        if last.sequence == sequence and len(done) == last.count:
            return [done[place] for place in range(last.count)]
        missing = {place: event for place, event in enumerate(events) if place not in done}
        marks = {place: json.dumps([producer, sequence, place, len(events)]).encode() for place in missing}
        offsets = done | self._produce(name, missing, marks)
        self._set_place(name, group, max(offsets.values()), _Appended(sequence, len(events), offsets))
        return [offsets[place] for place in range(len(events))]

    def _unnoted(self, name: str, noted: int, end: int, producer: str, last: _Appended) -> _Appended:
        while noted < end:
            messages = self._topics.messages(name, noted, _PIECE)
            if not messages:
                break
            for message in messages:
                mark = dict(message.headers() or ()).get(_APPEND)
                if mark is None:
                    continue
                who, sequence, place, count = json.loads(mark)
                if who != producer:
                    continue
                if sequence != last.sequence:
                    last = _Appended(sequence, count, {})
                last.offsets[place] = int(message.offset() or 0) + 1
            noted = int(messages[-1].offset() or 0) + 1
        return last

    # Groups.

    def _place(self, name: str, group: str) -> tuple[int, _Appended | None]:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        (found,) = self._topics.member(group).committed([TopicPartition(name, 0)], timeout=self._patience_s)
        noted = None
        if found.metadata:
            sequence, count, runs = json.loads(found.metadata)
            places = [offset for first, length in runs for offset in range(first, first + length)]
            noted = _Appended(sequence, count, dict(enumerate(places)))
        return max(found.offset, 0), noted

    def _set_place(self, name: str, group: str, offset: int, noted: _Appended | None = None) -> None:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        place = TopicPartition(name, 0, offset)
        if noted is not None:
            runs: list[list[int]] = []
            for number in (noted.offsets[index] for index in range(len(noted.offsets))):
                if runs and number == sum(runs[-1]):
                    runs[-1][1] += 1
                else:
                    runs.append([number, 1])
            place = TopicPartition(name, 0, offset, json.dumps([noted.sequence, noted.count, runs]))
        self._topics.member(group).commit(offsets=[place], asynchronous=False)


def _stored(message: Message) -> StoredEvent:
    key = message.key()
    value = message.value()
    given: Any = message.headers() or ()
    headers = {name: _text(text) for name, text in given if name != _APPEND}
    return StoredEvent(
        offset=int(message.offset() or 0) + 1,
        key=None if key is None else _text(key),
        value=value if isinstance(value, bytes) else b"",
        headers=headers,
        appended_at=_EPOCH + timedelta(milliseconds=message.timestamp()[1]),
    )


def _text(value: object) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value or "")
