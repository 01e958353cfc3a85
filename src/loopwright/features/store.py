"""The feature store: training sets offline, the latest values online, one definition for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.features.assembly import FeatureAssembly, TransformCall, ViewLookup
from loopwright.features.build import TrainingSetBuilder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.snapshot import Snapshot
    from loopwright.features.training_set import TrainingSetRecord, TrainingSetSpec


class FeatureStore:
    """What a workspace asks for features."""

    def __init__(self, stores: Stores, lake: Lake) -> None:
        self._stores = stores
        self._lake = lake

    def training_set(
        self, spec: TrainingSetSpec, snapshots: Mapping[str, Snapshot], as_of: datetime
    ) -> TrainingSetRecord:
        """Return the training set of a definition on some snapshots, built once."""
        return TrainingSetBuilder(self._stores, self._lake).build(spec, snapshots, as_of)

    def assembly(self, spec: TrainingSetSpec, record: TrainingSetRecord) -> FeatureAssembly:
        """Return the request-time half of a training set: the same fields from request rows."""
        return assembly_of(spec, record)


def assembly_of(spec: TrainingSetSpec, record: TrainingSetRecord) -> FeatureAssembly:
    """Return the request-time half of a training set: the same fields from request rows."""
    views = tuple(
        ViewLookup(
            view.name,
            view.version,
            view.entity,
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
