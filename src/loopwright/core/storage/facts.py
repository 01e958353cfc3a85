"""Facts in SQL: runs, versions, aliases, turns, signals, lineage. SQLite when embedded, PostgreSQL when outgrown.

Each room declares its tables on :data:`metadata`, beside the noun they hold; ``migrations/`` spells how a store gets
there. The embedded store migrates by itself when it is opened.

SQLite runs in WAL mode with one writer at a time: a write takes its lock at the start (``BEGIN IMMEDIATE``), waits up
to :data:`BUSY_SECONDS` for its turn, and stays short. So sixteen processes can write at once without an error.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from loopwright.core.errors import (
    MissingExtraError,
    SettingsError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreTooNewError,
)
from loopwright.core.storage.location import made_folder
from loopwright.core.storage.migrations.chain import known_revisions, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.dialects import postgresql

BUSY_SECONDS = 60
_PG_COUNTER = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "afs", "glusterfs", "ceph", "lustre")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC, stored as microseconds since 1970: sorts and compares the same in every database."""

    impl = sa.BigInteger
    cache_ok = True
    _EPOCH: ClassVar[datetime] = datetime(1970, 1, 1, tzinfo=UTC)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        """Turn a moment into microseconds.

        Raises:
            ValueError: If the moment has no time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a stored time needs a time zone, got {value!r}")
        return (value - self._EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Turn microseconds into a moment."""
        return None if value is None else self._EPOCH + timedelta(microseconds=value)


class Facts:
    """The relational store.

    Concurrency: any number of threads and processes may share one store. A transaction that :meth:`write` opened is
    alone among writers and becomes visible as a whole when the block ends, or not at all. Readers see the last
    committed state and never wait.

    Durability: embedded, a committed fact survives the death of the process at any moment; at a power cut the last
    commits of the unfinished WAL interval may be missing, never a part of one.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg://…``.

    Raises:
        StoreTooNewError: If a newer version of Loopwright wrote the store.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._is_sqlite = url.startswith("sqlite")
        self._counter_lock = threading.Lock()
        self._counter: sqlite3.Connection | None = None
        with _translated(url):
            if self._is_sqlite:
                path = _sqlite_path(url)
                made_folder(path.parent, "[metadata] url")
                _refuse_network_disk(path)
            self.engine = _engine(url, is_sqlite=self._is_sqlite)
        _ENGINES.add(self.engine)
        self._ensure_current()

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a read transaction: everything read inside comes from one moment."""
        with _translated(self.url), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a write transaction, committed when the block ends and rolled back when it raises.

        Raises:
            StoreBusyError: If other writers held the store for :data:`BUSY_SECONDS`.
            StoreFullError: If the disk is full; nothing of the block is kept.
        """
        with (
            _translated(self.url),
            self.engine.connect().execution_options(loopwright_immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    def insert_missing(self, connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, object]]) -> int:
        """Insert the rows whose primary or unique key is not there yet, and return how many were."""
        statement = self._insert(table).on_conflict_do_nothing()
        if not self._is_sqlite:
            counted = statement.returning(*table.primary_key)  # the driver does not say how many were inserted
            return sum(len(connection.execute(counted, row).all()) for row in rows)
        return connection.execute(statement, list(rows)).rowcount

    def upsert(self, connection: sa.Connection, table: sa.Table, row: dict[str, object]) -> None:
        """Insert a row, or overwrite the one with the same primary key."""
        keys = [column.name for column in table.primary_key]
        rest = {name: value for name, value in row.items() if name not in keys}
        statement = self._insert(table).values(row)
        statement = (
            statement.on_conflict_do_update(index_elements=keys, set_=rest)
            if rest
            else statement.on_conflict_do_nothing()
        )
        connection.execute(statement)

    def change_counter(self) -> int:
        """Return a number that differs from the last one after another connection committed; microseconds on SQLite.

        A process that follows the facts (a server, a controller) looks at them only when this number moved.
        """
        if not self._is_sqlite:
            with self.read() as connection:
                return int(connection.exec_driver_sql(_PG_COUNTER).scalar_one())
        with self._counter_lock:
            if self._counter is None:  # the counter is per connection, so that one is kept open and never writes
                self._counter = sqlite3.connect(_sqlite_path(self.url), check_same_thread=False, isolation_level=None)
            return int(self._counter.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Give back all connections."""
        with self._counter_lock:
            if self._counter is not None:
                self._counter.close()
                self._counter = None
        self.engine.dispose()

    def _insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        if self._is_sqlite:
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - a quarter of the import time, for servers only

        return postgresql.insert(table)

    def _ensure_current(self) -> None:
        known = known_revisions()
        with self.read() as connection:
            has_table = sa.inspect(connection).has_table("alembic_version")
            query = sa.text("SELECT version_num FROM alembic_version")
            version = connection.execute(query).scalar() if has_table else None
        if version == known[-1]:
            return
        if version is not None and version not in known:
            raise StoreTooNewError(
                f"The metadata store is at revision {version}; this Loopwright knows {known[0]} to {known[-1]}.",
                hint="Run: pip install --upgrade loopwright",
            )
        with self.write() as connection:
            upgrade(connection)


_ENGINES: weakref.WeakSet[sa.Engine] = weakref.WeakSet()


def _forget_inherited_connections() -> None:
    for engine in list(_ENGINES):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_inherited_connections)


def _engine(url: str, *, is_sqlite: bool) -> sa.Engine:
    if not is_sqlite:
        try:
            return sa.create_engine(_with_driver(url), pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise MissingExtraError(str(error.name), extra="postgres") from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, record: object) -> None:  # noqa: ARG001
        connection.isolation_level = None  # transactions are begun below, never by the driver
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("loopwright_immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _sqlite_path(url: str) -> Path:
    database = sa.make_url(url).database
    if not database or database == ":memory:":
        raise SettingsError(f"The metadata store needs a file, got {url!r}.", hint="Write sqlite:///path/to/loop.db.")
    return Path(database)


def _refuse_network_disk(path: Path) -> None:
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return
    target = path.parent.resolve()
    best = ("/", "")
    for line in mounts.read_text().splitlines():
        _, mount, kind, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if target.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    if best[1].startswith(_NETWORK_FILE_SYSTEMS):
        raise SettingsError(
            f"SQLite is not safe on a network file system, and {path.parent} is on {best[1]}.",
            hint="Set [metadata] url in loopwright.toml to a local path or to postgresql://….",
        )


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        text = str(error.orig)
        shown = sa.make_url(url).render_as_string(hide_password=True)
        if "locked" in text or "busy" in text:
            raise StoreBusyError(
                f"The metadata store {shown} stayed locked for {BUSY_SECONDS} s.",
                hint="Look for a process that is stopped inside a write.",
            ) from error
        if "full" in text or "No space left" in text:
            raise StoreFullError(
                f"The disk under {shown} is full.",
                hint="Free space and run the same command again; nothing was half-written.",
            ) from error
        if "malformed" in text or "not a database" in text:
            raise StoreCorruptError(
                f"The metadata store {shown} is damaged: {text}.", hint="Restore it from a backup."
            ) from error
        if isinstance(error, sa.exc.OperationalError):
            raise StoreError(
                f"The metadata store {shown} failed: {text}.", hint="Check [metadata] url in loopwright.toml."
            ) from error
        raise
