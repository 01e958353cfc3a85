"""The sealed rows as the champion takes them.

Where challenger and champion have the same features by the same definitions, both read the same file. Where a view or a
transform changed, or a feature was added or dropped, the champion's features are made anew for the same examples, from
the same snapshots, by the definition that was kept with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import LoopwrightError
from loopwright.evaluation.holdout import open_holdout
from loopwright.features.definition import asked_of

if TYPE_CHECKING:
    from loopwright.core.ref import Ref
    from loopwright.core.storage.stores import Stores
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.evaluation.holdout import Holdout
    from loopwright.features.field import Field
    from loopwright.features.training_set import TrainingSetRecord
    from loopwright.loop.model import ModelDeclaration
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace


class CannotBeAskedError(Exception):
    """The champion's features cannot be made for these rows; the text says why."""


def rows_for_champion(
    workspace: Workspace,
    model: ModelDeclaration,
    record: TrainingSetRecord,
    champion: ModelVersion,
    holdout: Holdout,
) -> Holdout:
    """Return the holdout's rows, in its order, with the champion's features.

    Raises:
        CannotBeAskedError: If they cannot be made.
    """
    stores = workspace.stores
    lacking = _lacking(stores, champion, record)
    if not lacking:
        path, inputs = record.holdout_path(stores), champion.signature.inputs
        return open_holdout(path, inputs, record.label_field, digest=record.holdout_digest)
    definition = workspace.registry.load(champion).definition()
    if definition is None:
        raise CannotBeAskedError(
            f"it takes {', '.join(lacking)}, which they do not have, or have by another definition, and its own "
            "definition was not kept."
        )
    try:
        spec = asked_of(definition, name=f"{model.name} as {champion.id}", label=model.label, holdout=model.holdout)
        snapshots = {name: _snapshot(workspace, record, name) for name in spec.datasets}
        own = workspace.features.training_set(spec, snapshots, record.as_of)
        path, inputs = own.holdout_path(stores), champion.signature.inputs
        rows = open_holdout(path, inputs, own.label_field, digest=record.holdout_digest)
    except LoopwrightError as error:
        raise CannotBeAskedError(
            f"its features {', '.join(lacking)} cannot be made from them: {error.message}"
        ) from error
    if not _same_examples(rows, holdout):
        raise CannotBeAskedError("its own definition seals other rows.")
    return rows


def _snapshot(workspace: Workspace, record: TrainingSetRecord, name: str) -> Snapshot:
    return workspace.data.snapshot(name, version=record.snapshots.get(name))


def _same_examples(one: Holdout, other: Holdout) -> bool:
    columns = ("__key__", "__event_time__", "__label__")
    return all(one.examples.table[name].equals(other.examples.table[name]) for name in columns)


def _lacking(stores: Stores, champion: ModelVersion, record: TrainingSetRecord) -> list[str]:
    """Name the champion's inputs that a training set does not have as the champion knows them.

    Categories may differ: each model reads them by its own. What a view or a transform makes must come from the same
    definition, which the lineage of both training sets tells.
    """
    there = {field.name: _kind(field) for field in record.feature_fields}
    then, now = (_definitions(stores, ref) for ref in (champion.training_set, record.ref))
    return [
        field.name
        for field in champion.signature.inputs
        if there.get(field.name) != _kind(field)
        or (field.origin in ("view", "transform") and then.get((field.origin, field.source)) is None)
        or then.get((field.origin, field.source)) != now.get((field.origin, field.source))
    ]


def _kind(field: Field) -> tuple[object, ...]:
    return field.dtype, field.shape, field.origin, field.source


def _definitions(stores: Stores, training_set: Ref) -> dict[tuple[str, str], str]:
    """Return the versions of the views and transforms that a training set was made with, by kind and name."""
    made_from = [edge.source for edge in stores.lineage.ancestors(training_set, depth=1)]
    named = [(ref.kind, ref.id.rpartition("@")) for ref in made_from if ref.kind in ("view", "transform")]
    return {(kind, name): version for kind, (name, _, version) in named}
