"""The online store: the latest known value of every view and entity, for lookup at request time.

``OnlineStore`` is the port; ``SqliteOnlineStore`` (one file, many processes) and ``MemoryOnlineStore`` (one process)
are its adapters here. Its conformance suite is ``loopwright.features.conformance.online_store``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence  # noqa: TC003 - msgspec reads the annotations of a Struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = float | int | bool | str | None | list[float]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_encode = msgspec.json.Encoder().encode


class OnlineRow(msgspec.Struct, frozen=True):  # a Struct: cheap to make by the hundred
    """The values of one entity in one view.

    Attributes:
        key: The entity, as ``entity_key`` writes it.
        event_us: The moment the values speak of, in microseconds since 1970 in UTC.
        available_us: The moment they were known, likewise.
        values: The features by name; times among them are microseconds since 1970 in UTC, too.

    >>> row = OnlineRow("[7]", 1_767_225_600_000_000, 1_767_225_600_000_000, {"pace": 4.2})
    >>> row.event_time.isoformat()
    '2026-01-01T00:00:00+00:00'
    """

    key: str
    event_us: int
    available_us: int
    values: dict[str, Value]

    @property
    def event_time(self) -> datetime:
        """The moment the values speak of."""
        return from_micros(self.event_us)

    @property
    def available_at(self) -> datetime:
        """The moment the values were known."""
        return from_micros(self.available_us)


class KeyLookup(msgspec.Struct, frozen=True):
    """What is asked of one view: its name in the store, the keys, and how long a row counts."""

    view: str
    keys: Sequence[str]
    ttl: timedelta | None = None


@runtime_checkable
class OnlineStore(Protocol):
    """Latest values by view and entity.

    Several threads (and, where the adapter says so, processes) may read and write at once. A write is atomic: a reader
    sees all of a call's rows or none, and after the return they survive a kill of the process. A row replaces another
    unless it is older by ``(event_time, available_at)``; of two rows with equal times the one written last stands (a
    correction). So writing the same rows again changes nothing, and rows may come in any order. The mark is kept with
    the rows of its call, in the same transaction.
    """

    def write_many(self, view: str, rows: Iterable[OnlineRow], *, mark: str | None = None) -> int:
        """Store rows and, with them, the mark; return how many were not older than what was there."""
        ...

    def read_many(
        self, view: str, keys: Sequence[str], *, now: datetime, ttl: timedelta | None
    ) -> list[OnlineRow | None]:
        """Return the row of each key, in order; None where there is none or ``event_time <= now - ttl``."""
        ...

    def read_views(self, asked: Sequence[KeyLookup], *, now: datetime) -> list[list[OnlineRow | None]]:
        """Return what ``read_many`` gives for each of several views, in one call to the store."""
        ...

    def mark(self, view: str) -> str | None:
        """Return the mark that the last write with one left, or None."""
        ...

    def count(self, view: str) -> int:
        """Return how many entities the view has."""
        ...

    def views(self) -> list[str]:
        """Return the names of the views that have rows or a mark, sorted."""
        ...

    def keys(self, view: str) -> list[str]:
        """Return the keys of the view's entities, sorted; those that come or go meanwhile may be in it or not."""
        ...

    def delete_many(self, view: str, keys: Sequence[str], *, mark: str | None = None) -> int:
        """Remove the rows of some entities and, with them, replace the mark; return how many rows there were.

        Atomic, as a write is. Without a mark the one that is there stays.
        """
        ...

    def drop(self, view: str) -> None:
        """Remove a view's rows and mark."""
        ...

    def close(self) -> None:
        """Give back connections; the store may not be used afterwards."""
        ...


class MemoryOnlineStore:
    """Latest values in this process's memory: for batch scoring and tests of what reads a store."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, OnlineRow]] = {}
        self._marks: dict[str, str] = {}
        self._lock = threading.Lock()

    def write_many(self, view: str, rows: Iterable[OnlineRow], *, mark: str | None = None) -> int:
        """Store rows and, with them, the mark; return how many were not older than what was there."""
        incoming = list(rows)
        with self._lock:
            known = self._rows.setdefault(view, {})
            written = 0
            for row in incoming:
                old = known.get(row.key)
                if old is None or (row.event_us, row.available_us) >= (old.event_us, old.available_us):
                    known[row.key] = row
                    written += 1
            if mark is not None:
                self._marks[view] = mark
        return written

    def read_many(
        self, view: str, keys: Sequence[str], *, now: datetime, ttl: timedelta | None
    ) -> list[OnlineRow | None]:
        """Return the row of each key, in order; None where there is none or it is older than the ttl."""
        with self._lock:
            known = self._rows.get(view, {})
            found = [known.get(key) for key in keys]
        oldest = oldest_us(now, ttl)
        return [row if row is not None and row.event_us > oldest else None for row in found]

    def read_views(self, asked: Sequence[KeyLookup], *, now: datetime) -> list[list[OnlineRow | None]]:
        """Return what ``read_many`` gives for each of several views."""
        return [self.read_many(one.view, one.keys, now=now, ttl=one.ttl) for one in asked]

    def mark(self, view: str) -> str | None:
        """Return the mark that the last write with one left, or None."""
        return self._marks.get(view)

    def count(self, view: str) -> int:
        """Return how many entities the view has."""
        return len(self._rows.get(view, {}))

    def views(self) -> list[str]:
        """Return the names of the views that have rows or a mark, sorted."""
        with self._lock:
            return sorted({name for name, rows in self._rows.items() if rows} | set(self._marks))

    def keys(self, view: str) -> list[str]:
        """Return the keys of the view's entities, sorted."""
        with self._lock:
            return sorted(self._rows.get(view, {}))

    def delete_many(self, view: str, keys: Sequence[str], *, mark: str | None = None) -> int:
        """Remove the rows of some entities and, with them, replace the mark; return how many rows there were."""
        with self._lock:
            known = self._rows.get(view, {})
            if mark is not None:
                self._marks[view] = mark
            return sum(known.pop(key, None) is not None for key in keys)

    def drop(self, view: str) -> None:
        """Remove a view's rows and mark."""
        with self._lock:
            self._rows.pop(view, None)
            self._marks.pop(view, None)

    def close(self) -> None:
        """Do nothing: the values live as long as this object."""


def entity_key(values: Sequence[object]) -> str:
    """Return an entity as the text under which a store keeps it; a whole float is written as an integer.

    >>> entity_key(["c7"]), entity_key([7.0, "Oslo"])
    ('["c7"]', '[7,"Oslo"]')
    """
    if len(values) == 1 and type(values[0]) is int:  # most keys, and a tenth of the time
        return f"[{values[0]}]"
    plain = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    return _encode(plain).decode()


def oldest_us(now: datetime, ttl: timedelta | None) -> int:
    """Return the moment after which a row still counts: ``event_time > now - ttl``, as in the point-in-time join."""
    return -(2**63) if ttl is None else to_micros(now - ttl)


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970 in UTC."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the moment of microseconds since 1970 in UTC."""
    return EPOCH + micros * _MICROSECOND  # twice as fast as timedelta(microseconds=micros)
