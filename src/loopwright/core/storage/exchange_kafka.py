"""Events for events on Kafka: every partition of a topic is answered in its order, each event once.

One ``put`` is one transaction of the cluster: a frame with the notes, the place and a copy of the answers; then the
answers and dead letters; then the group's offsets. The transactional id is the consumer's name, so that a consumer that
comes later fences the one before it. Readers with ``isolation.level=read_committed`` (librdkafka's default) see all of
a put or nothing.

The place is what the newest frame says. Whoever opens the exchange, or does not know how a ``put`` ended, reads that
frame and writes those of its answers that are not there yet, told by their headers. So each event is answered once even
where a cluster takes transactions and does not carry them out (librdkafka's mock, which the tests run on).

Not for a topic whose partitions grow while the consumer runs: new ones are seen at its next start.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loopwright.core.errors import StoreError
from loopwright.core.storage.events import Event
from loopwright.core.storage.exchange import Taken, packed, unpacked
from loopwright.core.storage.kafka_scan import last_before, scanned
from loopwright.core.storage.kafka_sender import MARK, KafkaSender
from loopwright.core.storage.kafka_topics import KafkaTopics
from loopwright.core.storage.kafka_url import KafkaUrl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka import Consumer, Message

    from loopwright.core.storage.exchange import ExchangePlan, Made

_MOST_FRAME_BYTES = 600_000  # a broker takes 1 MB by default
_QUEUED_KILOBYTES = 16_384
_FETCH_WAIT_MS = 20  # brokers answer as soon as there is something; the mock cluster only then
_OVERHEAD_BYTES = 120


class _Answer(NamedTuple):
    """An answer as a frame keeps it; a dead letter's value is read from its source again."""

    partition: int
    offset: int
    is_dead: bool
    key: str | None
    value: bytes | None
    headers: dict[str, str]


class _Journal(msgspec.Struct, array_like=True):
    """Where the source's partitions go on behind a frame, where its answers begin, and the answers."""

    places: dict[int, int]
    begins: dict[int, int]
    dead_begins: int
    answers: list[_Answer]


