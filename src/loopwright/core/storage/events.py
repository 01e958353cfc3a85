"""Events in order: a topic is a list that only grows, read by offset; consumer groups remember how far they came.

The port is small so that SQLite and Kafka both fit behind it; ``loopwright.core.storage.conformance.event_log`` holds
the tests that every adapter passes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from loopwright.core.clock import SystemClock
from loopwright.core.errors import (
    DeclarationError,
    SettingsError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreTooNewError,
)
from loopwright.core.storage.location import made_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loopwright.core.clock import Clock

_PATIENCE_S = 60.0  # how long a writer waits for the others
_FORMAT = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (topic TEXT PRIMARY KEY, last INTEGER NOT NULL, trimmed INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (topic TEXT NOT NULL, offset INTEGER NOT NULL, key TEXT, value BLOB NOT NULL,
    headers TEXT, appended_at INTEGER NOT NULL, PRIMARY KEY (topic, offset)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS consumers (topic TEXT NOT NULL, name TEXT NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (topic, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS producers (topic TEXT NOT NULL, name TEXT NOT NULL, sequence INTEGER NOT NULL,
    first INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (topic, name)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Event:
    """What a producer appends: bytes, with a key (or None) and texts beside them."""

    key: str | None
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredEvent:
    """An event at its place in a topic; offsets begin at 1 and have no gaps."""

    offset: int
    key: str | None
    value: bytes
    headers: Mapping[str, str]
    appended_at: datetime


@runtime_checkable
class EventLog(Protocol):
    """Topics of events in order.

    Any number of processes and threads may append and read at once. The events of one ``append`` lie side by side, in
    their order, and become visible together; appends of one producer keep their order. What ``append`` returned for is
    kept if the process dies. Reading and ``commit`` give at-least-once processing: commit after the work is done, and a
    consumer that died begins again behind its last commit.
    """

    def append(
        self, topic: str, events: Sequence[Event], *, producer: str | None = None, sequence: int | None = None
    ) -> list[int]:
        """Append the events and return their offsets; a repeated ``(producer, sequence)`` adds nothing."""
        ...

    def read(self, topic: str, *, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Return up to ``limit`` events behind offset ``after``, in order; none from a topic that is not there."""
        ...

    def end(self, topic: str) -> int:
        """Return the offset of the topic's newest event, 0 when there has been none."""
        ...

    def start(self, topic: str) -> int:
        """Return the offset up to which the topic has been trimmed, 0 when never."""
        ...

    def topics(self) -> list[str]:
        """List the topics, by name."""
        ...

    def committed(self, topic: str, group: str) -> int:
        """Return the offset the group committed last, 0 when it has not yet."""
        ...

    def commit(self, topic: str, group: str, offset: int) -> None:
        """Note that the group is done with everything up to ``offset``; the newest call counts, back or forth."""
        ...

    def trim(self, topic: str, up_to: int) -> int:
        """Remove the events up to offset ``up_to`` and return how many went; offsets of the others stay."""
        ...

    def close(self) -> None:
        """Give back what this thread holds open."""
        ...


