"""The event log on Kafka, held to the port's suite on librdkafka's own cluster."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING, ClassVar

import pytest

from loopwright.core.errors import DeclarationError, StoreError
from loopwright.core.storage.conformance.event_log import EventLogConformance
from loopwright.core.storage.events import Event

pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")

from loopwright.core.storage.conformance.mock_kafka import MockKafka
from loopwright.core.storage.events_kafka import KafkaEventLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_count = itertools.count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as running:
        yield running


@pytest.fixture
def reopen(cluster: MockKafka) -> Callable[[], KafkaEventLog]:
    prefix = f"p{next(_count)}"
    return lambda: KafkaEventLog(f"kafka://{cluster.servers}/{prefix}", patience_s=10)


@pytest.fixture
def log(reopen: Callable[[], KafkaEventLog]) -> Iterator[KafkaEventLog]:
    opened = reopen()
    yield opened
    opened.close()


class TestKafkaEventLog(EventLogConformance):
    gaps: ClassVar = {"test_trimming_keeps_the_offsets_of_the_rest": "the mock cluster knows no DeleteRecords"}

    @pytest.fixture
    def reopen(self, reopen: Callable[[], KafkaEventLog]) -> Callable[[], KafkaEventLog]:
        return reopen


def test_a_trimmed_topic_keeps_its_offsets(log: KafkaEventLog, cluster: MockKafka) -> None:
    """What DeleteRecords leaves behind reads as the port says; the cluster's own call stands in for it."""
    log.append("t", [Event(None, b"x"), Event(None, b"y"), Event(None, b"z")])
    cluster.delete_records(log._name("t"), 0, before=2)
    assert (log.start("t"), log.end("t"), [event.offset for event in log.read("t")]) == (2, 3, [3])
    with pytest.raises(StoreError, match="trim 't'"):
        log.trim("t", 3)


def test_an_append_that_died_between_is_completed(
    log: KafkaEventLog, reopen: Callable[[], KafkaEventLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the events are in, or all of them and not the note: repeating adds what is missing."""
    events = [Event(None, str(number).encode()) for number in range(4)]
    log.append("t", events[:1], producer="p", sequence=1)
    produce = KafkaEventLog._produce
    with monkeypatch.context() as patched:
        patched.setattr(KafkaEventLog, "_set_place", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patched.setattr(
            KafkaEventLog,
            "_produce",
            lambda self, name, events, marks: produce(self, name, dict(list(events.items())[:2]), marks),
        )
        with pytest.raises(KeyboardInterrupt):
            log.append("t", events, producer="p", sequence=2)
    log.append("t", [Event(None, b"other")])
    again = reopen()
    assert again.append("t", events, producer="p", sequence=2) == [2, 3, 5, 6]
    assert again.append("t", events, producer="p", sequence=2) == [2, 3, 5, 6]
    assert [event.value for event in again.read("t")] == [b"0", b"0", b"1", b"other", b"2", b"3"]
    again.close()


def test_a_cluster_that_is_gone_is_said_in_bounded_time() -> None:
    log = KafkaEventLog("kafka://lw:secret@127.0.0.1:9?security.protocol=PLAINTEXT", patience_s=0.3)
    for call in (
        lambda: log.end("t"),
        lambda: log.read("t"),
        log.topics,
        lambda: log.append("t", [Event(None, b"")]),
    ):
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:9") as raised:
            call()
        assert "secret" not in str(raised.value)
    log.close()


def test_partitions_of_others_are_not_passed_over(log: KafkaEventLog, cluster: MockKafka) -> None:
    from confluent_kafka import Producer  # noqa: PLC0415 - an extra

    cluster.create_topic(log._name("wide"), partitions=2)
    assert log.append("wide", [Event(None, b"x")]) == [1]
    assert log.end("wide") == 1
    producer = Producer({"bootstrap.servers": cluster.servers, "log_level": 0})
    producer.produce(log._name("wide"), b"y", partition=1)
    producer.flush(10)
    with pytest.raises(StoreError, match="partition 1"):
        log.read("wide")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä"])
def test_refuses_names_that_kafka_does_not_know(log: KafkaEventLog, name: str) -> None:
    with pytest.raises(DeclarationError):
        log.append(name, [Event(None, b"")])


def test_topics_in_folders_are_listed_as_they_were_named(log: KafkaEventLog) -> None:
    log.append("outcomes/eta", [Event("k", b"")])
    assert log.topics() == ["outcomes/eta"]


WRITER = """
import sys
from loopwright.core.storage.events import Event
from loopwright.core.storage.events_kafka import KafkaEventLog
log = KafkaEventLog(sys.argv[1])
for number in range(40):
    log.append("t", [Event(sys.argv[2], str(number).encode())])
log.close()
"""


def test_processes_append_side_by_side(cluster: MockKafka) -> None:
    url = f"kafka://{cluster.servers}/processes"
    running = [subprocess.Popen([sys.executable, "-c", WRITER, url, str(number)]) for number in range(2)]
    assert [child.wait() for child in running] == [0, 0]
    log = KafkaEventLog(url)
    events = log.read("t")
    log.close()
    assert [event.offset for event in events] == list(range(1, 81))
    for number in range(2):
        assert [event.value for event in events if event.key == str(number)] == [str(n).encode() for n in range(40)]


def test_a_forked_child_has_its_own_connections(log: KafkaEventLog) -> None:
    log.append("t", [Event(None, b"parent")])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log.append("t", [Event(None, b"child")])
            code = 0 if log.end("t") == 2 else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    log.append("t", [Event(None, b"parent again")])
    assert [event.value for event in log.read("t")] == [b"parent", b"child", b"parent again"]
