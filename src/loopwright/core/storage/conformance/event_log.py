"""What an event log promises, clause by clause."""
# ruff: noqa: S101 - assertions are what this module is made of

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

import pytest

from loopwright.core.errors import DeclarationError
from loopwright.core.storage.events import Event, EventLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def _events(*values: str) -> list[Event]:
    return [Event(None, value.encode()) for value in values]


def _values(log: EventLog, topic: str, *, after: int = 0, limit: int = 1000) -> list[str]:
    return [event.value.decode() for event in log.read(topic, after=after, limit=limit)]


class EventLogConformance:
    """Subclasses give a fixture ``reopen``: a function that opens the same, at first empty, log once more.

    ``gaps`` names the tests that an adapter, or the server it is held to, cannot pass, each with the reason.
    """

    gaps: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _declared_gap(self, request: pytest.FixtureRequest) -> None:
        reason = self.gaps.get(request.node.originalname)
        if reason is not None:
            pytest.skip(reason)

    @pytest.fixture
    def log(self, reopen: Callable[[], EventLog]) -> Iterator[EventLog]:
        """Open the log under test."""
        opened = reopen()
        yield opened
        opened.close()

    def test_is_an_event_log(self, log: EventLog) -> None:
        """An adapter has every method of the port."""
        assert isinstance(log, EventLog)

    def test_offsets_begin_at_one_and_have_no_gaps(self, log: EventLog) -> None:
        """Offsets of a topic are 1, 2, 3, … over all its appends."""
        assert log.append("a", _events("x", "y")) == [1, 2]
        assert log.append("a", _events("z")) == [3]
        assert [event.offset for event in log.read("a")] == [1, 2, 3]
        assert log.end("a") == 3

    def test_gives_back_what_was_appended(self, log: EventLog) -> None:
        """Key, value and headers come back byte for byte; the time of the append has a zone."""
        event = Event("käse", bytes(range(256)), {"type": "row", "ü": ""})
        log.append("a", [event, Event(None, b"")])
        first, second = log.read("a")
        assert (first.key, first.value, dict(first.headers)) == (event.key, event.value, event.headers)
        assert (second.key, second.value, dict(second.headers)) == (None, b"", {})
        assert first.appended_at.utcoffset() is not None

    def test_topics_do_not_touch_each_other(self, log: EventLog) -> None:
        """Each topic counts for itself, and both are listed."""
        log.append("b", _events("x"))
        assert log.append("a", _events("y")) == [1]
        assert _values(log, "b") == ["x"]
        assert log.topics() == ["a", "b"]

    def test_an_unknown_topic_is_empty(self, log: EventLog) -> None:
        """Reading what is not there is no error."""
        assert log.read("nothing") == []
        assert (log.end("nothing"), log.start("nothing"), log.committed("nothing", "g")) == (0, 0, 0)
        assert log.trim("nothing", 5) == 0

    def test_appending_nothing_changes_nothing(self, log: EventLog) -> None:
        """An empty append gives no offsets and makes no topic."""
        assert log.append("a", []) == []
        assert log.topics() == []

    def test_reads_behind_an_offset_and_up_to_a_limit(self, log: EventLog) -> None:
        """``after`` is left out, ``limit`` holds, and reading on from the last offset gives every event once."""
        log.append("a", _events(*"abcdefg"))
        assert _values(log, "a", after=2, limit=3) == ["c", "d", "e"]
        seen: list[str] = []
        after = 0
        while batch := log.read("a", after=after, limit=2):
            seen += [event.value.decode() for event in batch]
            after = batch[-1].offset
        assert seen == list("abcdefg")

    def test_what_was_appended_outlives_the_log(self, log: EventLog, reopen: Callable[[], EventLog]) -> None:
        """Another opening of the same log sees all of it, commits too."""
        log.append("a", _events("x"))
        log.commit("a", "g", 1)
        again = reopen()
        try:
            assert _values(again, "a") == ["x"]
            assert again.committed("a", "g") == 1
            assert again.append("a", _events("y")) == [2]
        finally:
            again.close()
        assert _values(log, "a") == ["x", "y"]

    def test_groups_remember_their_own_offset(self, log: EventLog) -> None:
        """Each group has its own place, which can be moved forth and back."""
        log.append("a", _events("x", "y", "z"))
        log.commit("a", "one", 3)
        log.commit("a", "two", 1)
        assert (log.committed("a", "one"), log.committed("a", "two"), log.committed("a", "three")) == (3, 1, 0)
        log.commit("a", "one", 2)
        assert log.committed("a", "one") == 2

    @pytest.mark.parametrize("offset", [-1, 2])
    def test_refuses_a_commit_outside_the_topic(self, log: EventLog, offset: int) -> None:
        """A group cannot be done with what is not there."""
        log.append("a", _events("x"))
        with pytest.raises(DeclarationError):
            log.commit("a", "g", offset)
        assert log.committed("a", "g") == 0

    def test_a_repeated_append_adds_nothing(self, log: EventLog) -> None:
        """The same producer and sequence gets the same offsets again, whatever was appended in between."""
        assert log.append("a", _events("x", "y"), producer="p", sequence=1) == [1, 2]
        log.append("a", _events("other"))
        assert log.append("a", _events("x", "y"), producer="p", sequence=1) == [1, 2]
        assert log.append("a", _events("z"), producer="p", sequence=2) == [4]
        assert log.append("a", _events("x"), producer="q", sequence=1) == [5]
        assert _values(log, "a") == ["x", "y", "other", "z", "x"]

    def test_refuses_a_sequence_that_goes_back(self, log: EventLog) -> None:
        """A producer that counts backwards has lost its place: saying so beats a guess."""
        log.append("a", _events("x"), producer="p", sequence=5)
        with pytest.raises(DeclarationError):
            log.append("a", _events("x"), producer="p", sequence=4)
        with pytest.raises(DeclarationError):
            log.append("a", _events("x"), producer="p")
        assert log.end("a") == 1

    def test_trimming_keeps_the_offsets_of_the_rest(self, log: EventLog) -> None:
        """Trimmed events are gone, the others keep their offsets, and new ones go on behind the end."""
        log.append("a", _events("x", "y", "z"))
        assert log.trim("a", 2) == 2
        assert [event.offset for event in log.read("a")] == [3]
        assert (log.start("a"), log.end("a")) == (2, 3)
        assert log.trim("a", 1) == 0
        assert log.trim("a", 99) == 1
        assert (log.start("a"), log.end("a"), log.read("a")) == (3, 3, [])
        assert log.append("a", _events("w")) == [4]

    def test_threads_append_side_by_side(self, log: EventLog) -> None:
        """Batches of several threads stay whole, each thread's order is kept, no offset is given twice."""
        threads, batches = 4, 25
        offsets: list[list[int]] = []

        def produce(name: str) -> None:
            offsets.extend(
                log.append("a", [Event(name, f"{i}.{j}".encode()) for j in range(3)]) for i in range(batches)
            )
            log.close()

        running = [threading.Thread(target=produce, args=(str(number),)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        events = log.read("a", limit=10_000)
        assert [event.offset for event in events] == list(range(1, threads * batches * 3 + 1))
        assert sorted(offset for batch in offsets for offset in batch) == [event.offset for event in events]
        assert all(batch == list(range(batch[0], batch[0] + 3)) for batch in offsets)
        expected = [f"{i}.{j}" for i in range(batches) for j in range(3)]
        for number in range(threads):
            assert [event.value.decode() for event in events if event.key == str(number)] == expected
