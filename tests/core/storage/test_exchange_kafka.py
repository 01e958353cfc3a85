"""The exchange on Kafka, held to the port's suite on librdkafka's own cluster, and stopped at every step of a put.

The cluster takes transactions without carrying them out: what is aborted stays, offsets in them are lost and nobody is
fenced. So what these tests show is what holds without any help of the cluster.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar

import pytest

from loopwright.core.errors import StoreError
from loopwright.core.storage.conformance.exchange import PLAN, ExchangeConformance, _answers
from loopwright.core.storage.events import Event

pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")

from confluent_kafka import Consumer, Producer, TopicPartition

from loopwright.core.storage.conformance.mock_kafka import MockKafka
from loopwright.core.storage.events_kafka import KafkaEventLog
from loopwright.core.storage.exchange_kafka import KafkaExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopwright.core.storage.exchange import ExchangePlan

_count = itertools.count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as running:
        yield running


@pytest.fixture
def url(cluster: MockKafka) -> str:
    return f"kafka://{cluster.servers}/x{next(_count)}"


@pytest.fixture
def log(url: str) -> Iterator[KafkaEventLog]:
    opened = KafkaEventLog(url, patience_s=10)
    yield opened
    opened.close()


@pytest.fixture
def reopen(url: str) -> Iterator[Callable[[ExchangePlan], KafkaExchange]]:
    opened = []

    def reopen(plan: ExchangePlan) -> KafkaExchange:
        opened.append(KafkaExchange(url, plan, patience_s=10))
        return opened[-1]

    yield reopen
    for one in opened:
        one.close()


class TestKafkaExchange(ExchangeConformance):
    gaps: ClassVar = {"test_a_second_consumer_is_told": "the mock cluster fences nobody"}


STEPS = ["frame", "frame sent", "answer 2", "answers sent", "offsets", "commit"]


class _Died(BaseException):
    """Stands for the end of the process: no handler of errors runs for it."""


def _die_at(exchange: KafkaExchange, step: str, patch: pytest.MonkeyPatch) -> None:
    """Let a put end at a step, with what was sent before on the cluster and the rest lost."""
    sender, count = exchange._sender, 0
    produce, flush, producer = sender.produce, sender.flush, sender._producer
    steps = {"frame": 1, "answer 2": 3}

    def die(*_: object) -> None:
        producer.purge()
        producer.flush(5)
        raise _Died

    def counted_produce(*given: object, **named: object) -> None:
        nonlocal count
        count += 1
        if count == steps.get(step):
            flush()
            die()
        produce(*given, **named)  # type: ignore[arg-type]

    def counted_flush() -> None:
        flush()
        if (step, count) in {("frame sent", 1), ("answers sent", 4)}:
            die()

    class Producer:
        def __getattr__(self, name: str) -> object:
            dying = {"offsets": "send_offsets_to_transaction", "commit": "commit_transaction"}.get(step)
            return die if name == dying else getattr(producer, name)

    patch.setattr(sender, "produce", counted_produce)
    patch.setattr(sender, "flush", counted_flush)
    patch.setattr(sender, "_producer", Producer())


@pytest.mark.parametrize("step", STEPS)
def test_a_put_that_died_is_completed_or_done_again(
    step: str, log: KafkaEventLog, reopen: Callable[[ExchangePlan], KafkaExchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it ended, each event is answered once, in order, and its note is there once."""
    log.append("in", [Event(None, value) for value in (b"1", b"!2", b"3", b"4")])
    first = reopen(PLAN)
    suite = TestKafkaExchange()
    taken = suite._take(first, 3)
    _die_at(first, step, monkeypatch)
    with pytest.raises(_Died):
        first.put(taken, _answers(taken, name="x"))
    second = reopen(PLAN)
    rest = suite._take(second, second.lag())
    second.put(rest, _answers(rest, name="y"))
    assert [value[1:] for value in suite._values(log, "out")] == [b"1", b"3", b"4"]
    assert [value[1:] for value in suite._values(log, "dead")] == [b"!2"]
    notes = suite._notes(log)
    assert [note[0] for note in notes] == [0, 1, 2, 3]
    # The notes and the answers of an event come from the same computation.
    said = {value[-1:]: value[:1] for value in suite._values(log, "out") + suite._values(log, "dead")}
    assert [str(note[1]).encode() for note in notes] == [said[number] for number in (b"1", b"2", b"3", b"4")]


def test_answers_every_partition_in_its_order(
    cluster: MockKafka, url: str, log: KafkaEventLog, reopen: Callable[[ExchangePlan], KafkaExchange]
) -> None:
    prefix = url.rpartition("/")[2]
    for name in ("in", "out"):
        cluster.create_topic(f"{prefix}.{name}", partitions=3)
    producer = Producer({"bootstrap.servers": cluster.servers, "log_level": 0})
    for number in range(90):
        producer.produce(f"{prefix}.in", str(number).encode(), partition=number % 3)
    producer.flush(10)
    exchange, seen, is_reopened = reopen(PLAN), 0, False
    while seen < 90:
        taken = exchange.take(limit=20, max_bytes=1 << 20, wait_s=10)
        exchange.put(taken, _answers(taken))
        seen += len(taken)
        if seen > 40 and not is_reopened:
            exchange.close()
            exchange, is_reopened = reopen(PLAN), True
    reader = Consumer({"bootstrap.servers": cluster.servers, "group.id": "r", "log_level": 0})
    for partition in range(3):
        reader.assign([TopicPartition(f"{prefix}.out", partition, 0)])
        values: list[int] = []
        while len(values) < 30:
            values += [int(one.value()[1:]) for one in reader.consume(30 - len(values), 5) if one.error() is None]
        assert values == list(range(partition, 90, 3))
    reader.close()
    assert exchange.lag() == 0


def test_a_broker_that_goes_away_is_waited_for(url: str, log: KafkaEventLog, cluster: MockKafka) -> None:
    log.append("in", [Event(None, b"1"), Event(None, b"2")])
    exchange = KafkaExchange(url, PLAN, patience_s=2)
    suite = TestKafkaExchange()
    taken = suite._take(exchange, 2)
    cluster.set_down()
    try:
        with pytest.raises(StoreError):
            exchange.put(taken, _answers(taken))
    finally:
        cluster.set_up()
    for _ in range(10):
        try:
            exchange.put(taken, _answers(taken))
        except StoreError:
            continue
        break
    assert suite._values(log, "out") == [b"a1", b"a2"]
    assert [note[0] for note in suite._notes(log)] == [0, 1]
    exchange.close()


def test_what_fits_no_frame_is_split(log: KafkaEventLog, reopen: Callable[[ExchangePlan], KafkaExchange]) -> None:
    log.append("in", [Event(None, bytes([65 + number]) * 300_000) for number in range(5)])
    exchange, suite = reopen(PLAN), TestKafkaExchange()
    taken = suite._take(exchange, 5)
    exchange.put(taken, _answers(taken))
    assert [value[1:2] for value in suite._values(log, "out")] == [b"A", b"B", b"C", b"D", b"E"]
    assert len(log.read("notes")) > 1
