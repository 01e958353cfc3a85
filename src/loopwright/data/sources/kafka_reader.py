"""Reads the partitions of a Kafka topic, assigned by hand: the marks say where to begin, no group does."""

from __future__ import annotations

import contextlib
from itertools import compress
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import MissingExtraError, SettingsError, SourceError
from loopwright.core.storage.kafka_url import KafkaUrl
from loopwright.data.sources.records import Records
from loopwright.data.sources.secret import connection
from loopwright.data.sources.stream_reader import Span, StreamPlan, checksum

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from confluent_kafka import Consumer

    from loopwright.data.sources.kafka import KafkaSource
    from loopwright.data.sources.plan import Plan
    from loopwright.data.sources.reader import Reading

_NOBODY = "loopwright"  # a consumer needs the name of a group, even where it belongs to none
_PIECE = 20_000
_SLICE_S = 0.2
_FETCH_WAIT_MS = 20
_SETTLE_S = 5.0


class KafkaFeed:
    """One topic of a cluster; its parts are the partitions, by number.

    Raises:
        MissingExtraError: If ``confluent_kafka`` is not installed.
        SourceError: If the cluster does not answer, or has no such topic.
    """

    def __init__(self, source: KafkaSource, url: KafkaUrl) -> None:
        try:
            from confluent_kafka import Consumer  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingExtraError("confluent-kafka", extra="kafka") from None
        self._source = source
        self._servers = url.servers
        self._trouble: str | None = None
        self._reached: dict[str, int] = {}
        own = {
            "group.id": source.group or _NOBODY,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": _FETCH_WAIT_MS,
            "error_cb": self._note_trouble,
        }
        self._consumer: Consumer = Consumer({**url.client(), **own})

    def bounds(self) -> Mapping[str, Span]:
        """Ask for the partitions and, of each, the oldest offset and the one behind the newest."""
        from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415 - an extra

        topic, patience_s = self._source.topic, self._source.patience_s
        try:
            found = self._consumer.list_topics(topic, timeout=patience_s).topics[topic]
            if found.error is not None or not found.partitions:
                reason = found.error.str() if found.error is not None else "it has no partition"
                raise SourceError(
                    f"Kafka at {self._servers} has no topic '{topic}': {reason}.",
                    hint="Correct the topic in the project, or write to it first.",
                )
            spans = {}
            for number in sorted(found.partitions):
                low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=patience_s)
                spans[str(number)] = Span(low, high)
        except KafkaException as error:
            raise self._gone(error) from error
        return spans

    def sums(self, offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Read one record of each partition; one that is not there (compacted, a mark of a transaction) is left out."""
        spans = {part: Span(offset, offset + 1) for part, offset in offsets.items()}
        found = {}
        for piece in self.read(spans):
            for index, part in enumerate(piece.parts):
                found[part] = checksum(piece.keys[index], piece.values[index], piece.times_ms[index])
        return found

    def read(self, spans: Mapping[str, Span]) -> Iterator[Records]:
        """Read the spans side by side, up to the end of each, or of what is committed there."""
        from confluent_kafka import KafkaError, TopicPartition  # noqa: PLC0415 - an extra

        topic = self._source.topic
        ends = {int(part): span.end for part, span in spans.items() if span.count}
        at = {int(part): span.first for part, span in spans.items() if span.count}
        self._reached = {}
        places = [TopicPartition(topic, number, first) for number, first in at.items()]
        self._consumer.assign(places)
        self._consumer.resume(places)  # a pause outlives the assignment in which it was asked for
        names = {number: f"{self._source.name}/{number}" for number in ends}
        left_s = self._source.patience_s
        while ends:
            wanted = sum(end - at[number] for number, end in ends.items())
            messages = self._consumer.consume(max(1, min(wanted, _PIECE)), _SLICE_S)
            left_s = self._source.patience_s if messages else left_s - _SLICE_S
            if left_s <= 0:
                raise self._silent(at, ends)
            piece = Records()
            failed = [message for message in messages if message.error() is not None]
            if failed:
                messages = [message for message in messages if message.error() is None]
            if messages:
                piece, last = _records(messages, names, ends)
                at.update({number: min(offset + 1, ends[number]) for number, offset in last.items() if number in ends})
            is_ended = set()
            for message in failed:
                error, number = message.error(), int(message.partition() or 0)
                if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    is_ended.add(number)  # what is left up to the end are marks of transactions, or was compacted
                    at[number] = max(at.get(number, 0), int(message.offset() or 0))
                elif not error.retriable():
                    raise self._gone(error)
            for number in [one for one, end in ends.items() if at[one] >= end or one in is_ended]:
                self._reached[str(number)] = min(at[number], ends[number])
                self._leave(ends, number)
            if len(piece):
                yield piece
        self._consumer.unassign()

    def reached(self) -> Mapping[str, int]:
        """Return the place of each partition behind what was read last and behind what holds no record."""
        return self._reached

    def settle(self, positions: Mapping[str, int]) -> None:
        """Commit the offsets of the group, where one is named; what fails here is made up by the next ingest."""
        from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415 - an extra

        if self._source.group is None or not positions:
            return
        wanted = [TopicPartition(self._source.topic, int(part), offset) for part, offset in positions.items()]
        with contextlib.suppress(KafkaException):
            asked = [TopicPartition(one.topic, one.partition) for one in wanted]
            there = self._consumer.committed(asked, timeout=_SETTLE_S)
            known = {one.partition: one.offset for one in there}
            behind = [one for one in wanted if known.get(one.partition) != one.offset]
            if behind:
                self._consumer.commit(offsets=behind, asynchronous=False)

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _leave(self, ends: dict[int, int], number: int) -> None:
        """Fetch no more of a partition."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        if ends.pop(number, None) is not None:
            self._consumer.pause([TopicPartition(self._source.topic, number)])

    def _note_trouble(self, error: Any) -> None:  # noqa: ANN401 - librdkafka's callback
        self._trouble = error.str()

    def _gone(self, error: Any) -> SourceError:  # noqa: ANN401 - an exception or what it holds
        cause = error.args[0] if isinstance(error, Exception) and error.args else error
        reason = cause.str() if hasattr(cause, "str") else str(cause)
        told = f"{reason} ({self._trouble})" if self._trouble and self._trouble != reason else reason
        return SourceError(
            f"Kafka at {self._servers} could not be read: {told}.",
            hint="Check that the brokers are up, and the address, user and password; then run again.",
        )

    def _silent(self, at: Mapping[int, int], ends: Mapping[int, int]) -> SourceError:
        number = min(ends)
        return self._gone(
            f"no record came for {self._source.patience_s:g} s; partition {number} is at {at[number]} of {ends[number]}"
        )


class KafkaReader:
    """Reads a topic of any cluster."""

    def plan(self, source: KafkaSource, reading: Reading) -> Plan:
        """Return what was written since the last ingest."""
        return self._planned(source, reading)[0].plan()

    def has_new(self, source: KafkaSource, reading: Reading) -> bool:
        """Compare the ends of the partitions with the marks."""
        planned, feed = self._planned(source, reading)
        try:
            return planned.has_new()
        finally:
            feed.close()

    def _planned(self, source: KafkaSource, reading: Reading) -> tuple[StreamPlan, KafkaFeed]:
        feed = KafkaFeed(source, _url(source, reading))
        what = "partition"
        return StreamPlan(source.name, feed, reading, record=source.record, limits=source.bounds, what=what), feed


def _url(source: KafkaSource, reading: Reading) -> KafkaUrl:
    """Return where the cluster is; a word without a port is a connection of the settings.

    Raises:
        SourceError: If there is no such connection, or it is no URL of a cluster.
    """
    written = source.servers
    try:
        return KafkaUrl.parse(written if ":" in written else connection(written, reading.connections))
    except SettingsError as error:
        raise SourceError(error.message, hint=error.hint) from error


def _records(
    messages: Sequence[Any], names: Mapping[int, str], ends: Mapping[int, int]
) -> tuple[Records, dict[int, int]]:
    """Return the messages that lie before the ends, and each partition's last offset, beyond its end or not.

    Column by column, which takes a third of the time of row by row.
    """
    parts = [message.partition() for message in messages]
    offsets = [message.offset() for message in messages]
    last = dict(zip(parts, offsets, strict=True))
    if any(offset >= ends.get(number, 0) for number, offset in last.items()):
        inside = [offset < ends.get(number, 0) for number, offset in zip(parts, offsets, strict=True)]
        messages = list(compress(messages, inside))
        parts, offsets = list(compress(parts, inside)), list(compress(offsets, inside))
    texts = {number: str(number) for number in names}
    times = [message.timestamp() for message in messages]
    headers = [message.headers() for message in messages]
    found = Records(
        sources=[names[number] for number in parts],
        parts=[texts[number] for number in parts],
        offsets=offsets,
        values=[message.value() for message in messages],
        keys=[message.key() for message in messages],
        times_ms=[time_ms if kind else None for kind, time_ms in times],
        headers=[None if one is None else _texts(one) for one in headers],
    )
    return found, last


def _texts(headers: Any) -> dict[str, str]:  # noqa: ANN401 - as above
    """Return the headers by name; of several with one name the last."""
    return {name: "" if value is None else value.decode("utf-8", errors="replace") for name, value in headers}
