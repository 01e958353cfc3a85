"""Why: from a prediction, a model version or a row back to what made it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import ibis

from loopwright.core.errors import UnknownNameError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.core.storage.duck import borrowed
from loopwright.features.restricted import restricted_features
from loopwright.features.view import FeatureView
from loopwright.monitoring.outcomes import outcomes_table
from loopwright.serving.log.compactor import find_prediction

_NAMED = 3  # files that a line of text names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loopwright.core.lineage import Edge
    from loopwright.data.dataset import Dataset
    from loopwright.data.versions.snapshot import RowOrigin
    from loopwright.features.label import Label
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.project import Loop
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace


@dataclass(frozen=True)
class Why:
    """What made a thing.

    Attributes:
        subject: The thing, in words.
        prediction: The record of the prediction, for a prediction.
        outcome: Its label and when that came, where it came.
        row: The raw row that it is about, and the file it came from.
        version: The model version.
        lineage: The edges that lead to the version, nearest first.
        sources: The files that the rows of its training data came from.
    """

    subject: str
    prediction: Mapping[str, object] | None
    outcome: Mapping[str, object] | None
    row: RowOrigin | None
    version: ModelVersion | None
    lineage: tuple[Edge, ...]
    sources: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Say it in words, from the thing to the file."""
        yield self.subject
        if self.prediction is not None:
            latency_ms = int(str(self.prediction["latency_us"])) / 1000
            at, route = self.prediction["at"], self.prediction["route"]
            yield f"answered {at:%Y-%m-%d %H:%M:%S} UTC as {route} in {latency_ms:.1f} ms"
        if self.outcome is not None:
            yield f"label {self.outcome['label']}, known {self.outcome['arrived_at']:%Y-%m-%d %H:%M:%S} UTC"
        if self.version is not None:
            yield f"model {self.version.id}: {self.version.model_file.estimator_class}, run {self.version.run_id}"
        for edge in self.lineage:
            if edge.source.kind in ("snapshot", "code", "transform", "view", "training_set"):
                yield f"{edge.relation.replace('_', ' ')} {edge.source.kind} {_short(edge.source.id)}"
        if self.sources:
            more = " …" if len(self.sources) > _NAMED else ""
            files = "1 file" if len(self.sources) == 1 else f"{len(self.sources):,} files"
            yield f"trained on rows of {files}: {', '.join(self.sources[:_NAMED])}{more}"
        if self.row is not None:
            yield (
                f"row {self.row.source_row} of {self.row.source}, in {self.row.snapshot.ref}, "
                f"ingested {self.row.arrived_at:%Y-%m-%d %H:%M:%S} UTC"
            )


def why_prediction(workspace: Workspace, loop: Loop, prediction_id: str) -> Why:
    """Follow a prediction back to the model, the run, the code, the data and the raw row.

    Raises:
        UnknownNameError: If no model made it.
    """
    found = find_prediction(workspace.stores, prediction_id, models=loop.models)
    if not found:
        raise UnknownNameError(
            "prediction", prediction_id, hint="Each answer of the server names its prediction_ids; a version is eta/3."
        )
    record = found[0]
    model = str(record["model"])
    version = workspace.registry.get(model, int(str(record["version"])))
    answer = record["output_text"] if record["output_text"] is not None else record["output_number"]
    key = record["key"]
    about = "" if key is None else f" for {key}"
    dataset = loop.models[model].label.dataset
    row = None
    if key is not None and len(dataset.key) == 1 and dataset.name in workspace.data.names():
        row = _row(workspace, dataset, str(key), purpose=f"why {prediction_id}", is_stored_key=True)
    label = loop.models[model].label
    made = _made_of_restricted(workspace, loop.models[model], version)
    served, outcome = seen_prediction(
        workspace, label, record, _outcome(workspace, model, prediction_id), restricted=made
    )
    return Why(
        subject=f"prediction {prediction_id}: {answer}{about}",
        prediction=served,
        outcome=outcome,
        row=row,
        version=version,
        lineage=tuple(workspace.stores.lineage.ancestors(version.ref)),
        sources=_sources(workspace, version),
    )


def why_model(workspace: Workspace, version_id: str) -> Why:
    """Follow a model version back to its run, code, training set, snapshots and files.

    Raises:
        UnknownNameError: If there is no such version.
    """
    version = workspace.registry.get(version_id)
    edges = tuple(workspace.stores.lineage.ancestors(version.ref))
    return Why(f"model {version.id}", None, None, None, version, edges, _sources(workspace, version))


