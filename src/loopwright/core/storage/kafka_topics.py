"""Connections to a Kafka cluster, and its topics of one partition: made, measured and read from an offset.

A thread has its own consumers and a process one producer; a forked child leaves its parent's alone and opens its own.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loopwright.core.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Consumer, Message, Producer
    from confluent_kafka.admin import AdminClient

    from loopwright.core.storage.kafka_url import KafkaUrl

_READER = "loopwright-reader"
_FETCH_WAIT_MS = 20  # what the last fetch of a read waits for, since it learns of the end only then
_PIECE = 10_000
_SLICE_S = 0.2  # a read waits for all that it asked for, or this long, before it looks at what came
_QUEUED_KILOBYTES = 16_384


class KafkaTopics:
    """The topics of a cluster, each with the one partition 0, by their names on the cluster.

    Args:
        url: Where the cluster is.
        patience_s: How long an answer is waited for.

    Raises:
        MissingExtraError: If ``confluent_kafka`` is not installed.
    """

    def __init__(self, url: KafkaUrl, *, patience_s: float) -> None:
        try:
            import confluent_kafka  # noqa: F401, PLC0415 - an extra
        except ImportError:
            raise MissingExtraError("confluent-kafka", extra="kafka") from None
        self._url = url
        self._patience_s = patience_s
        self._local = threading.local()
        self._producer: Producer | None = None
        self._process = os.getpid()
        self._made: set[str] = set()

    def names(self) -> list[str]:
        """List the topics, in no order."""
        with self.translated("list the topics"):
            return list(self.reader().list_topics(timeout=self._patience_s).topics)

    def bounds(self, name: str) -> tuple[int, int]:
        """Return how many events were trimmed and how many there have been, both 0 for a topic that is not there.

        Raises:
            StoreError: If others wrote to further partitions of the topic, which have no place in a log in order.
        """
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

        with self.translated(f"look at '{name}'"):
            reader = self.reader()
            found = reader.list_topics(name, timeout=self._patience_s).topics[name]
            if found.error is not None or not found.partitions:
                return 0, 0
            for number in sorted(found.partitions)[1:]:
                if reader.get_watermark_offsets(TopicPartition(name, number), timeout=self._patience_s)[1]:
                    raise StoreError(
                        f"The topic '{name}' holds events in partition {number}, written by others; the event log has "
                        "one partition.",
                        hint="Read it with lw.kafka(…), or give [stream] url a prefix of its own.",
                    )
            low, high = reader.get_watermark_offsets(TopicPartition(name, 0), timeout=self._patience_s)
            return int(low), int(high)

    def make(self, name: str) -> None:
        """Make the topic with one partition; a cluster that cannot be asked makes it when it is first written to."""
        from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - an extra
        from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415 - an extra

        if name in self._made:
            return
        if self.reader().list_topics(name, timeout=self._patience_s).topics[name].error is not None:
            admin = self.admin()  # kept: without it the futures end in an error
            for future in admin.create_topics([NewTopic(name, num_partitions=1)]).values():
                try:
                    future.result(self._patience_s)
                except KafkaException as error:
                    code = error.args[0].code()
                    if code == KafkaError._UNSUPPORTED_FEATURE:  # noqa: SLF001
                        self.sender().list_topics(name, timeout=self._patience_s)  # makes it, where that is allowed
                    elif code != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise
        self._made.add(name)

    def messages(self, name: str, after: int, limit: int) -> list[Message]:
        """Read up to ``limit`` messages from Kafka's offset ``after`` on."""
        from confluent_kafka import KafkaError, KafkaException, TopicPartition  # noqa: PLC0415 - an extra

        start, end = self.bounds(name)
        begin = max(after, start)
        if begin >= end:
            return []
        reader = self.reader()
        if getattr(self._local, "at", None) != (name, begin):
            reader.assign([TopicPartition(name, 0, begin)])
        self._local.at = None
        found: list[Message] = []
        at, is_ended, is_moved, left_s = begin, False, False, self._patience_s
        while len(found) < limit and at < end and not is_ended:
            batch = reader.consume(min(limit - len(found), end - at, _PIECE), _SLICE_S)
            left_s = self._patience_s if batch else left_s - _SLICE_S
            if left_s <= 0:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no event behind {at} of '{name}' came"))  # noqa: SLF001
            for message in batch:
                error = message.error()
                if error is None:
                    found.append(message)
                    at = int(message.offset() or 0) + 1
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    is_ended = True
                elif error.code() == KafkaError._AUTO_OFFSET_RESET and not is_moved:  # noqa: SLF001
                    is_moved = True  # what was to be fetched next has been trimmed meanwhile
                    at = max(at, self.bounds(name)[0])
                    reader.assign([TopicPartition(name, 0, at)])
                    break  # what else is in the batch comes again
                else:
                    raise KafkaException(error)
        if not is_ended:
            self._local.at = (name, at)
        return found

    def admin(self) -> AdminClient:
        """Open a connection for what neither producers nor consumers do."""
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - an extra

        return AdminClient({**self._url.client()})

    def sender(self) -> Producer:
        """Give the process's producer."""
        from confluent_kafka import Producer  # noqa: PLC0415 - an extra

        if self._producer is None or self._process != os.getpid():
            if self._producer is not None:
                _ABANDONED.append(self._producer)  # the parent's threads are not here
            timeout_ms = int(self._patience_s * 1000)
            own = {"enable.idempotence": True, "message.timeout.ms": timeout_ms, "acks": "all"}
            self._producer, self._process = Producer({**self._url.client(), **own}), os.getpid()
        return self._producer

    def reader(self) -> Consumer:
        """Give this thread's consumer, which belongs to no group that counts."""
        if getattr(self._local, "process", None) != os.getpid():
            self._forget()
        if self._local.reader is None:
            self._local.reader = self._consumer(_READER)
        return self._local.reader  # type: ignore[no-any-return]

    def member(self, group: str) -> Consumer:
        """Give a connection that speaks for a group; each thread keeps the last."""
        if getattr(self._local, "process", None) != os.getpid():
            self._forget()
        if self._local.member is None or self._local.group != group:
            if self._local.member is not None:
                self._local.member.close()
            self._local.member, self._local.group = self._consumer(group), group
        return self._local.member  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close this thread's connections; using them again opens new ones."""
        if getattr(self._local, "process", None) == os.getpid():
            for consumer in (self._local.reader, self._local.member):
                if consumer is not None:
                    consumer.close()
        self._forget()

    def _consumer(self, group: str) -> Consumer:
        from confluent_kafka import Consumer  # noqa: PLC0415 - an extra

        own = {
            "group.id": f"{self._url.prefix}.{group}" if self._url.prefix else group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": _FETCH_WAIT_MS,
            "queued.max.messages.kbytes": _QUEUED_KILOBYTES,
        }
        return Consumer({**own, **self._url.client()})

    def _forget(self) -> None:
        if getattr(self._local, "process", os.getpid()) != os.getpid():
            _ABANDONED.extend((self._local.reader, self._local.member))
        self._local.process = os.getpid()
        self._local.reader = self._local.member = self._local.group = self._local.at = None

    @contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """Turn Kafka's exceptions into ours."""
        from confluent_kafka import KafkaException  # noqa: PLC0415 - an extra

        try:
            yield
        except (KafkaException, TimeoutError) as error:
            self._local.at = None
            cause = error.args[0] if error.args else error
            reason = cause.str() if hasattr(cause, "str") else str(cause)
            raise StoreError(
                f"Could not {doing}: Kafka at {self._url.servers}: {reason}.",
                hint="Check that the brokers are up and that [stream] url says how to reach them.",
            ) from error


_ABANDONED: list[object] = []