class SqliteEventLog:
    """The event log in one SQLite file, for the processes of one machine.

    Durable against the death of a process when ``append`` returns; the last moments may be lost with the machine's
    power (write-ahead log, ``synchronous=NORMAL``), never the order. Not for a network file system. Each thread has
    its own connection, and so has each forked child.

    Args:
        url: a path, or ``sqlite:///`` and a path.
        clock: where ``appended_at`` comes from.

    >>> import tempfile
    >>> log = SqliteEventLog(Path(tempfile.mkdtemp()) / "events.db")
    >>> log.append("orders", [Event(None, b"first"), Event(None, b"second")])
    [1, 2]
    >>> [event.value for event in log.read("orders", after=1)]
    [b'second']
    >>> log.close()
    """

    def __init__(self, url: str | Path, *, clock: Clock | None = None) -> None:
        self._path = _path(url)
        self._clock = clock or SystemClock()
        self._local = threading.local()
        made_folder(self._path.parent, "[stream] url")
        with self._translated("open"):
            self._prepare()

    def append(
        self, topic: str, events: Sequence[Event], *, producer: str | None = None, sequence: int | None = None
    ) -> list[int]:
        """Append the events in one transaction and return their offsets.

        Args:
            topic: the topic; the first append makes it.
            events: what to append; nothing is fine.
            producer: who appends, for appends that are repeated after a crash.
            sequence: the producer's own count of its appends, growing. The one it appended last is answered with the
                offsets it got then; an older one is refused.

        Raises:
            StoreBusyError: the file stayed locked for a minute.
            StoreFullError: no space is left; none of the events is in.
            DeclarationError: ``producer`` without ``sequence``, or a sequence older than the producer's last.
        """
        if (producer is None) != (sequence is None):
            raise DeclarationError("An idempotent append needs both producer and sequence.", hint="Give both, or none.")
        if not events:
            return []
        at = stored_microseconds(self._clock.now())
        with self._writing("append") as connection:
            if producer is not None and sequence is not None:
                known = self._appended(connection, topic, producer, sequence)
                if known is not None:
                    return known
            first = self._insert(connection, topic, events, at)
            if producer is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO producers VALUES (?, ?, ?, ?, ?)",
                    (topic, producer, sequence, first, len(events)),
                )
        return list(range(first, first + len(events)))

    def read(self, topic: str, *, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Return up to ``limit`` events behind offset ``after``, in order; none from a topic that is not there."""
        with self._translated("read"):
            rows = self._connection().execute(
                "SELECT offset, value, key, headers, appended_at FROM events "
                "WHERE topic = ? AND offset > ? ORDER BY offset LIMIT ?",
                (topic, after, limit),
            )
            return [
                StoredEvent(
                    offset=offset,
                    value=value,
                    key=key,
                    headers=stored_headers(headers),
                    appended_at=_EPOCH + timedelta(microseconds=at),
                )
                for offset, value, key, headers, at in rows
            ]

    def end(self, topic: str) -> int:
        """Return the offset of the topic's newest event, 0 when there has been none."""
        return self._number("SELECT last FROM topics WHERE topic = ?", topic)

    def start(self, topic: str) -> int:
        """Return the offset up to which the topic has been trimmed, 0 when never."""
        return self._number("SELECT trimmed FROM topics WHERE topic = ?", topic)

    def topics(self) -> list[str]:
        """List the topics, by name."""
        with self._translated("read"):
            return [row[0] for row in self._connection().execute("SELECT topic FROM topics ORDER BY topic")]

    def committed(self, topic: str, group: str) -> int:
        """Return the offset the group committed last, 0 when it has not yet."""
        return self._number("SELECT offset FROM consumers WHERE topic = ? AND name = ?", topic, group)

    def commit(self, topic: str, group: str, offset: int) -> None:
        """Note that the group is done with everything up to ``offset``; the newest call counts, back or forth.

        Raises:
            DeclarationError: the offset is negative or behind the topic's end.
        """
        with self._writing("commit an offset") as connection:
            row = connection.execute("SELECT last FROM topics WHERE topic = ?", (topic,)).fetchone()
            end = int(row[0]) if row else 0
            if not 0 <= offset <= end:
                raise DeclarationError(
                    f"Group '{group}' cannot commit offset {offset} of topic '{topic}', which ends at {end}.",
                    hint="Commit the offset of an event that was read.",
                )
            connection.execute("INSERT OR REPLACE INTO consumers VALUES (?, ?, ?)", (topic, group, offset))

    def trim(self, topic: str, up_to: int) -> int:
        """Remove the events up to offset ``up_to`` and return how many went; offsets of the others stay."""
        with self._writing("trim") as connection:
            gone = connection.execute("DELETE FROM events WHERE topic = ? AND offset <= ?", (topic, up_to)).rowcount
            connection.execute("UPDATE topics SET trimmed = max(trimmed, min(last, ?)) WHERE topic = ?", (up_to, topic))
        return gone

    def close(self) -> None:
        """Close this thread's connection; using the log again opens a new one."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and self._local.process == os.getpid():
            connection.close()
        self._local.connection = None

    def _insert(self, connection: sqlite3.Connection, topic: str, events: Sequence[Event], at: int) -> int:
        """Add events within a transaction and return the offset of the first."""
        row = connection.execute(
            "INSERT INTO topics VALUES (?, ?, 0) ON CONFLICT (topic) DO UPDATE SET last = last + excluded.last "
            "RETURNING last",
            (topic, len(events)),
        ).fetchone()
        first = int(row[0]) - len(events) + 1
        connection.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
            [
                (topic, first + i, event.key, event.value, _headers_text(event.headers), at)
                for i, event in enumerate(events)
            ],
        )
        return first

    def _appended(self, connection: sqlite3.Connection, topic: str, producer: str, sequence: int) -> list[int] | None:
        row = connection.execute(
            "SELECT sequence, first, count FROM producers WHERE topic = ? AND name = ?", (topic, producer)
        ).fetchone()
        if row is None or row[0] < sequence:
            return None
        if row[0] > sequence:
            raise DeclarationError(
                f"Producer '{producer}' appended number {row[0]} to topic '{topic}' and now comes with {sequence}.",
                hint="Only the last append can be repeated; count on from there.",
            )
        return list(range(row[1], row[1] + row[2]))

    def _number(self, sql: str, *values: str) -> int:
        with self._translated("read"):
            row = self._connection().execute(sql, values).fetchone()
        return int(row[0]) if row else 0

    def _prepare(self) -> None:
        connection = self._connection()
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found > _FORMAT:
            raise StoreTooNewError(
                f"The event log '{self._path}' has format {found}; this version of Loopwright reads up to {_FORMAT}.",
                hint="Upgrade Loopwright.",
            )
        if found == _FORMAT:
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;")

    def _connection(self) -> sqlite3.Connection:
        """Give this thread's connection; a forked child leaves its parent's alone and opens its own."""
        process = os.getpid()
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.process == process:
            return connection
        if connection is not None:
            _ABANDONED.append(connection)  # closing it here would drop the parent's locks
        connection = sqlite3.connect(self._path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        self._local.connection, self._local.process = connection, process
        return connection

    @contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._translated(doing):
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turn SQLite's exceptions into ours."""
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            where = f"the event log '{self._path}'"
            if "locked" in text or "busy" in text:
                raise StoreBusyError(
                    f"Could not {doing}: {where} stayed locked for {_PATIENCE_S:.0f} s.",
                    hint="Look for a process that keeps it open, and keep it off network file systems.",
                ) from error
            if "full" in text:
                raise StoreFullError(f"No space is left for {where}.", hint="Free some space, or trim it.") from error
            if "malformed" in text or "not a database" in text:
                raise StoreCorruptError(f"Could not {doing}: {where} is damaged ({text}).") from error
            raise StoreError(f"Could not {doing}: {where}: {text}.") from error


_ABANDONED: list[sqlite3.Connection] = []


def _path(url: str | Path) -> Path:
    if isinstance(url, Path):
        return url
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///"))
    if "://" in url:
        raise SettingsError(f"'{url}' is no place for the event log.", hint="Use sqlite:/// and a path.")
    return Path(url)


def stored_microseconds(moment: datetime) -> int:
    """Return a moment as the file has it: microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def stored_headers(text: str | None) -> dict[str, str]:
    """Return headers from the text that the file has of them."""
    return json.loads(text) if text else {}


def _headers_text(headers: Mapping[str, str]) -> str | None:
    return json.dumps(dict(headers)) if headers else None