def why_row(workspace: Workspace, loop: Loop, dataset_name: str, key: str) -> Why:
    """Follow a row, by its key, back to the file it came from.

    Raises:
        UnknownNameError: If there is no such dataset, or no row with this key.
    """
    if dataset_name not in loop.datasets:
        raise UnknownNameError("dataset", dataset_name, loop.datasets)
    dataset = loop.datasets[dataset_name]
    row = _row(workspace, dataset, key, purpose=f"why {dataset_name}") if dataset.key else None
    if row is None:
        keyed = (
            f"Rows are found by {dataset.key[0]}." if dataset.key else "The dataset has no key; declare one with key=."
        )
        raise UnknownNameError("row", key, where=f"in '{dataset_name}'", hint=keyed)
    return Why(f"row {key} of {dataset_name}", None, None, row, None, (), ())


def seen_prediction(
    workspace: Workspace,
    label: Label,
    record: Mapping[str, object],
    outcome: Mapping[str, object] | None,
    *,
    restricted: Sequence[str] = (),
) -> tuple[Mapping[str, object], Mapping[str, object] | None]:
    """Return a prediction's record and outcome as who asks may see them: served features and label, by column.

    ``restricted`` names features that are to be hidden like the restricted columns that they are made of.
    """
    text = str(record["features"] or "")
    features: dict[str, object] = json.loads(text) if text else {}
    known = {} if outcome is None else {label.name: outcome["label"]}
    hidden = (*label.dataset.contract.restricted(), *restricted)
    (seen,) = workspace.disclosure.rows(
        label.dataset.name, [features | known], hidden, purpose=f"why {record['prediction_id']}"
    )
    served = {name: seen[name] for name in features}
    shown = None if outcome is None else {**outcome, "label": seen[label.name]}
    return ({**record, "features": json.dumps(served)} if features else record), shown


def _made_of_restricted(workspace: Workspace, model: ModelDeclaration, version: ModelVersion) -> tuple[str, ...]:
    tables = workspace.stores.tables
    views = [one for one in model.features if isinstance(one, FeatureView)]
    names = {dataset.name for view in views for dataset in view.datasets if tables.exists(f"datasets/{dataset.name}")}
    schemas = {name: ibis.Schema.from_pyarrow(tables.schema(f"datasets/{name}")) for name in names}
    return restricted_features(model.features, version.signature.inputs, schemas)


def _row(
    workspace: Workspace, dataset: Dataset, key: str, *, purpose: str, is_stored_key: bool = False
) -> RowOrigin | None:
    """Find a row by its key, as who asks may see it."""
    declared = dataset.contract.column(dataset.key[0])
    if declared is not None and declared.sensitive == "hash" and not is_stored_key:
        key = Pseudonyms(workspace.stores.facts).of(key)
    found = workspace.data.row(dataset.name, dataset.key[0], key)
    if found is None:
        return None
    (seen,) = workspace.disclosure.rows(dataset.name, [found.row], dataset.contract.restricted(), purpose=purpose)
    return replace(found, row=seen)


def _outcome(workspace: Workspace, model: str, prediction_id: str) -> Mapping[str, object] | None:
    table = outcomes_table(model)
    tables = workspace.stores.tables
    if not tables.exists(table):
        return None
    quoted = prediction_id.replace("'", "''")
    where = f"prediction_id = '{quoted}' AND route <> 'shadow'"
    rows = tables.read(table, where=where).sort_by("revision").to_pylist()
    if not rows:
        return None
    newest = rows[-1]
    return {**newest, "label": json.loads(newest["label"])}


def _sources(workspace: Workspace, version: ModelVersion) -> tuple[str, ...]:
    snapshots = [e.source for e in workspace.stores.lineage.ancestors(version.ref) if e.source.kind == "snapshot"]
    names: list[str] = []
    for ref in dict.fromkeys(snapshots):
        dataset, _, number = ref.id.rpartition("@")
        with borrowed() as connection:
            workspace.data.attach(connection, "snapshot", workspace.data.snapshot(dataset, version=int(number)))
            query = "SELECT DISTINCT _source FROM snapshot ORDER BY _source"
            names += [str(row[0]) for row in connection.execute(query).fetchall()]
    return tuple(dict.fromkeys(names))


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:16]}…"
