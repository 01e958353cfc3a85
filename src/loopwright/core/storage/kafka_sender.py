"""A producer of transactions on a Kafka cluster, which fences the one before it of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.core.errors import ExchangeTakenError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Consumer, Message

    from loopwright.core.storage.events import Event
    from loopwright.core.storage.kafka_url import KafkaUrl

MARK = "loopwright-of"
"""The header that says which event an answer answers."""


class KafkaSender:
    """Send events in transactions; after an error, open another one.

    Attributes:
        ends: The offset behind the newest event that was delivered, by topic and partition; the caller may begin it.

    Args:
        url: Where the cluster is.
        name: The transactional id.
        patience_s: How long an answer of the cluster is waited for.

    Raises:
        KafkaException: If the cluster does not answer, or refuses transactions.
    """

    def __init__(self, url: KafkaUrl, name: str, *, patience_s: float) -> None:
        from confluent_kafka import Producer  # noqa: PLC0415 - an extra

        self.ends: dict[tuple[str, int], int] = {}
        self._url = url
        self._name = name
        self._patience_s = patience_s
        self._errors: list[Any] = []
        own = {
            "transactional.id": name,
            "acks": "all",
            "linger.ms": 1,
            "message.timeout.ms": int(patience_s * 1000),
            "transaction.timeout.ms": int(patience_s * 2000),
        }
        self._producer = Producer({**url.client(), **own})
        self._producer.init_transactions(patience_s)  # ends what a predecessor left open, and fences it

    def begin(self) -> None:
        """Begin a transaction."""
        self._producer.begin_transaction()

    def produce(self, topic: str, partition: int, event: Event, *, mark: bytes | None = None) -> None:
        """Hand an event over; -1 as the partition chooses one by key."""
        headers: list[tuple[str, bytes]] = [(key, text.encode()) for key, text in event.headers.items()]
        if mark is not None:
            headers.append((MARK, mark))
        while True:
            try:
                self._producer.produce(
                    topic,
                    event.value,
                    event.key,
                    partition=partition,
                    headers=headers,  # type: ignore[arg-type]
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def flush(self) -> None:
        """Wait until all that was handed over is on the cluster.

        Raises:
            ExchangeTakenError: If a producer of the same name has come since.
            StoreError: If the cluster did not take all of it in time.
        """
        left = self._producer.flush(self._patience_s)
        errors, self._errors = self._errors, []
        if errors:
            raise self.failed(errors[0])
        if left:
            raise StoreError(
                f"Kafka at {self._url.servers} did not take {left} events in {self._patience_s:.0f} s.",
                hint="Check that the brokers are up; they are written once they are.",
            )

    def commit(self, offsets: Sequence[Any], consumer: Consumer) -> None:
        """End the transaction, with the offsets of a consumer's group in it."""
        self._producer.send_offsets_to_transaction(list(offsets), consumer.consumer_group_metadata(), self._patience_s)
        self._producer.commit_transaction(self._patience_s)

    def end(self) -> None:
        """End the transaction."""
        self._producer.commit_transaction(self._patience_s)

    def failed(self, error: Any) -> StoreError | ExchangeTakenError:  # noqa: ANN401 - librdkafka's error
        """Return what a user is told of an error."""
        from confluent_kafka import KafkaError  # noqa: PLC0415 - an extra

        fenced = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)  # noqa: SLF001
        if error.code() in fenced:
            return ExchangeTakenError(
                f"Another process writes as '{self._name}' since: {error.str()}.",
                hint="Run one stream of a model at a time; this one has written nothing.",
            )
        return StoreError(
            f"Could not write to Kafka at {self._url.servers}: {error.str()}.",
            hint="Check that the brokers are up and that [stream] url says how to reach them.",
        )

    def _delivered(self, error: Any, message: Message) -> None:  # noqa: ANN401 - librdkafka's callback
        if error is not None:
            self._errors.append(error)
            return
        place = (str(message.topic()), int(message.partition() or 0))
        self.ends[place] = max(int(message.offset() or 0) + 1, self.ends.get(place, 0))
