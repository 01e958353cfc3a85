from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from loopwright.core.errors import DeclarationError, SettingsError, StoreBusyError, StoreCorruptError, StoreTooNewError
from loopwright.core.storage import events as module
from loopwright.core.storage.events import Event, SqliteEventLog

if TYPE_CHECKING:
    from loopwright.core.clock import ManualClock

_TOPICS = st.sampled_from(["a", "b"])
_EVENTS = st.lists(
    st.builds(
        Event,
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.binary(max_size=10),
        st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    ),
    max_size=4,
)


class EventLogAgainstList(RuleBasedStateMachine):
    """The log does what a list per topic does, over openings, too."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.lists: dict[str, list[Event]] = {"a": [], "b": []}
        self.trimmed = {"a": 0, "b": 0}
        self.committed: dict[tuple[str, str], int] = {}
        self.sequences: dict[tuple[str, str], tuple[int, list[int]]] = {}
        self.log = SqliteEventLog(Path(self.folder.name) / "events.db")

    def teardown(self) -> None:
        self.log.close()
        self.folder.cleanup()

    @rule(topic=_TOPICS, events=_EVENTS)
    def append(self, topic: str, events: list[Event]) -> None:
        offsets = self.log.append(topic, events)
        assert offsets == list(range(len(self.lists[topic]) + 1, len(self.lists[topic]) + len(events) + 1))
        self.lists[topic] += events

    @rule(topic=_TOPICS, events=_EVENTS.filter(bool), producer=st.sampled_from(["p", "q"]), again=st.booleans())
    def append_once(self, topic: str, events: list[Event], producer: str, again: bool) -> None:
        last, offsets = self.sequences.get((topic, producer), (0, []))
        if again and last:
            assert self.log.append(topic, events, producer=producer, sequence=last) == offsets
            return
        offsets = self.log.append(topic, events, producer=producer, sequence=last + 1)
        self.sequences[topic, producer] = (last + 1, offsets)
        self.lists[topic] += events

    @rule(topic=_TOPICS, after=st.integers(0, 12), limit=st.integers(1, 6))
    def read(self, topic: str, after: int, limit: int) -> None:
        found = self.log.read(topic, after=after, limit=limit)
        first = max(after, self.trimmed[topic])
        assert [Event(e.key, e.value, e.headers) for e in found] == self.lists[topic][first : first + limit]
        assert [e.offset for e in found] == list(range(first + 1, first + 1 + len(found)))

    @rule(topic=_TOPICS, group=st.sampled_from(["g", "h"]), offset=st.integers(-1, 12))
    def commit(self, topic: str, group: str, offset: int) -> None:
        if 0 <= offset <= len(self.lists[topic]):
            self.log.commit(topic, group, offset)
            self.committed[topic, group] = offset
        else:
            with pytest.raises(DeclarationError):
                self.log.commit(topic, group, offset)

    @rule(topic=_TOPICS, up_to=st.integers(0, 12))
    def trim(self, topic: str, up_to: int) -> None:
        before = self.trimmed[topic]
        self.trimmed[topic] = max(before, min(up_to, len(self.lists[topic])))
        assert self.log.trim(topic, up_to) == self.trimmed[topic] - before

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = SqliteEventLog(Path(self.folder.name) / "events.db")

    @invariant()
    def ends_and_groups_agree(self) -> None:
        for topic, events in self.lists.items():
            assert self.log.end(topic) == len(events)
            assert self.log.start(topic) == self.trimmed[topic]
            for group in ("g", "h"):
                assert self.log.committed(topic, group) == self.committed.get((topic, group), 0)


EventLogAgainstList.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestEventLogAgainstList = EventLogAgainstList.TestCase

PRODUCER = """
import sys
from loopwright.core.storage.events import Event, SqliteEventLog

log = SqliteEventLog(sys.argv[1])
for number in range(int(sys.argv[3])):
    log.append("t", [Event(sys.argv[2], str(number).encode())])
"""


def test_sixteen_processes_append_a_thousand_times_each(tmp_path: Path) -> None:
    """No error, nothing lost, each producer's order kept; they also race for the creation of the file."""
    path = tmp_path / "events.db"
    writers, times = 16, 1000
    running = [
        subprocess.Popen([sys.executable, "-c", PRODUCER, str(path), str(i), str(times)], stderr=subprocess.PIPE)
        for i in range(writers)
    ]
    errors = [process.communicate()[1].decode() for process in running]
    assert errors == [""] * writers
    log = SqliteEventLog(path)
    events = log.read("t", limit=10**6)
    log.close()
    assert [event.offset for event in events] == list(range(1, writers * times + 1))
    for i in range(writers):
        assert [event.value for event in events if event.key == str(i)] == [str(n).encode() for n in range(times)]


def test_a_forked_child_has_its_own_connection(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    log.append("t", [Event(None, b"parent")])
    child = os.fork()
    if child == 0:
        try:
            log.append("t", [Event(None, b"child")])
            log.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    log.append("t", [Event(None, b"parent again")])
    assert [event.value for event in log.read("t")] == [b"parent", b"child", b"parent again"]
    log.close()


def test_a_failed_append_leaves_nothing(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    with pytest.raises(Exception, match="bind"):
        log.append("t", [Event(None, b"fine"), Event(None, object())])  # type: ignore[arg-type]
    assert (log.end("t"), log.read("t")) == (0, [])
    assert log.append("t", [Event(None, b"next")]) == [1]
    log.close()


def test_times_come_from_the_clock(tmp_path: Path, clock: ManualClock) -> None:
    log = SqliteEventLog(tmp_path / "events.db", clock=clock)
    log.append("t", [Event(None, b"")])
    clock.advance(timedelta(microseconds=1))
    log.append("t", [Event(None, b"")])
    assert [event.appended_at for event in log.read("t")] == [clock.now() - timedelta(microseconds=1), clock.now()]
    log.close()


def test_says_that_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    log = SqliteEventLog(tmp_path / "events.db")
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="locked"):
        log.append("t", [Event(None, b"")])
    assert log.read("t") == []  # readers never wait
    other.execute("ROLLBACK")
    other.close()
    assert log.append("t", [Event(None, b"")]) == [1]
    log.close()


def test_refuses_a_newer_file(tmp_path: Path) -> None:
    SqliteEventLog(tmp_path / "events.db").close()
    connection = sqlite3.connect(tmp_path / "events.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreTooNewError, match="99"):
        SqliteEventLog(tmp_path / "events.db")


def test_refuses_a_file_that_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreCorruptError, match="damaged"):
        SqliteEventLog(tmp_path / "events.db")


def test_understands_urls(tmp_path: Path) -> None:
    for url in (tmp_path / "a.db", str(tmp_path / "b.db"), f"sqlite:///{tmp_path}/c.db"):
        SqliteEventLog(url).close()
    assert {path.name for path in tmp_path.glob("*.db")} == {"a.db", "b.db", "c.db"}
    with pytest.raises(SettingsError):
        SqliteEventLog("kafka://broker/topic")
