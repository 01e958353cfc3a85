"""The feature store: training sets offline, the latest values online, one definition for both."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from loopwright.core.errors import FeatureError
from loopwright.features.assembly import FeatureAssembly, TransformCall
from loopwright.features.backfill import BackfillReport, backfill
from loopwright.features.build import TrainingSetBuilder
from loopwright.features.engines import open_engine
from loopwright.features.freshness import Freshness, freshness_of
from loopwright.features.lookup import ViewLookup
from loopwright.features.materialize import MaterializeReport, materialize
from loopwright.features.online import KeyLookup, OnlineRow, OnlineStore, Value, entity_key
from loopwright.features.online_stores import open_online_store
from loopwright.features.parity import ParityReport, parity
from loopwright.features.view_registry import ViewRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from loopwright.core.ref import Ref
    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.engine import FeatureEngine
    from loopwright.features.label import Label
    from loopwright.features.training_set import TrainingSetRecord
    from loopwright.features.training_spec import TrainingSetSpec
    from loopwright.features.view import FeatureView


class OnlineView(Protocol):
    """What must be known of a view to look its values up: a declared view, or a version on record."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def entity(self) -> tuple[str, ...]:
        """Its key columns."""

    @property
    def ttl(self) -> timedelta | None:
        """How long a row counts."""

    @property
    def ref(self) -> Ref:
        """Its name in the lineage, whose id is that in the online store."""


class FeatureStore:
    """What a workspace asks for features.

    Args:
        stores: The workspace's stores.
        lake: Reads the snapshots.
        online: The online store; by default the one that the settings name, opened when it is first needed.
        engine: What computes views; by default the one that the settings name.
    """

    def __init__(
        self,
        stores: Stores,
        lake: Lake,
        online: OnlineStore | None = None,
        engine: FeatureEngine | None = None,
    ) -> None:
        self._stores = stores
        self._lake = lake
        self._online = online
        self.engine = engine or open_engine(stores.settings)

    @property
    def online(self) -> OnlineStore:
        """The online store."""
        if self._online is None:
            self._online = open_online_store(self._stores.settings.online_url)
        return self._online

    def training_set(
        self, spec: TrainingSetSpec, snapshots: Mapping[str, Snapshot], as_of: datetime
    ) -> TrainingSetRecord:
        """Return the training set of a definition on some snapshots, built once."""
        return TrainingSetBuilder(self._stores, self._lake, self.engine).build(spec, snapshots, as_of)

    def assembly(self, spec: TrainingSetSpec, record: TrainingSetRecord) -> FeatureAssembly:
        """Return the request-time half of a training set: the same fields from request rows."""
        return assembly_of(spec, record)

    def materialize(
        self,
        view: FeatureView,
        snapshots: Mapping[str, Snapshot],
        *,
        labels: Sequence[Label] = (),
        until: datetime | None = None,
    ) -> MaterializeReport:
        """Bring the online values of a view up to a moment, by default now; see ``loopwright.features.materialize``."""
        moment = until or self._stores.clock.now()
        return materialize(
            self._stores, self._lake, self.online, self.engine, view, snapshots, labels=labels, until=moment
        )

    def backfill(
        self,
        view: FeatureView,
        snapshots: Mapping[str, Snapshot],
        *,
        since: datetime,
        before: datetime | None = None,
        labels: Sequence[Label] = (),
    ) -> BackfillReport:
        """Keep a view's rows of a range of event times in the lake; see ``loopwright.features.backfill``."""
        end = before or self._stores.clock.now()
        return backfill(self._stores, self._lake, self.engine, view, snapshots, since=since, before=end, labels=labels)

    def get_online(
        self, view: OnlineView, entity_rows: Sequence[Mapping[str, object]], *, now: datetime | None = None
    ) -> list[dict[str, Value] | None]:
        """Return the latest known values of each entity, in order, in one query; None where there is none.

        Args:
            view: Which view: as declared, or a version of it from the registry.
            entity_rows: One mapping per entity with the view's key columns.
            now: The moment for the ttl, by default now.

        Raises:
            FeatureError: If a row lacks a key column.
        """
        (found,) = self.online_rows([view], entity_rows, now=now)
        return [None if row is None else row.values for row in found]

    def get_online_views(
        self, views: Sequence[OnlineView], entity_rows: Sequence[Mapping[str, object]], *, now: datetime | None = None
    ) -> list[dict[str, dict[str, Value] | None]]:
        """Return the values of several views for each entity, by view, in one call to the store.

        Args:
            views: As in ``get_online``; each takes its own key columns from the rows.
            entity_rows: One mapping per entity.
            now: The moment for the ttl, by default now.

        Raises:
            FeatureError: If a row lacks a key column of a view.
        """
        found = self.online_rows(views, entity_rows, now=now)
        return [
            {
                view.name: None if (row := of_view[place]) is None else row.values
                for view, of_view in zip(views, found, strict=True)
            }
            for place in range(len(entity_rows))
        ]

    def online_rows(
        self, views: Sequence[OnlineView], entity_rows: Sequence[Mapping[str, object]], *, now: datetime | None = None
    ) -> list[list[OnlineRow | None]]:
        """Return, for each view, the row of each entity with its times; see ``get_online_views``."""
        asked = [KeyLookup(view.ref.id, _keys(view, entity_rows), view.ttl) for view in views]
        return self.online.read_views(asked, now=now or self._stores.clock.now())

    @property
    def registry(self) -> ViewRegistry:
        """The views on record: versions, who answers for them, who uses them."""
        return ViewRegistry(self._stores)

    def freshness(self, view: FeatureView, snapshots: Mapping[str, Snapshot]) -> Freshness:
        """Say how old the newest rows of a view's datasets are, and up to when its online values are known."""
        return freshness_of(self._stores, self._lake, self.online, view, snapshots)

    def parity(
        self, view: FeatureView, snapshots: Mapping[str, Snapshot], *, labels: Sequence[Label] = (), sample: int = 1000
    ) -> ParityReport:
        """Compare online values with the offline join, value by value; see ``loopwright.features.materialize``."""
        return parity(self._stores, self._lake, self.online, self.engine, view, snapshots, labels=labels, sample=sample)


def _keys(view: OnlineView, entity_rows: Sequence[Mapping[str, object]]) -> list[str]:
    if len(view.entity) == 1:
        (column,) = view.entity
        with suppress(KeyError):
            return [entity_key((row[column],)) for row in entity_rows]
    keys: list[str] = []
    for index, row in enumerate(entity_rows):
        missing = [name for name in view.entity if name not in row]
        if missing:
            raise FeatureError(
                f"Row {index} lacks {', '.join(missing)}.",
                hint=f"The view '{view.name}' is keyed by {', '.join(view.entity)}.",
            )
        keys.append(entity_key([row[name] for name in view.entity]))
    return keys


def assembly_of(spec: TrainingSetSpec, record: TrainingSetRecord) -> FeatureAssembly:
    """Return the request-time half of a training set: the same fields from request rows."""
    views = tuple(
        ViewLookup(
            view.name,
            view.version,
            view.matched_on,
            view.ttl,
            tuple(field for field in record.feature_fields if field.origin == "view" and field.source == view.name),
        )
        for view in spec.views
    )
    fields = {field.name: field for field in record.feature_fields}
    transforms = tuple(
        TransformCall(
            transform.name,
            tuple(ref.name for ref in transform.inputs),
            transform.function,
            transform.batch_rows,
            fields[transform.name],
        )
        for transform in spec.transforms
    )
    return FeatureAssembly(record.inputs, record.feature_fields, views, transforms, frozenset(record.known_columns))
