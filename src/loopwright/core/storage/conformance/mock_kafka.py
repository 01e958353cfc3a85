"""A Kafka cluster inside librdkafka, to hold adapters to: real sockets and the real protocol, no server to install.

librdkafka ships the cluster for its own tests. It keeps the newest 5 MB of a partition, answers what producers,
consumers and groups ask, and knows no ``CreateTopics`` and no ``DeleteRecords``: topics are made, emptied and deleted
here by hand, as are brokers that go away.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_PRODUCER = 0
_ERROR_BYTES = 512


class MockKafka:
    """A cluster of some brokers on loopback, until :meth:`close`.

    Raises:
        ImportError: If ``confluent_kafka`` is not installed, or its librdkafka is not where its wheels put it.

    >>> with MockKafka() as cluster:
    ...     cluster.servers.partition(":")[0]
    '127.0.0.1'
    """

    def __init__(self, *, brokers: int = 1) -> None:
        self._library = _library()
        configuration = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", error, _ERROR_BYTES)
        handle = self._library.rd_kafka_new(_PRODUCER, configuration, error, _ERROR_BYTES)
        if not handle:
            raise OSError(error.value.decode())
        self._handle = ctypes.c_void_p(handle)
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._handle, brokers))
        self._library.rd_kafka_mock_set_controller_id(self._cluster, 1)
        self.servers = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, topic: str, *, partitions: int = 1) -> None:
        """Make a topic; one that a client asks for first is made with four partitions."""
        self._done(self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1))

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with all it holds."""
        self._done(self._library.rd_kafka_mock_topic_delete(self._cluster, topic.encode()))

    def delete_records(self, topic: str, partition: int, *, before: int) -> None:
        """Delete what lies before an offset, as retention does."""
        delete = self._library.rd_kafka_mock_partition_delete_records
        self._done(delete(self._cluster, topic.encode(), partition, ctypes.c_int64(before)))

    def set_down(self, broker: int = 1) -> None:
        """Let a broker refuse connections."""
        self._done(self._library.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def set_up(self, broker: int = 1) -> None:
        """Let a broker answer again."""
        self._done(self._library.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def close(self) -> None:
        """End the cluster."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
            self._cluster = ctypes.c_void_p()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _done(self, code: int) -> None:
        if code:
            raise OSError(f"The mock cluster answers with error {code}.")


def _library() -> ctypes.CDLL:
    import confluent_kafka  # noqa: PLC0415 - the extra that brings librdkafka

    packages = Path(confluent_kafka.__file__).parent.parent
    places = ("confluent_kafka.libs/librdkafka*", "confluent_kafka/.dylibs/librdkafka*")
    found = [path for place in places for path in sorted(packages.glob(place))]
    if not found:
        raise ImportError("confluent_kafka is there without its own librdkafka.")
    library = ctypes.CDLL(str(found[0]))
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library
