"""The embedded online store: one SQLite file in WAL mode, read and written by many threads and processes.

One row per view and entity; the values are MessagePack. A read of many keys is one query of one tree, in which a view
is a number: keys that began with the view's name, in an index of their own, took a third longer to read and to write.
Rows are written in the order of their keys: half the cost of a random order once the file is larger than a cache.
Writers wait for each other (``BEGIN IMMEDIATE``), readers never wait. A committed write survives the death of the
process at any moment.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import StoreBusyError, StoreCorruptError, StoreError, StoreFullError
from loopwright.features.online import KeyLookup, OnlineRow, Value, oldest_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

BUSY_SECONDS = 60
KEYS_PER_QUERY = 900  # SQLite allows 32,766 variables; beyond a few hundred the plan gains nothing
SCHEMA_VERSION = 2
MAPPED_BYTES = 1 << 30  # pages are read where they lie; a cache of our own is lost with each write of another process

_SCHEMA = """
CREATE TABLE online_views (id INTEGER PRIMARY KEY AUTOINCREMENT, view TEXT NOT NULL UNIQUE, mark TEXT);
CREATE TABLE online_rows (
    view INTEGER NOT NULL, key TEXT NOT NULL, event_time INTEGER NOT NULL, available_at INTEGER NOT NULL, value BLOB NOT
    NULL, PRIMARY KEY (view, key)
) WITHOUT ROWID;
"""
_FROM_1 = f"""
ALTER TABLE online_rows RENAME TO named_rows;
{_SCHEMA}
INSERT INTO online_views (view, mark) SELECT view, max(mark)
    FROM (SELECT view, mark FROM online_marks UNION ALL SELECT DISTINCT view, NULL FROM named_rows) GROUP BY view;
INSERT INTO online_rows SELECT v.id, r.key, r.event_time, r.available_at, r.value
    FROM named_rows AS r JOIN online_views AS v USING (view) ORDER BY 1, 2;
