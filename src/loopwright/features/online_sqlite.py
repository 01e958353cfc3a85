"""The embedded online store: one SQLite file in WAL mode, read and written by many threads and processes.

One row per view and entity; the values are MessagePack. A read of many keys is one query. Keys are found in an index of
their own, apart from the values: with both in one tree, reads of 100 keys and writes took a quarter longer.
Writers wait for each other (``BEGIN IMMEDIATE``), readers never wait. A committed write survives the death of the
process at any moment.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import StoreBusyError, StoreCorruptError, StoreError, StoreFullError
from loopwright.features.online import KeyLookup, OnlineRow, Value, from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

BUSY_SECONDS = 60
KEYS_PER_QUERY = 900  # SQLite allows 32,766 variables; beyond a few hundred the plan gains nothing
SCHEMA_VERSION = 1
MAPPED_BYTES = 1 << 30  # pages are read where they lie; a cache of our own is lost with each write of another process

_SCHEMA = """
CREATE TABLE IF NOT EXISTS online_rows (
    view TEXT NOT NULL, key TEXT NOT NULL, event_time INTEGER NOT NULL, available_at INTEGER NOT NULL, value BLOB NOT
    NULL, PRIMARY KEY (view, key)
);
CREATE TABLE IF NOT EXISTS online_marks (view TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
"""
_UPSERT = """
INSERT INTO online_rows VALUES (?, ?, ?, ?, ?)
ON CONFLICT (view, key) DO UPDATE SET event_time = excluded.event_time, available_at = excluded.available_at, value =
excluded.value WHERE (excluded.event_time, excluded.available_at) >= (online_rows.event_time, online_rows.available_at)
"""
_SELECT = "SELECT key, event_time, available_at, value FROM online_rows WHERE view = ? AND key IN"
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
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._translated():
            connection = self._connection()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"The online store {path.name} was written by a newer version.", hint="Upgrade loopwright."
                )
            if version < SCHEMA_VERSION:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA + f"PRAGMA user_version = {SCHEMA_VERSION};")

    def write_many(self, view: str, rows: Iterable[OnlineRow], *, mark: str | None = None) -> int:
        """Store rows and, with them, the mark; return how many were not older than what was there."""
        values = [
            (view, row.key, to_micros(row.event_time), to_micros(row.available_at), _encode(row.values)) for row in rows
        ]
        with self._translated(), self._transaction() as connection:
            before = connection.total_changes
            connection.executemany(_UPSERT, values)
            written = connection.total_changes - before
            if mark is not None:
                connection.execute("INSERT OR REPLACE INTO online_marks VALUES (?, ?)", (view, mark))
        return written

    def read_many(
        self, view: str, keys: Sequence[str], *, now: datetime, ttl: timedelta | None
    ) -> list[OnlineRow | None]:
        """Return the row of each key, in order; None where there is none or it is older than the ttl."""
        with self._translated():
            return _read(self._connection(), view, keys, now, ttl)

    def read_views(self, asked: Sequence[KeyLookup], *, now: datetime) -> list[list[OnlineRow | None]]:
        """Return what ``read_many`` gives for each of several views, all as of one moment."""
        with self._translated():
            connection = self._connection()
            if len(asked) == 1:
                return [_read(connection, asked[0].view, asked[0].keys, now, asked[0].ttl)]
            connection.execute("BEGIN")
            try:
                return [_read(connection, one.view, one.keys, now, one.ttl) for one in asked]
            finally:
                connection.execute("COMMIT")

    def mark(self, view: str) -> str | None:
        """Return the mark that the last write with one left, or None."""
        with self._translated():
            row = self._connection().execute("SELECT mark FROM online_marks WHERE view = ?", (view,)).fetchone()
        return None if row is None else str(row[0])

    def count(self, view: str) -> int:
        """Return how many entities the view has."""
        with self._translated():
            row = self._connection().execute("SELECT count(*) FROM online_rows WHERE view = ?", (view,)).fetchone()
        return int(row[0])

    def views(self) -> list[str]:
        """Return the names of the views that have rows or a mark, sorted."""
        query = "SELECT DISTINCT view FROM online_rows UNION SELECT view FROM online_marks ORDER BY 1"
        with self._translated():
            return [str(row[0]) for row in self._connection().execute(query)]

    def keys(self, view: str) -> list[str]:
        """Return the keys of the view's entities, sorted."""
        query = "SELECT key FROM online_rows WHERE view = ? ORDER BY key"
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
                before = connection.total_changes
                query = "DELETE FROM online_rows WHERE view = ? AND key = ?"
                connection.executemany(query, [(view, key) for key in keys])
                deleted = connection.total_changes - before
                if mark is not None:
                    connection.execute("INSERT OR REPLACE INTO online_marks VALUES (?, ?)", (view, mark))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def drop(self, view: str) -> None:
        """Remove a view's rows and mark."""
        with self._translated(), self._transaction() as connection:
            connection.execute("DELETE FROM online_rows WHERE view = ?", (view,))
            connection.execute("DELETE FROM online_marks WHERE view = ?", (view,))

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


def _read(
    connection: sqlite3.Connection, view: str, keys: Sequence[str], now: datetime, ttl: timedelta | None
) -> list[OnlineRow | None]:
    oldest = -(2**63) if ttl is None else to_micros(now - ttl)
    found: dict[str, OnlineRow] = {}
    wanted = keys if len(keys) == 1 else list(dict.fromkeys(keys))
    for start in range(0, len(wanted), KEYS_PER_QUERY):
        piece = wanted[start : start + KEYS_PER_QUERY]
        marks = ",".join("?" * len(piece))
        query = f"{_SELECT} ({marks}) AND event_time > ?"
        for key, event_time, available_at, value in connection.execute(query, (view, *piece, oldest)):
            moment = from_micros(event_time)
            known = moment if available_at == event_time else from_micros(available_at)
            found[key] = OnlineRow(key, moment, known, _decode(value))
    return [found.get(key) for key in keys]
