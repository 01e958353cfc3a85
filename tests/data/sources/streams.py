"""The streams that one suite holds the sources to: the embedded log, the log on Kafka, and a topic of any Kafka."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.settings import Settings
from loopwright.core.storage.events import Event
from loopwright.core.storage.stores import Stores, open_stores
from loopwright.data.sources.kafka import kafka
from loopwright.data.sources.stream import events

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.clock import Clock
    from loopwright.core.storage.conformance.mock_kafka import MockKafka
    from loopwright.data.sources.kafka import KafkaSource
    from loopwright.data.sources.stream import EventsSource

KINDS = ["events on SQLite", "events on Kafka", "kafka"]
_count = itertools.count()


@dataclass
class Stream:
    """A topic that a test writes to, and the source that reads it."""

    kind: str
    project: Path
    cluster: MockKafka | None
    topic: str = "orders"
    partitions: int = 1

    def __post_init__(self) -> None:
        if self.cluster is not None:
            self.prefix = f"t{next(_count)}"
            self.name = f"{self.prefix}.orders"
            self.cluster.create_topic(self.name, partitions=self.partitions)

    def environ(self) -> dict[str, str]:
        if self.kind != "events on Kafka":
            return {}
        assert self.cluster is not None
        return {"LOOPWRIGHT_STREAM_URL": f"kafka://{self.cluster.servers}/{self.prefix}"}

    def stores(self, clock: Clock | None = None) -> Stores:
        return open_stores(Settings.load(self.project, environ=self.environ()), clock=clock)

    def source(self, **options: object) -> KafkaSource | EventsSource:
        if self.kind != "kafka":
            return events(self.topic, **options)  # type: ignore[arg-type]
        assert self.cluster is not None
        return kafka(self.cluster.servers, self.name, **{"patience_s": 10.0} | options)  # type: ignore[arg-type]

    def label(self, partition: int = 0) -> str:
        """What rows of a partition carry as ``_source``."""
        return f"kafka:{self.name}/{partition}" if self.kind == "kafka" else f"events:{self.topic}"

    @property
    def first(self) -> int:
        """The first offset."""
        return 0 if self.kind == "kafka" else 1

    def append(self, stores: Stores, *values: bytes | None, key: str | None = None, partition: int = 0) -> None:
        if self.kind != "kafka":
            stores.events.append(self.topic, [Event(key, value or b"", {"by": "test"}) for value in values])
            return
        from confluent_kafka import Producer  # noqa: PLC0415 - an extra

        assert self.cluster is not None
        producer = Producer({"bootstrap.servers": self.cluster.servers, "log_level": 0})
        for value in values:
            producer.produce(self.name, value, key, partition=partition, headers=[("by", b"test")])
        assert producer.flush(10) == 0

    def remove(self, stores: Stores, *, up_to: int) -> None:
        """Remove the oldest events."""
        if self.cluster is None:
            stores.events.trim(self.topic, up_to)
        else:
            self.cluster.delete_records(self.name, 0, before=up_to)

    def make_anew(self, stores: Stores) -> None:
        """Delete the topic with all it holds."""
        if self.cluster is not None:
            self.cluster.delete_topic(self.name)
            self.cluster.create_topic(self.name, partitions=self.partitions)
            return
        stores.events.close()
        for path in (self.project / ".loopwright").glob("stream.db*"):
            path.unlink()
