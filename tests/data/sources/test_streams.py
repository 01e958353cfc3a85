"""Streams are read exactly once: the embedded log, the log on Kafka, and a topic of any Kafka cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.data.sources.streams import KINDS, Stream

from loopwright.core.errors import DeclarationError, SourceError
from loopwright.core.storage.conformance.mock_kafka import MockKafka
from loopwright.core.storage.kafka_url import KafkaUrl
from loopwright.data.contract.column import column
from loopwright.data.contract.contract import Contract
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.kafka import kafka
from loopwright.data.sources.kafka_reader import KafkaFeed
from loopwright.data.sources.stream import events
from loopwright.data.sources.stream_reader import Span

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores

pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")

from confluent_kafka import KafkaError


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as running:
        yield running


@pytest.fixture(params=KINDS)
def stream(request: pytest.FixtureRequest, cluster: MockKafka, tmp_path: Path) -> Stream:
    return Stream(request.param, tmp_path, None if request.param == KINDS[0] else cluster)


@pytest.fixture
def stores(stream: Stream, clock: ManualClock) -> Iterator[Stores]:
    opened = stream.stores(clock)
    yield opened
    opened.close()


def row(x: object, **others: object) -> bytes:
    return json.dumps({"x": x, **others}).encode()


def dataset(stream: Stream, contract: object = None, **options: object) -> Dataset:
    return Dataset("d", stream.source(**options), contract=contract or [column("x", "int")])  # type: ignore[arg-type]


def stored(lake: Lake, *columns: str) -> list[tuple[object, ...]]:
    table = lake.read(lake.snapshot("d"), columns=list(columns or ["x"]))
    return sorted(tuple(one.values()) for one in table.to_pylist())


def test_reads_what_is_new_once(stream: Stream, stores: Stores) -> None:
    lake, data = Lake(stores), dataset(stream)
    stream.append(stores, row(1), row(2))
    assert lake.has_new(data)
    assert lake.ingest(data).rows_accepted == 2
    assert not lake.has_new(data)
    assert lake.ingest(data).rows_read == 0
    stream.append(stores, row(3))
    assert lake.has_new(data)
    report = lake.ingest(data)
    assert (report.rows_read, report.warnings) == (1, ())
    source, first = stream.label(), stream.first
    assert stored(lake, "x", "_source", "_source_row") == [(n + 1, source, first + n) for n in range(3)]


def test_a_record_that_cannot_be_read_holds_nobody_up(stream: Stream, stores: Stores) -> None:
    lake = Lake(stores)
    broken = [b"{", b"[1]", b"\xff\xfe", row(None, __x=1), row(1, _source="me"), row("many"), b'{"": 2}', b""]
    stream.append(stores, row(1), *broken, row(2))
    report = lake.ingest(dataset(stream))
    assert (report.rows_accepted, report.rows_quarantined) == (2, len(broken))
    entries = {entry.source_row: entry for entry in lake.quarantine("d").entries()}
    assert sorted(entries) == [stream.first + 1 + n for n in range(len(broken))]
    assert {entry.source for entry in entries.values()} == {stream.label()}
    reasons = [entries[number].reasons[0].value or "" for number in sorted(entries)]
    assert reasons[0] == reasons[1] == "json: the value is no JSON object"
    assert reasons[2] == "encoding: it is not valid UTF-8"
    assert ["kept for the system" in reason for reason in reasons[3:5]] == [True, True]
    assert reasons[5:] == ["many", "columns: a column has no name", "json: the value is no JSON object"]
    assert lake.ingest(dataset(stream)).rows_read == 0


def test_a_strict_contract_keeps_rows_back_and_not_the_stream(stream: Stream, stores: Stores) -> None:
    lake = Lake(stores)
    stream.append(stores, row(1), row(2, y=3), row(3, y=None))
    report = lake.ingest(dataset(stream, Contract([column("x", "int")], strict=True)))
    assert (report.rows_accepted, report.rows_quarantined) == (2, 1)
    (entry,) = lake.quarantine("d").entries()
    assert entry.source_row == stream.first + 1
    assert "does not name the column 'y'" in str(entry.reasons)


def test_spellings_of_a_column_are_one(stream: Stream, stores: Stores) -> None:
    lake = Lake(stores)
    stream.append(stores, row(1, City="Oslo"), row(2, city="Bergen"), row(3, city="Oslo", CITY="Bergen"))
    report = lake.ingest(dataset(stream, [column("x", "int"), column("city", "string")]))
    assert (report.rows_accepted, report.rows_quarantined) == (2, 1)
    assert stored(lake, "x", "city") == [(1, "Oslo"), (2, "Bergen")]


def test_takes_no_more_than_it_may(stream: Stream, stores: Stores) -> None:
    lake, data = Lake(stores), dataset(stream, max_records=3)
    stream.append(stores, *(row(n) for n in range(7)))
    reports = [lake.ingest(data).rows_read for _ in range(4)]
    assert reports == [3, 3, 1, 0]
    stream.append(stores, *(row(n, text="x" * 1000) for n in range(7, 11)))
    data = dataset(stream, max_size="2KB")
    assert [lake.ingest(data).rows_read for _ in range(3)] == [2, 2, 0]
    assert stored(lake) == [(n,) for n in range(11)]


def test_begins_behind_the_newest_where_asked(stream: Stream, stores: Stores) -> None:
    lake, data = Lake(stores), dataset(stream, start="latest")
    stream.append(stores, row(1))
    assert lake.has_new(data)
    assert lake.ingest(data).rows_read == 0
    assert not lake.has_new(data)
    stream.append(stores, row(2))
    assert lake.ingest(data).rows_read == 1
    assert stored(lake) == [(2,)]


def test_says_how_many_were_removed_unread(stream: Stream, stores: Stores) -> None:
    lake, data = Lake(stores), dataset(stream)
    stream.append(stores, row(1))
    lake.ingest(data)
    stream.append(stores, *(row(n) for n in range(2, 7)))
    stream.remove(stores, up_to=4)
    (warning,) = lake.ingest(data).warnings
    assert "3 are missing" in warning
    assert stored(lake) == [(1,), (5,), (6,)]
    assert lake.ingest(data).warnings == ()


@pytest.mark.parametrize("again", [1, 5])
def test_a_topic_made_anew_is_noticed(stream: Stream, stores: Stores, again: int) -> None:
    """Whether its end lies before the mark or behind it."""
    lake, data = Lake(stores), dataset(stream)
    stream.append(stores, row(1), row(2), row(3))
    lake.ingest(data)
    stream.make_anew(stores)
    stores = stream.stores()
    lake = Lake(stores)
    stream.append(stores, *(row(10 + n) for n in range(again)))
    assert lake.has_new(data)
    report = lake.ingest(data)
    stores.close()
    assert (report.rows_read, len(report.warnings)) == (again, 1)
    assert "made anew" in report.warnings[0]
    assert stored(lake) == [(1,), (2,), (3,), *((10 + n,) for n in range(again))]


def test_what_stands_beside_the_value_becomes_columns(stream: Stream, stores: Stores, clock: ManualClock) -> None:
    lake = Lake(stores)
    asked = {"who": "key", "at": "offset", "sent_at": "timestamp", "more": "headers", "where": "part"}
    data = Dataset("d", stream.source(attributes=asked), arrival_time="sent_at", contract=[column("x", "int")])
    stream.append(stores, row(1), key="ann")
    stream.append(stores, b"{}", row(2, who="somebody else"))
    report = lake.ingest(data)
    assert (report.rows_accepted, report.rows_quarantined) == (1, 2)
    (found,) = lake.read(lake.snapshot("d")).to_pylist()
    assert (found["who"], found["at"], found["where"]) == ("ann", stream.first, 0)
    assert json.loads(found["more"]) == {"by": "test"}
    assert found["_arrived_at"] == found["sent_at"]
    if stream.kind == "events on SQLite":
        assert found["sent_at"] == clock.now()


def test_a_later_record_of_a_key_wins(stream: Stream, stores: Stores) -> None:
    lake = Lake(stores)
    data = Dataset("d", stream.source(), key="k", on_duplicate="upsert", contract=[column("x", "int")])
    for n in range(5):
        stream.append(stores, row(n, k="a"), row(-n, k="b"))
        lake.ingest(data)
    assert stored(lake, "k", "x") == [("a", 4), ("b", -4)]


def test_declarations_that_cannot_be(stream: Stream) -> None:
    for options in (
        {"max_records": 0},
        {"start": "middle"},
        {"format": "xml"},
        {"format": "avro"},
        {"schema": "a.avsc"},
    ):
        with pytest.raises(DeclarationError):
            stream.source(**options)
    with pytest.raises(DeclarationError, match="attribute"):
        stream.source(attributes=["colour"])
    with pytest.raises(DeclarationError, match="name"):
        stream.source(attributes={"_key": "key"})


def test_a_topic_without_events_gives_nothing(tmp_path: Path, clock: ManualClock) -> None:
    stores = Stream(KINDS[0], tmp_path, None).stores(clock)
    assert not Lake(stores).has_new(Dataset("d", events("orders")))
    assert Lake(stores).ingest(Dataset("d", events("orders"))).rows_read == 0
    with pytest.raises(DeclarationError):
        events("")


def test_all_partitions_are_read_and_new_ones_too(cluster: MockKafka, tmp_path: Path) -> None:
    from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415 - an extra

    stream = Stream("kafka", tmp_path, cluster, partitions=3)
    stores = stream.stores()
    lake, data = Lake(stores), dataset(stream, group="watched")
    for number in range(3):
        stream.append(stores, *(row(10 * number + n) for n in range(3)), partition=number)
    report = lake.ingest(data)
    assert report.rows_accepted == 9
    found = stored(lake, "x", "_source", "_source_row")
    assert found == [(10 * number + n, stream.label(number), n) for number in range(3) for n in range(3)]
    member = Consumer({"bootstrap.servers": cluster.servers, "group.id": "watched", "log_level": 0})
    places = member.committed([TopicPartition(stream.name, number) for number in range(3)], timeout=60)
    member.close()
    assert [one.offset for one in places] == [3, 3, 3]
    stores.close()


def test_tombstones_go_to_the_quarantine(cluster: MockKafka, tmp_path: Path) -> None:
    stream = Stream("kafka", tmp_path, cluster)
    stores = stream.stores()
    stream.append(stores, row(1), None, row(2))
    assert Lake(stores).ingest(dataset(stream)).rows_accepted == 2
    (entry,) = Lake(stores).quarantine("d").entries()
    assert "tombstone" in str(entry.reasons)
    stores.close()


def test_brokers_that_are_gone_are_said_in_bounded_time(tmp_path: Path) -> None:
    stores = Stream(KINDS[0], tmp_path, None).stores()
    lake = Lake(stores)
    source = kafka("kafka://lw:secret@127.0.0.1:9?security.protocol=PLAINTEXT", "orders", patience_s=0.3)
    assert "secret" not in json.dumps(source.describe()) + repr(source)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9") as raised:
        lake.ingest(Dataset("d", source))
    assert "secret" not in str(raised.value)
    with pytest.raises(SourceError, match="shop"):
        lake.ingest(Dataset("d", kafka("shop", "orders")))
    stores.close()


def test_brokers_that_go_while_reading(tmp_path: Path) -> None:
    with MockKafka() as cluster:
        stream = Stream("kafka", tmp_path, cluster)
        stores = stream.stores()
        stream.append(stores, row(1))
        lake = Lake(stores, on_stage=lambda stage: cluster.set_down() if stage == "planned" else None)
        with pytest.raises(SourceError, match=r"no record came for 1 s; partition 0 is at 0 of 1"):
            lake.ingest(dataset(stream, patience_s=1.0))
        cluster.set_up()
        assert Lake(stores).ingest(dataset(stream)).rows_accepted == 1
        stores.close()


def test_a_topic_that_is_not_there_is_named(cluster: MockKafka, tmp_path: Path) -> None:
    stores = Stream(KINDS[0], tmp_path, None).stores()
    with pytest.raises(SourceError, match="no topic 'absent'"):
        Lake(stores).ingest(Dataset("d", kafka(cluster.servers, "absent", patience_s=5)))
    stores.close()


def test_a_cluster_is_a_connection_of_the_settings(cluster: MockKafka, tmp_path: Path) -> None:
    (tmp_path / "loopwright.toml").write_text(f'[sources]\nshop = "kafka://{cluster.servers}?client.id=test"\n')
    stream = Stream("kafka", tmp_path, cluster)
    stores = stream.stores()
    stream.append(stores, row(1))
    assert Lake(stores).ingest(Dataset("d", kafka("shop", stream.name))).rows_accepted == 1
    stores.close()


class Said:
    """What a consumer gives: a record, or the news that the end of what may be read is reached."""

    def __init__(self, offset: int, *, is_end: bool = False) -> None:
        self._offset = offset
        self._error = KafkaError(KafkaError._PARTITION_EOF) if is_end else None

    def error(self) -> KafkaError | None:
        return self._error

    def offset(self) -> int:
        return self._offset

    def partition(self) -> int:
        return 0

    def value(self) -> bytes:
        return row(self._offset)

    def key(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, self._offset

    def headers(self) -> None:
        return None


@pytest.mark.parametrize(
    ("said", "read", "reached"),
    [
        ([Said(0), Said(1), Said(2), Said(3), Said(4)], [0, 1, 2, 3, 4], 5),
        ([Said(0), Said(2), Said(5, is_end=True)], [0, 2], 5),  # compacted, and a mark of a transaction at the end
        ([Said(0), Said(3), Said(6), Said(7)], [0, 3], 5),  # the same, and more was written meanwhile
        ([Said(0), Said(1), Said(2, is_end=True)], [0, 1], 2),  # what follows is of a transaction that is still open
        ([Said(5, is_end=True)], [], 5),
    ],
)
@pytest.mark.parametrize("at_once", [1, 10])
def test_offsets_without_a_record(
    said: list[Said], read: list[int], reached: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mock cluster neither compacts nor holds transactions back: a consumer that gives what brokers then give."""
    feed = KafkaFeed(kafka("127.0.0.1:9", "orders"), KafkaUrl.parse("127.0.0.1:9"))
    feed.close()
    left = list(said)

    class Giving:
        def consume(self, *_: object) -> list[Said]:
            given, left[:] = left[:at_once], left[at_once:]
            return given

        def assign(self, *_: object) -> None: ...

        unassign = resume = pause = assign

    monkeypatch.setattr(feed, "_consumer", Giving())
    found = [offset for piece in feed.read({"0": Span(0, 5)}) for offset in piece.offsets]
    assert (found, feed.reached()) == (read, {"0": reached})