class KafkaExchange:
    """The exchange on a Kafka cluster. Offsets are Kafka's own.

    Args:
        url: ``kafka://host:9092,…/prefix?setting=value``; see :mod:`loopwright.core.storage.kafka_url`.
        plan: The topics; one that is not there is made with one partition. Answers go to the partition of the same
            number where source and target have as many, otherwise by key.
        patience_s: How long an answer of the cluster is waited for.

    Raises:
        MissingExtraError: If ``confluent_kafka`` is not installed.
        StoreError: If the cluster does not answer, or refuses transactions.
    """

    def __init__(self, url: str, plan: ExchangePlan, *, patience_s: float = 30.0) -> None:
        self._url = KafkaUrl.parse(url)
        self._plan = plan
        self._patience_s = patience_s
        self._topics = KafkaTopics(self._url, patience_s=patience_s)
        self._frames = self._name(plan.notes or f"_exchange/{plan.consumer}")
        self._source, self._target, self._dead = (self._name(one) for one in (plan.source, plan.target, plan.dead))
        self._held: deque[Message] = deque()
        self._given: dict[int, int] = {}
        self._is_sure = True
        with self._topics.translated(f"open the consumer '{plan.consumer}'"):
            for name in (self._source, self._target, self._dead, self._frames):
                self._topics.make(name)
            counts = {name: self._counted(name) for name in (self._source, self._target, self._dead, self._frames)}
            self._partitions, self._targets = counts[self._source], counts[self._target]
            self._consumer = self._opened_consumer()
            self._consumer.list_topics(self._source, timeout=patience_s)  # a client knows no topic it has not asked for
            self._sender = self._opened_sender()
            self._places = self._recovered() or self._first_places()
            self._note_ends()
            self._assign()

    def take(self, *, limit: int, max_bytes: int, wait_s: float) -> list[Taken]:
        """Return the next events as soon as there are any: all that have come, up to both bounds, or none in time."""
        with self._topics.translated(f"read '{self._source}'"):
            if not self._held:
                first = self._consumer.poll(wait_s)
                if first is None:
                    return []
                self._keep([first])
            if len(self._held) < limit:
                self._keep(self._consumer.consume(limit - len(self._held), 0.0))
        taken: list[Taken] = []
        size = 0
        while self._held and len(taken) < limit:
            message = self._held[0]
            size += len(message.value() or b"")
            if taken and size > max_bytes:
                break
            taken.append(_taken(self._held.popleft()))
        return taken

    def put(self, taken: Sequence[Taken], made: Sequence[Made]) -> None:
        """Write all of it in one transaction, or in several of neighbours where a frame would be too large.

        Raises:
            ExchangeTakenError: If a consumer of the same name has come since.
            StoreError: If it could not be written.
        """
        if not taken:
            return
        if not self._is_sure:
            with self._topics.translated("look how the last answers ended"):
                self._sender = self._opened_sender()
                self._places = self._recovered() or self._places
                self._note_ends()
                self._is_sure = True
        left = [
            pair for pair in zip(taken, made, strict=True) if pair[0].offset >= self._places.get(pair[0].partition, 0)
        ]
        while left:
            count = _fitting(left)
            self._write([one for one, _ in left[:count]], [one for _, one in left[:count]])
            left = left[count:]

    def give_back(self) -> None:
        """Begin again behind the place."""
        with self._topics.translated(f"read '{self._source}'"):
            self._assign()

    def lag(self) -> int:
        """Return how many offsets lie behind the place."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        with self._topics.translated(f"look at '{self._source}'"):
            total = 0
            for number in range(self._partitions):
                place = TopicPartition(self._source, number)
                low, high = self._consumer.get_watermark_offsets(place, timeout=self._patience_s)
                total += max(0, high - max(low, self._places.get(number, 0)))
        return total

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()
        self._topics.close()

    # Opening.

    def _name(self, topic: str) -> str:
        name = topic.replace("/", ".")
        return f"{self._url.prefix}.{name}" if self._url.prefix else name

    def _counted(self, name: str) -> int:
        found = self._topics.reader().list_topics(name, timeout=self._patience_s).topics[name]
        return max(1, len(found.partitions))

    def _opened_consumer(self) -> Consumer:
        from confluent_kafka import Consumer  # noqa: PLC0415 - an extra

        own = {
            "group.id": self._name(self._plan.consumer),
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",  # what was trimmed before it was read is gone
            "fetch.wait.max.ms": _FETCH_WAIT_MS,
            "queued.max.messages.kbytes": _QUEUED_KILOBYTES,
        }
        return Consumer({**own, **self._url.client()})

    def _opened_sender(self) -> KafkaSender:
        return KafkaSender(self._url, self._name(self._plan.consumer), patience_s=self._patience_s)

    def _first_places(self) -> dict[int, int]:
        """Return where a consumer without a frame begins: the group's offsets, or as the plan says."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        asked = [TopicPartition(self._source, number) for number in range(self._partitions)]
        found = self._consumer.committed(asked, timeout=self._patience_s)
        places = {one.partition: one.offset for one in found if one.offset >= 0}
        for number in set(range(self._partitions)) - places.keys():
            low, high = self._consumer.get_watermark_offsets(asked[number], timeout=self._patience_s)
            places[number] = int(high if self._plan.start == "latest" else low)
        if self._plan.start == "latest":
            self._commit(places)  # what comes from here on is new, also for the next start
        return places

    def _recovered(self) -> dict[int, int] | None:
        """Read the newest frame, write what is missing of its answers, and return the places behind it."""
        newest = last_before(self._topics.reader(), self._frames, patience_s=self._patience_s)
        if newest is None:
            return None
        journal = msgspec.msgpack.decode(unpacked(newest.value() or b"").journal, type=_Journal)
        seen = {
            dict(message.headers() or ()).get(MARK, b"")
            for name, begins in ((self._target, journal.begins), (self._dead, {0: journal.dead_begins}))
            for number, begin in begins.items()
            for message in scanned(self._topics.reader(), name, number, begin, patience_s=self._patience_s)
        }
        missing = [one for one in journal.answers if self._mark(one.partition, one.offset) not in seen]
        if missing:
            self._sender.begin()
            self._send(missing, {})
            self._sender.end()
        return {number: journal.places.get(number, 0) for number in range(self._partitions)}

    def _note_ends(self) -> None:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        def end(name: str, number: int) -> int:
            place = TopicPartition(name, number)
            return int(self._topics.reader().get_watermark_offsets(place, timeout=self._patience_s)[1])

        places = [(self._dead, 0), *((self._target, number) for number in range(self._targets))]
        self._sender.ends.update({place: end(*place) for place in places})

    def _assign(self) -> None:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        self._held.clear()
        self._consumer.assign([TopicPartition(self._source, number, at) for number, at in self._places.items()])

    # Reading.

    def _keep(self, messages: Sequence[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is None:
                self._held.append(message)
            elif error.fatal() or not error.retriable():
                raise StoreError(
                    f"Could not read '{self._source}': Kafka at {self._url.servers}: {error.str()}.",
                    hint="Check that the brokers are up and that [stream] url says how to reach them.",
                )

    # Writing.

    def _write(self, taken: Sequence[Taken], made: Sequence[Made]) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - an extra

        places = dict(self._places)
        for one in taken:
            places[one.partition] = one.offset + 1
        answers = [
            _Answer(
                one.partition,
                one.offset,
                answer.is_dead,
                answer.event.key,
                None if answer.is_dead and answer.event.value == one.value else answer.event.value,
                dict(answer.event.headers),
            )
            for one, answer in zip(taken, made, strict=True)
        ]
        ends = self._sender.ends
        begins = {number: ends[self._target, number] for number in range(self._targets)}
        journal = msgspec.msgpack.encode(_Journal(places, begins, ends[self._dead, 0], answers))
        frame = packed([one.note for one in made if one.note is not None], journal)
        values = {(one.partition, one.offset): one.value for one in taken}
        try:
            self._is_sure = False
            self._sender.begin()
            self._sender.produce(self._frames, 0, Event(None, frame))
            self._sender.flush()  # without transactions the frame must be there before the first answer is
            self._send(answers, values)
            self._sender.commit(_offsets(self._source, places), self._consumer)
        except KafkaException as error:
            raise self._sender.failed(error.args[0]) from error
        self._is_sure = True
        self._places = places
        self._commit(places)

    def _send(self, answers: Sequence[_Answer], values: Mapping[tuple[int, int], bytes]) -> None:
        for one in answers:
            value = one.value
            if value is None:
                value = values.get((one.partition, one.offset))
            if value is None:
                value = self._value_at(one.partition, one.offset)
            event, mark = Event(one.key, value, one.headers), self._mark(one.partition, one.offset)
            if one.is_dead:
                self._sender.produce(self._dead, 0, event, mark=mark)
            else:
                self._sender.produce(self._target, self._target_of(one.partition), event, mark=mark)
        self._sender.flush()

    def _target_of(self, partition: int) -> int:
        if self._targets == 1:
            return 0
        return partition if self._targets == self._partitions else -1  # by key

    def _commit(self, places: Mapping[int, int]) -> None:
        """Tell the group's offsets to those who watch its lag; the frames say where it goes on."""
        self._consumer.commit(offsets=_offsets(self._source, places), asynchronous=True)

    def _value_at(self, partition: int, offset: int) -> bytes:
        for message in scanned(
            self._topics.reader(), self._source, partition, offset, patience_s=self._patience_s, limit=1
        ):
            if message.offset() == offset:
                return message.value() or b""
        return b""

    def _mark(self, partition: int, offset: int) -> bytes:
        return f"{self._plan.consumer}/{partition}/{offset}".encode()


def _taken(message: Message) -> Taken:
    key, value = message.key(), message.value()
    given: Any = message.headers() or ()
    return Taken(
        int(message.partition() or 0),
        int(message.offset() or 0),
        None if key is None else _text(key),
        value if isinstance(value, bytes) else b"",
        {name: _text(text) for name, text in given if name != MARK},
        message.timestamp()[1] * 1000,
    )


def _text(value: object) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value or "")


def _fitting(left: Sequence[tuple[Taken, Made]]) -> int:
    """Return how many of the next answers fit one frame; at least one."""
    size = 0
    for index, (_, answer) in enumerate(left):
        value = 0 if answer.is_dead else len(answer.event.value)
        size += len(answer.note or b"") + value + _OVERHEAD_BYTES
        size += sum(len(key) + len(text) for key, text in answer.event.headers.items())
        if index and size > _MOST_FRAME_BYTES:
            return index
    return len(left)


def _offsets(name: str, places: Mapping[int, int]) -> list[Any]:
    from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

    return [TopicPartition(name, number, place) for number, place in places.items()]
