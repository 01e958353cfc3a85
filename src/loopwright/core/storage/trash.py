"""The trash: what a garbage collection took, for as long as it can be brought back.

A collection moves files to ``trash/<collection>/`` under their old path, in the store and in the project's own folder,
and lists each **before** it moves: a killed collection leaves a file in one of two known places. Restoring moves them
back byte for byte; only emptying, which a later collection does when the time to restore is over, deletes them. Each
step is done again without harm.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import obstore
import sqlalchemy as sa
from obstore.store import LocalStore, from_url

from loopwright.core.errors import RefusedError, UnknownNameError
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.core.storage.location import Location
from loopwright.core.storage.table_errors import committing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from loopwright.core.storage.stores import Stores

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("collected_at", UtcDateTime, nullable=False),
    sa.Column("restore_until", UtcDateTime, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),  # kept, restored, emptied
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("ended_at", UtcDateTime),
)

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("collection_id", sa.String(36), primary_key=True),
    sa.Column("place", sa.String(12), primary_key=True),  # store, local, facts, payloads, snapshots
    sa.Column("path", sa.String(700), primary_key=True),
    sa.Column("kind", sa.String(60), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("content", sa.JSON),  # a row of the facts, or a shard's places in the index
)

SNAPSHOTS = "snapshots"  # the place of names only: of what cannot be read any more, also when the trash is emptied
_FOLDER = "trash"
_AT = "$at"


@dataclass(frozen=True)
class Trashed:
    """One collection: when, until when it can be brought back, how much it is, what became of it."""

    id: str
    collected_at: datetime
    restore_until: datetime
    status: str
    note: str
    items: int
    size_bytes: int


class Trash:
    """Takes, restores and empties. One collection at a time; the caller holds the locks of what it takes from.

    Args:
        stores: The store to move within, the facts, the clock and the project's own folder.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        place = Location.parse(stores.settings.store_url)
        self._store = LocalStore(prefix=place.folder) if place.folder is not None else from_url(place.url)

    def begin(self, *, restore_window: timedelta, note: str = "") -> str:
        """Begin a collection and return its id."""
        identity, now = self._stores.ids.new(), self._stores.clock.now()
        with self._stores.facts.write() as connection:
            connection.execute(
                collections.insert().values(
                    id=identity, collected_at=now, restore_until=now + restore_window, status="kept", note=note
                )
            )
        return identity

    def cancel(self, identity: str) -> None:
        """Forget a collection that took nothing."""
        with self._stores.facts.write() as connection:
            connection.execute(collections.delete().where(collections.c.id == identity))

    def take_objects(self, identity: str, sizes: Mapping[str, int], *, kind: str, name: str) -> None:
        """Move objects of the store, named by their path below its place, with their size."""
        self._list(identity, "store", sizes, kind, name)
        for path in sizes:
            self._move(path, f"{_FOLDER}/{identity}/{path}")

    def take_path(self, identity: str, path: Path, size_bytes: int, *, kind: str) -> None:
        """Move a file or folder of the project's own folder."""
        name = path.relative_to(self._stores.local).as_posix()
        self._list(identity, "local", {name: size_bytes}, kind, name)
        target = self._local(identity) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(target)

    def take_row(self, identity: str, table: sa.Table, key: sa.ColumnElement[bool], *, kind: str, name: str) -> None:
        """Remove a row of the facts, in the transaction that keeps it here."""
        with self._stores.facts.write() as connection:
            for row in connection.execute(sa.select(table).where(key)).mappings().all():
                content = {"table": table.name, "row": {column: _plain(value) for column, value in row.items()}}
                self._insert(connection, identity, "facts", f"{table.name} {name}"[:700], kind, name, 0, content)
            connection.execute(sa.delete(table).where(key))

    def note(self, identity: str, place: str, path: str, content: object, *, kind: str) -> None:
        """Keep what is needed to restore something that the caller takes itself."""
        with self._stores.facts.write() as connection:
            self._insert(connection, identity, place, path, kind, path, 0, content)

    def name_snapshots(self, identity: str, names: Sequence[str]) -> None:
        """Keep the names of snapshots (``orders@3``) that cannot be read once the rest is taken."""
        self._list(identity, SNAPSHOTS, dict.fromkeys(names, 0), "snapshot", "")

    def all(self) -> list[Trashed]:
        """Return every collection, the newest first."""
        c, t = collections.c, tombstones.c
        query = (
            sa.select(collections, sa.func.count(t.path), sa.func.coalesce(sa.func.sum(t.size_bytes), 0))
            .outerjoin(tombstones, sa.and_(t.collection_id == c.id, t.place != SNAPSHOTS))
            .group_by(*collections.columns)
            .order_by(c.collected_at.desc(), c.id.desc())
        )
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        return [Trashed(r[0], r[1], r[2], r[3], r[4], int(r[6]), int(r[7])) for r in rows]

    def restore(self, identity: str) -> list[tuple[str, object]]:
        """Move everything of a collection back, and return what ``note`` kept, by path.

        Raises:
            UnknownNameError: If there is no such collection.
            RefusedError: If it was emptied.
        """
        found = [one for one in self.all() if one.id == identity]
        if not found:
            raise UnknownNameError("collection", identity, [one.id for one in self.all() if one.status == "kept"])
        if found[0].status == "emptied":
            raise RefusedError(f"Collection {identity} was emptied; what it took is gone.")
        noted: list[tuple[str, object]] = []
        for row in sorted(self._tombstones(identity), key=lambda one: one.place == "facts"):  # they name the others
            if row.place == "store":
                self._move(f"{_FOLDER}/{identity}/{row.path}", row.path)
            elif row.place == "local":
                source, target = self._local(identity) / row.path, self._stores.local / row.path
                if source.exists() and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source.replace(target)
            elif row.place == "facts":
                table = metadata.tables[row.content["table"]]
                values = {column: _read(value) for column, value in row.content["row"].items()}
                with self._stores.facts.write() as connection:
                    self._stores.facts.insert_missing(connection, table, [values])
            elif row.place != SNAPSHOTS:
                noted.append((row.path, row.content))
        return noted

    def restored(self, identity: str) -> None:
        """Say that a collection is restored, after all of it is."""
        self._end(identity, "restored")

    def over(self) -> list[Trashed]:
        """Return the kept collections whose time to restore is over."""
        now = self._stores.clock.now()
        return [one for one in self.all() if one.status == "kept" and one.restore_until <= now]

    def empty(self, identity: str) -> None:
        """Delete what a collection took, for good."""
        self._delete_below(f"{_FOLDER}/{identity}")
        shutil.rmtree(self._local(identity), ignore_errors=True)
        self._end(identity, "emptied")

    def forget(self, prefixes: Sequence[str]) -> int:
        """Delete trashed objects for good whose old path begins so, in the store or here, as an erasure must."""
        gone = 0
        for one in self.all():
            if one.status != "kept":
                continue
            for row in self._tombstones(one.id):
                if not row.path.startswith(tuple(prefixes)):
                    continue
                if row.place == "store":
                    self._delete_below(f"{_FOLDER}/{one.id}/{row.path}")
                elif row.place == "local":
                    _delete_here(self._local(one.id) / row.path)
                else:
                    continue
                gone += 1
        return gone

    def rows(self, table: sa.Table) -> list[tuple[str, dict[str, Any]]]:
        """Return the rows of a table that are in the trash, each with the collection that took it."""
        c, t = collections.c, tombstones.c
        query = sa.select(c.id, t.content).join(tombstones, sa.and_(t.collection_id == c.id, t.place == "facts"))
        with self._stores.facts.read() as connection:
            found = connection.execute(query.where(c.status == "kept").order_by(c.id, t.path)).all()
        return [
            (row[0], {name: _read(value) for name, value in row[1]["row"].items()})
            for row in found
            if row[1]["table"] == table.name
        ]

    def forget_row(self, identity: str, table: sa.Table, name: str) -> None:
        """Let a row that is in the trash, as :meth:`take_row` named it, never come back."""
        t = tombstones.c
        this = (t.collection_id == identity) & (t.place == "facts") & (t.path == f"{table.name} {name}"[:700])
        with self._stores.facts.write() as connection:
            connection.execute(tombstones.delete().where(this))

    def _end(self, identity: str, status: str) -> None:
        with self._stores.facts.write() as connection:
            now = self._stores.clock.now()
            connection.execute(
                collections.update().where(collections.c.id == identity).values(status=status, ended_at=now)
            )
            gone = tombstones.c.collection_id == identity
            if status == "emptied":
                gone &= tombstones.c.place != SNAPSHOTS
            connection.execute(tombstones.delete().where(gone))

    def _list(self, identity: str, place: str, sizes: Mapping[str, int], kind: str, name: str) -> None:
        with self._stores.facts.write() as connection:
            for path, size in sizes.items():
                self._insert(connection, identity, place, path, kind, name, size, None)

    def _insert(
        self,
        connection: sa.Connection,
        identity: str,
        place: str,
        path: str,
        kind: str,
        name: str,
        size: int,
        content: object,
    ) -> None:
        row = {
            "collection_id": identity,
            "place": place,
            "path": path,
            "kind": kind,
            "name": name,
            "size_bytes": size,
            "content": content,
        }
        self._stores.facts.insert_missing(connection, tombstones, [row])

    def _tombstones(self, identity: str) -> Iterable[sa.Row[Any]]:
        query = sa.select(tombstones).where(tombstones.c.collection_id == identity).order_by(tombstones.c.path)
        with self._stores.facts.read() as connection:
            return connection.execute(query).all()

    def _move(self, source: str, target: str) -> None:
        """Move an object, unless it has gone there already; what is at the target stays: names are never reused."""
        with committing(f"move '{source}'"):
            if not self._exists(source):
                return
            if self._exists(target):
                obstore.delete(self._store, source)
            else:
                obstore.rename(self._store, source, target)

    def _exists(self, path: str) -> bool:
        try:
            obstore.head(self._store, path)
        except FileNotFoundError:
            return False
        return True

    def _delete_below(self, prefix: str) -> None:
        with committing(f"delete '{prefix}'"):
            if self._exists_object(prefix):
                obstore.delete(self._store, prefix)
                return
            names = [str(meta["path"]) for batch in obstore.list(self._store, prefix=prefix) for meta in batch]
            for name in names:
                obstore.delete(self._store, name)

    def _exists_object(self, path: str) -> bool:
        return path.count("/") > 1 and self._exists(path)

    def _local(self, identity: str) -> Path:
        return self._stores.local / _FOLDER / identity


def _delete_here(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _plain(value: object) -> object:
    return {_AT: value.isoformat()} if isinstance(value, datetime) else value


def _read(value: object) -> object:
    return datetime.fromisoformat(value[_AT]) if isinstance(value, dict) and set(value) == {_AT} else value
