"""Reading a partition of a Kafka topic from an offset to its end, and the newest message of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Consumer, Message

_PIECE = 1_000
_SLICE_S = 0.2
_FIRST_LOOK = 4  # a transaction leaves a marker behind each message


def scanned(
    reader: Consumer, name: str, partition: int, begin: int, *, patience_s: float, limit: int | None = None
) -> Iterator[Message]:
    """Give the committed messages from an offset on, up to the end that the partition has now.

    Args:
        reader: A consumer with ``enable.partition.eof``; what it was assigned is lost.
        name: The topic's name on the cluster.
        partition: Which of its partitions.
        begin: The first offset.
        patience_s: How long the cluster may be silent.
        limit: Messages after which to stop.

    Raises:
        KafkaException: If nothing comes for ``patience_s``.
    """
    from confluent_kafka import KafkaError, KafkaException, TopicPartition  # noqa: PLC0415 - an extra

    low, end = reader.get_watermark_offsets(TopicPartition(name, partition), timeout=patience_s)
    at = max(begin, int(low))
    if at >= end:
        return
    reader.assign([TopicPartition(name, partition, at)])
    left_s, count = patience_s, 0
    while at < end:
        messages = reader.consume(min(end - at, limit or _PIECE, _PIECE), _SLICE_S)
        left_s = patience_s if messages else left_s - _SLICE_S
        if left_s <= 0:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no event behind {at} of '{name}' came"))  # noqa: SLF001
        for message in messages:
            error = message.error()
            if error is None:
                at = int(message.offset() or 0) + 1
                count += 1
                yield message
                if count == limit:
                    return
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - what is left are markers
                return
            elif not error.retriable():
                raise KafkaException(error)


def last_before(reader: Consumer, name: str, *, patience_s: float) -> Message | None:
    """Return the newest committed message of a topic's partition 0, or None where there is none.

    Raises:
        KafkaException: If the cluster does not answer.
    """
    from confluent_kafka import TopicPartition  # noqa: PLC0415 - an extra

    low, end = (int(one) for one in reader.get_watermark_offsets(TopicPartition(name, 0), timeout=patience_s))
    back = _FIRST_LOOK
    while low < end:
        newest = None
        for message in scanned(reader, name, 0, max(low, end - back), patience_s=patience_s):
            newest = message
        if newest is not None or end - back <= low:
            return newest
        back *= 8
    return None
