"""The views on record: every version of a definition that was ever computed, who answers for it, and who uses it.

A version is written down when its rows are first computed, for a training set or online, and never changes: what a view
is called, reads and computes makes its version; owner, description, tags and freshness are those of its newest
declaration. Consumers are read off the lineage: the training sets that joined it, and the runs and model versions made
from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.errors import UnknownNameError
from loopwright.core.ref import Ref
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.features.field import Field
from loopwright.features.view import FeatureView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loopwright.core.lineage import Edge
    from loopwright.core.storage.stores import Stores
    from loopwright.features.engine import ViewRows

feature_views = sa.Table(
    "feature_views",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(16), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("declared_at", UtcDateTime, nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
    sa.UniqueConstraint("name", "number", name="uq_feature_views_number"),
)


@dataclass(frozen=True)
class ViewRecord:
    """One version of a view.

    Attributes:
        name: The view's name.
        version: The digest of what it computes.
        number: 1 for the first version of the name, counting up.
        declared_at: When its rows were first computed.
        description: What it is.
        owner: Who answers for it.
        tags: Words to find it by.
        entity: Its key columns.
        event_time: The moment a row speaks of.
        ttl: How long a row counts.
        fresh: How old its newest row may be.
        sources: What it reads: ``dataset:orders``, ``view:pace@…``.
        fields: The features it makes.
        source_code: Its function as its author wrote it.
    """

    name: str
    version: str
    number: int
    declared_at: datetime
    description: str
    owner: str
    tags: tuple[str, ...]
    entity: tuple[str, ...]
    event_time: str
    ttl: timedelta | None
    fresh: timedelta | None
    sources: tuple[str, ...]
    fields: tuple[Field, ...]
    source_code: str

    @property
    def ref(self) -> Ref:
        """Its name in the lineage."""
        return Ref("view", f"{self.name}@{self.version}")


@dataclass(frozen=True)
class Consumers:
    """Who uses a version of a view.

    Attributes:
        views: Views that read it.
        training_sets: Training sets that joined it, by digest.
        models: Versions that were made from these, as ``eta/3``.
    """

    views: tuple[str, ...]
    training_sets: tuple[str, ...]
    models: tuple[str, ...]


class ViewRegistry:
    """The record of views.

    Args:
        stores: The workspace's stores.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def record(self, view: FeatureView, fields: Sequence[Field]) -> None:
        """Write a view's version down, once, and what it reads into the lineage; update what its version leaves out."""
        described = _describe(view, fields)
        same = (feature_views.c.name == view.name) & (feature_views.c.version == view.version)
        with self._stores.facts.read() as connection:
            known = connection.execute(sa.select(feature_views.c.record).where(same)).scalar()
        if known == described:
            return
        with self._stores.facts.write() as connection:
            if known is not None:
                connection.execute(sa.update(feature_views).where(same).values(record=described))
                return
            last = connection.execute(
                sa.select(sa.func.max(feature_views.c.number)).where(feature_views.c.name == view.name)
            ).scalar()
            row = {
                "name": view.name,
                "version": view.version,
                "number": (last or 0) + 1,
                "declared_at": self._stores.clock.now(),
                "record": described,
            }
            self._stores.facts.insert_missing(connection, feature_views, [row])
            edges = [(Ref.parse(source), view.ref, "read") for source in described["sources"]]
            self._stores.lineage.link_many(edges, connection=connection)

    def versions(self, name: str | None = None) -> list[ViewRecord]:
        """Return the versions of one view, or of all, by name and the newest first."""
        query = sa.select(feature_views).order_by(feature_views.c.name, feature_views.c.number.desc())
        if name is not None:
            query = query.where(feature_views.c.name == name)
        with self._stores.facts.read() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def get(self, name: str, version: str | None = None) -> ViewRecord:
        """Return a version by its number or the beginning of its digest, or the newest one.

        Raises:
            UnknownNameError: If there is none.
        """
        found = self.versions(name)
        if not found:
            names = {one.name for one in self.versions()}
            raise UnknownNameError("feature view on record", name, names)
        if version is None:
            return found[0]
        for one in found:
            if version == str(one.number) or one.version.startswith(version):
                return one
        raise UnknownNameError("version", version, [str(one.number) for one in found], where=f"of the view '{name}'")

    def consumers(self, ref: Ref) -> Consumers:
        """Return who uses a version of a view."""
        found: dict[str, dict[str, None]] = {"view": {}, "training_set": {}, "model": {}}
        for edge in self._stores.lineage.descendants(ref):
            if edge.target.kind in found:
                found[edge.target.kind][edge.target.id] = None
        return Consumers(tuple(found["view"]), tuple(found["training_set"]), tuple(found["model"]))

    def lineage(self, ref: Ref) -> tuple[list[Edge], list[Edge]]:
        """Return what a version was made from, and what was made from it, nearest first.

        What is downstream ends at model versions: what they were evaluated and released as is told by ``models show``.
        """
        above = self._stores.lineage.ancestors(ref)
        kinds = {"view", "training_set", "run", "model"}
        below = [
            edge
            for edge in self._stores.lineage.descendants(ref)
            if edge.target.kind in kinds and edge.source.kind != "model"
        ]
        return above, below


def record_views(stores: Stores, computed: Iterable[ViewRows]) -> None:
    """Write down the views that were computed, those that they read first."""
    registry = ViewRegistry(stores)
    for rows in computed:
        for parent in rows.parents:
            registry.record(parent.view, parent.fields)
        registry.record(rows.view, rows.fields)


def _describe(view: FeatureView, fields: Sequence[Field]) -> dict[str, Any]:
    return {
        "description": view.description,
        "owner": view.owner,
        "tags": list(view.tags),
        "entity": list(view.entity),
        "event_time": view.event_time,
        "ttl_s": None if view.ttl is None else view.ttl.total_seconds(),
        "fresh_s": None if view.fresh is None else view.fresh.total_seconds(),
        "sources": [
            str(source.ref) if isinstance(source, FeatureView) else str(Ref("dataset", source.name))
            for source in view.sources
        ],
        "fields": [field.to_json() for field in fields],
        "source_code": view.source_code,
    }


def _from_row(row: sa.Row[Any]) -> ViewRecord:
    record = row.record
    return ViewRecord(
        name=row.name,
        version=row.version,
        number=row.number,
        declared_at=row.declared_at,
        description=record["description"],
        owner=record["owner"],
        tags=tuple(record["tags"]),
        entity=tuple(record["entity"]),
        event_time=record["event_time"],
        ttl=None if record["ttl_s"] is None else timedelta(seconds=record["ttl_s"]),
        fresh=None if record["fresh_s"] is None else timedelta(seconds=record["fresh_s"]),
        sources=tuple(record["sources"]),
        fields=tuple(Field.from_json(one) for one in record["fields"]),
        source_code=record["source_code"],
    )