DROP TABLE named_rows;
DROP TABLE online_marks;
"""
_UPSERT = """
INSERT INTO online_rows VALUES (?, ?, ?, ?, ?)
ON CONFLICT (view, key) DO UPDATE SET event_time = excluded.event_time, available_at = excluded.available_at, value =
excluded.value WHERE (excluded.event_time, excluded.available_at) >= (online_rows.event_time, online_rows.available_at)
"""
_KNOW = "INSERT OR IGNORE INTO online_views (view) VALUES (?)"
_KEEP_MARK = "INSERT INTO online_views (view, mark) VALUES (?, ?) ON CONFLICT (view) DO UPDATE SET mark = excluded.mark"
_NUMBER = "SELECT id FROM online_views WHERE view = ?"
_SELECT = "SELECT key, event_time, available_at, value FROM online_rows WHERE view = ? AND event_time > ? AND key IN"
_FIRST = itemgetter(0)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Value]).decode


class SqliteOnlineStore:
    """Latest values in one SQLite file.

    Args:
        path: The file; made, with its folder, if it is not there.

    Raises:
        StoreError: If the file cannot be opened or is no such store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._translated():
            connection = self._connection()
            if self._version(connection) > SCHEMA_VERSION:
                raise StoreError(
                    f"The online store {path.name} was written by a newer version.", hint="Upgrade loopwright."
                )
            if self._version(connection) < SCHEMA_VERSION:
                connection.execute("PRAGMA journal_mode = WAL")
                self._make(connection)

    def _make(self, connection: sqlite3.Connection) -> None:
        """Make the tables, or take over those of version 1, in one transaction."""
        with self._transaction():
            version = self._version(connection)  # another process may have been first
            if version == SCHEMA_VERSION:
                return
            for statement in (_SCHEMA if version == 0 else _FROM_1).split(";")[:-1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def write_many(self, view: str, rows: Iterable[OnlineRow], *, mark: str | None = None) -> int:
        """Store rows and, with them, the mark; return how many were not older than what was there."""
        # A stable sort: of two rows with one key and equal times the last one stands.
        ready = sorted(((row.key, row.event_us, row.available_us, _encode(row.values)) for row in rows), key=_FIRST)
        with self._translated(), self._transaction() as connection:
            connection.execute(_KNOW, (view,))
            number = self._number(connection, view)
            before = connection.total_changes
            connection.executemany(_UPSERT, [(number, *row) for row in ready])
            written = connection.total_changes - before
            if mark is not None:
                connection.execute(_KEEP_MARK, (view, mark))
        return written

    def read_many(
        self, view: str, keys: Sequence[str], *, now: datetime, ttl: timedelta | None
    ) -> list[OnlineRow | None]:
        """Return the row of each key, in order; None where there is none or it is older than the ttl."""
        with self._translated():
            return self._read(self._connection(), view, keys, now, ttl)

    def read_views(self, asked: Sequence[KeyLookup], *, now: datetime) -> list[list[OnlineRow | None]]:
        """Return what ``read_many`` gives for each of several views, all as of one moment."""
        with self._translated():
            connection = self._connection()
            if len(asked) == 1:
                return [self._read(connection, asked[0].view, asked[0].keys, now, asked[0].ttl)]
            for one in asked:
                self._number(connection, one.view)  # kept from now on
            connection.execute("BEGIN")
            try:
                return [self._read(connection, one.view, one.keys, now, one.ttl) for one in asked]
            finally:
                connection.execute("COMMIT")

    def mark(self, view: str) -> str | None:
        """Return the mark that the last write with one left, or None."""
        with self._translated():
            row = self._connection().execute("SELECT mark FROM online_views WHERE view = ?", (view,)).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def count(self, view: str) -> int:
        """Return how many entities the view has."""
        query = f"SELECT count(*) FROM online_rows WHERE view = ({_NUMBER})"
        with self._translated():
            return int(self._connection().execute(query, (view,)).fetchone()[0])

    def views(self) -> list[str]:
        """Return the names of the views that have rows or a mark, sorted."""
        query = (
            "SELECT view FROM online_views AS v WHERE mark IS NOT NULL OR EXISTS "
            "(SELECT 1 FROM online_rows AS r WHERE r.view = v.id) ORDER BY view"
        )
        with self._translated():
            return [str(row[0]) for row in self._connection().execute(query)]

    def keys(self, view: str) -> list[str]:
        """Return the keys of the view's entities, sorted."""
        query = f"SELECT key FROM online_rows WHERE view = ({_NUMBER}) ORDER BY key"
        with self._translated():
            return [str(row[0]) for row in self._connection().execute(query, (view,))]

    def delete_many(self, view: str, keys: Sequence[str], *, mark: str | None = None) -> int:
        """Remove the rows of some entities and, with them, replace the mark; return how many rows there were.

        The space that they had is overwritten with zeros, and the write-ahead log is emptied.
        """
        with self._translated():
            connection = self._connection()
            connection.execute("PRAGMA secure_delete = ON")
            with self._transaction():
                number = self._number(connection, view)
                before = connection.total_changes
                query = "DELETE FROM online_rows WHERE view = ? AND key = ?"
                connection.executemany(query, [(number, key) for key in keys])
                deleted = connection.total_changes - before
                if mark is not None:
                    keep = (
                        "INSERT INTO online_views (view, mark) VALUES (?, ?) ON CONFLICT (view) DO UPDATE SET mark = ?"
                    )
                    connection.execute(keep, (view, mark, mark))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def drop(self, view: str) -> None:
        """Remove a view's rows and mark."""
        with self._translated(), self._transaction() as connection:
            connection.execute(f"DELETE FROM online_rows WHERE view = ({_NUMBER})", (view,))
            connection.execute("UPDATE online_views SET mark = NULL WHERE view = ?", (view,))

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            opened, self._opened = self._opened, []
        for connection in opened:
            connection.close()
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        known: tuple[int, sqlite3.Connection] | None = getattr(self._local, "connection", None)
        if known is not None and known[0] == os.getpid():
            return known[1]
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        self._local.connection = (os.getpid(), connection)
        with self._lock:
            self._opened.append(connection)
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            text = f"The online store {self.path.name}: {error}."
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise StoreBusyError(text) from error
            if name.startswith("SQLITE_FULL"):
                raise StoreFullError(text, hint="Free some space on the disk.") from error
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise StoreCorruptError(text, hint="Remove the file and materialise again.") from error
            raise StoreError(text) from error

    def _number(self, connection: sqlite3.Connection, view: str) -> int:
        """Return a view's number, which it keeps for good; 0, which no view has, where there is no such view."""
        number = self._numbers.get(view)
        if number is None:
            row = connection.execute(_NUMBER, (view,)).fetchone()
            if row is None:
                return 0
            number = int(row[0])
            if not connection.in_transaction:  # one that is not committed may be undone
                self._numbers[view] = number
        return number

    def _read(
        self, connection: sqlite3.Connection, view: str, keys: Sequence[str], now: datetime, ttl: timedelta | None
    ) -> list[OnlineRow | None]:
        number, oldest = self._number(connection, view), oldest_us(now, ttl)
        found: dict[str, OnlineRow] = {}
        wanted = keys if len(keys) == 1 else list(dict.fromkeys(keys))
        for start in range(0, len(wanted), KEYS_PER_QUERY):
            piece = wanted[start : start + KEYS_PER_QUERY]
            query = f"{_SELECT} ({','.join('?' * len(piece))})"
            for key, event_us, available_us, value in connection.execute(query, (number, oldest, *piece)):
                found[key] = OnlineRow(key, event_us, available_us, _decode(value))
        return [found.get(key) for key in keys]
