"""Snapshots of datasets: which there are, and how the rows of one are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import UnknownNameError, UsageError
from loopwright.core.storage.duck import quote_name
from loopwright.data.ingest.records import datasets, ingests
from loopwright.data.versions.collected import collected_error, collections_of
from loopwright.data.versions.reference import SnapshotName
from loopwright.data.versions.snapshot import Snapshot
from loopwright.data.versions.tag import Tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from loopwright.core.storage.stores import Stores

NEWEST_FIRST = "_arrived_at DESC, _ingest_id DESC, _source DESC, _source_row DESC"


_SNAPSHOTS = (
    sa.select(ingests, datasets.c.declaration)
    .join(datasets, datasets.c.name == ingests.c.dataset)
    .where(ingests.c.dataset == sa.bindparam("of"), ingests.c.status == "done", ingests.c.rows_accepted > 0)
    .order_by(ingests.c.number.desc())
)


class History:
    """The snapshots on record. A snapshot is visible when its ingest is done."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def latest(self, name: str) -> Snapshot | None:
        """Return the newest snapshot, or None."""
        found = self.snapshots(name, limit=1)
        return found[0] if found else None

    def snapshot(
        self, name: str, *, version: int | None = None, at: datetime | None = None, tag: str | None = None
    ) -> Snapshot:
        """Return the newest snapshot, the one of a version or a tag, or the one that was the newest at a moment.

        The name may say which itself: ``orders@3``, ``orders@2026-01-05``, ``orders@tag``.

        Raises:
            UnknownNameError: If there is none.
            CollectedError: If a garbage collection took it.
            UsageError: If the name says which, and an option too.
        """
        asked = [one for one in (version, at, tag) if one is not None]
        named = SnapshotName.parse(name)
        if len(asked) + (named != SnapshotName(named.dataset)) > 1:
            raise UsageError(f"'{name}' is asked for in two ways.", hint="Give one of: a version, a moment, a tag.")
        name = named.dataset
        version = named.version if version is None else version
        at, tag = at or named.at, tag or named.tag
        if tag is not None and self.latest(name) is not None:
            version = Tags(self._stores.facts, self._stores.clock).find(name, tag).version
        found = self.snapshots(name, limit=1, version=version, at=at)
        if not found and self.latest(name) is None:
            raise UnknownNameError("dataset with rows", name, self.names())
        if not found:
            shown = f"{name}@{version}" if version is not None else f"{name} at {at:%Y-%m-%d %H:%M:%S%z}"
            raise UnknownNameError("snapshot", shown, [one.ref.id for one in self.snapshots(name)])
        self.require_files(found[0])
        return found[0]

    def require_files(self, snapshot: Snapshot) -> None:
        """Let pass a snapshot that can be read.

        Raises:
            CollectedError: If a garbage collection took its files.
        """
        taken = collections_of(self._stores.facts, snapshot.dataset, snapshot.version).get(snapshot.version)
        if taken:
            kept = [one.version for one in self.snapshots(snapshot.dataset) if not one.is_collected]
            raise collected_error(snapshot.ref.id, taken, kept)

    def snapshots(
        self, name: str, *, limit: int | None = None, version: int | None = None, at: datetime | None = None
    ) -> list[Snapshot]:
        """Return the snapshots, the newest first; only those of a version, or from before a moment, if one is given."""
        query = _SNAPSHOTS if limit is None else _SNAPSHOTS.limit(limit)
        if version is not None:
            query = query.where(ingests.c.version == version)
        if at is not None:
            query = query.where(ingests.c.finished_at <= at)
        with self._stores.facts.read() as connection:
            rows = connection.execute(query, {"of": name}).all()
        newest_only = limit == 1 and version is None and at is None  # which is never collected
        gone = {} if newest_only else collections_of(self._stores.facts, name, version)
        return [
            Snapshot(
                dataset=row.dataset,
                version=row.version,
                rows=row.total_rows,
                schema_digest=row.schema_digest,
                created_at=row.finished_at,
                ingest_id=row.id,
                latest_by=tuple(row.declaration["key"]) if row.has_superseded else (),
                is_collected=row.version in gone,
            )
            for row in rows
        ]

    def names(self) -> list[str]:
        """Return the datasets on record."""
        with self._stores.facts.read() as connection:
            return list(connection.execute(sa.select(datasets.c.name).order_by(datasets.c.name)).scalars())

    def declaration(self, name: str) -> dict[str, object]:
        """Return what was declared at the last ingest, as JSON.

        Raises:
            UnknownNameError: If the dataset was never ingested.
        """
        with self._stores.facts.read() as connection:
            found = connection.execute(sa.select(datasets.c.declaration).where(datasets.c.name == name)).scalar()
        if found is None:
            raise UnknownNameError("dataset", name, self.names())
        return dict(found)


def declared_columns(declaration: Mapping[str, object], type_: str) -> list[str]:
    """Return the columns that a dataset's contract declared with a type, from its declaration as JSON."""
    contract = declaration["contract"]
    listed = contract.get("columns", []) if isinstance(contract, dict) else []
    return [str(one["name"]) for one in listed if one["type"] == type_]


def latest_rows(relation: str, key: Sequence[str]) -> str:
    """Return the SQL that reads a relation, the newest row of each key only; all rows where there is no key."""
    if not key:
        return f"SELECT * FROM {relation}"
    names = ", ".join(quote_name(name) for name in key)
    return f"SELECT * FROM {relation} QUALIFY row_number() OVER (PARTITION BY {names} ORDER BY {NEWEST_FIRST}) = 1"
