"""Build training sets: examples, point-in-time join, transforms, split, two files and a fact.

Reads snapshots and payloads; writes Arrow files (temporary name, then rename), the same files as blobs, one row of
facts and lineage. The same definition on the same data is built once: the second call returns the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
from sqlalchemy.exc import IntegrityError

from loopwright.core.errors import FeatureError
from loopwright.core.hashing import digest_json
from loopwright.core.storage.duck import quote_name
from loopwright.data.ingest.text import read_texts
from loopwright.data.quality.leakage import find_leaks
from loopwright.features.availability import SourceRule
from loopwright.features.columns import Array, arrow_type, from_arrow
from loopwright.features.engine import Inputs
from loopwright.features.engines import open_engine
from loopwright.features.example_rows import (
    EXAMPLES,
    LABEL,
    ROW,
    ExampleSource,
    count_mature,
    example_source,
    make_examples,
)
from loopwright.features.field import Field, field_of
from loopwright.features.on_demand import OnDemand
from loopwright.features.request import PAYLOADS, RequestField
from loopwright.features.set_writer import SetWriter
from loopwright.features.split import EVENT_TIME, KEY
from loopwright.features.training_set import TrainingSetRecord, find_record, training_sets
from loopwright.features.transform_run import run_in_batches
from loopwright.features.view import FeatureView
from loopwright.features.view_registry import record_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.engine import EngineSession, FeatureEngine, ViewRows
    from loopwright.features.training_spec import TrainingSetSpec

FORMAT = 1  # raised when the same inputs would give another file
ROWS_PER_BATCH = 65_536
ROWS_PER_PAYLOAD_BATCH = 2_048  # bounds the bytes of images in memory at once
ROWS_PER_TEXT_BATCH = 16_384
SAMPLE_ROWS = 20_000  # rows to learn from that are searched for leaks


class TrainingSetBuilder:
    """Makes training sets out of snapshots."""

    def __init__(self, stores: Stores, lake: Lake, engine: FeatureEngine | None = None) -> None:
        self._stores = stores
        self._lake = lake
        self._engine = engine or open_engine(stores.settings)

    def build(self, spec: TrainingSetSpec, snapshots: Mapping[str, Snapshot], as_of: datetime) -> TrainingSetRecord:
        """Return the training set of a definition on some snapshots, building it if it was not built before.

        Args:
            spec: What it is made of.
            snapshots: One for each dataset that the specification reads.
            as_of: Labels that are not known by then are left out; aware.

        Raises:
            FeatureError: If the definition breaks a rule on this data: see ``run_view``, ``make_examples``,
                ``run_batch`` and ``Split.assign``.
        """
        missing = [name for name in spec.datasets if name not in snapshots]
        if missing:
            raise FeatureError(
                f"'{spec.name}' reads {', '.join(missing)}, of which there is no snapshot.", hint="Ingest first."
            )
        inputs = Inputs(self._stores, self._lake, {name: snapshots[name] for name in spec.datasets})
        with self._engine.open(inputs) as session:
            source = example_source(session.desk, spec)
            used = {name: snapshots[name].version for name in spec.datasets}
            digest = digest_json(
                {
                    "format": FORMAT,
                    "spec": spec.digest,
                    "snapshots": used,
                    "known": count_mature(session.desk, source, as_of),
                }
            )
            found = find_record(self._stores, digest)
            if found is not None:
                return found
            return self._build(session, source, digest, used, as_of)

    def _build(
        self,
        session: EngineSession,
        source: ExampleSource,
        digest: str,
        used: dict[str, int],
        as_of: datetime,
    ) -> TrainingSetRecord:
        spec, connection = source.spec, session.desk
        warnings = list(make_examples(connection, source, as_of))
        views = [session.compute(view, spec.late_labels) for view in spec.views]
        record_views(self._stores, views)
        for rows in views:
            warnings.extend(rows.warnings)
        columns = [name for name, *_ in connection.sql(f"DESCRIBE {EXAMPLES}").fetchall() if name != ROW]
        fields = input_fields(source, views, columns)
        held = self._assign(connection, spec)
        stream = session.join(EXAMPLES, views, time=EVENT_TIME, columns=columns, order=ROW, batch=_batch_rows(source))
        writer = SetWriter(self._stores, digest, fields, source.label_field(), source)
        first_row = 0
        every = -(-len(held) // SAMPLE_ROWS) or 1
        sample: list[pa.Table] = []
        with writer:
            for batch in stream:
                table = self._with_texts(pa.Table.from_batches([batch]), source)
                transformed = self._transformed(table, source, writer, first_row)
                sealed = held[first_row : first_row + len(batch)]
                writer.write(table, transformed, sealed)
                to_learn = np.flatnonzero(np.logical_not(sealed))[::every]
                sample.append(table.take(pa.array(to_learn)))
                first_row += len(batch)
        warnings.extend(_leaks(pa.concat_tables(sample), source, fields) if sample else ())
        return self._record(source, digest, used, as_of, writer, views, warnings, connection)

    def _assign(self, connection: duckdb.DuckDBPyConnection, spec: TrainingSetSpec) -> Array:
        by = f", {quote_name(spec.holdout.by)}" if spec.holdout.by else ""
        table = connection.sql(f"SELECT {EVENT_TIME}, {KEY}{by} FROM {EXAMPLES} ORDER BY {ROW}").to_arrow_table()
        return spec.holdout.assign(table)

    def _with_texts(self, table: pa.Table, source: ExampleSource) -> pa.Table:
        """Put the texts themselves in place of their references; a split or a view's entity keeps the reference."""
        for name in source.text_columns:
            texts = read_texts(self._stores.payloads, table.column(name))
            table = table.set_column(table.column_names.index(name), name, texts)
        return table

    def _transformed(
        self, table: pa.Table, source: ExampleSource, writer: SetWriter, first_row: int
    ) -> dict[str, Array]:
        result: dict[str, Array] = {}
        for transform in source.spec.transforms:
            inputs = [self._input(table, source.request_field(ref.name)) for ref in transform.inputs]
            pinned = writer.pinned.get(transform.name)
            values, field = run_in_batches(
                transform.name,
                transform.function,
                inputs,
                rows=table.num_rows,
                batch_rows=transform.batch_rows,
                pinned=pinned,
                first_row=first_row,
            )
            writer.pinned[transform.name] = field
            result[transform.name] = values
        return result

    def _input(self, table: pa.Table, wanted: RequestField) -> Array | list[bytes | None]:
        column = table.column(wanted.name)
        if wanted.type in PAYLOADS:
            return stored_payloads(self._stores, column)
        return transform_input(column, wanted)

    def _record(
        self,
        source: ExampleSource,
        digest: str,
        used: dict[str, int],
        as_of: datetime,
        writer: SetWriter,
        views: Sequence[ViewRows],
        warnings: Sequence[str],
        connection: duckdb.DuckDBPyConnection,
    ) -> TrainingSetRecord:
        spec, stores = source.spec, self._stores
        first, last = (
            connection.sql(f"SELECT min({EVENT_TIME}) AS a, max({EVENT_TIME}) AS b FROM {EXAMPLES}")
            .to_arrow_table()
            .to_pylist()[0]
            .values()
        )
        rules = {source.name: "arrival_time" if spec.label.dataset.arrival_time else "event_time"}
        for rows in views:
            for dataset in rows.view.datasets:
                rules[dataset.name] = SourceRule.of(dataset, spec.late_labels).kind
        names = [ref.name for ref in spec.columns]
        names += [ref.name for transform in spec.transforms for ref in transform.inputs]
        names += [entity for view in spec.views for entity in view.matched_on]
        inputs = tuple(source.request_field(name) for name in dict.fromkeys(names))
        known = sorted(set(source.types) - set(names) - {spec.label.name})
        record = TrainingSetRecord(
            digest=digest,
            name=spec.name,
            created_at=stores.clock.now(),
            rows_train=writer.rows["train"],
            rows_holdout=writer.rows["holdout"],
            feature_fields=writer.fields,
            label_field=writer.label,
            inputs=inputs,
            known_columns=tuple(name for name in known if not name.startswith("_")),
            snapshots=used,
            views={view.name: view.version for view in spec.views},
            split=spec.holdout.description,
            known_at=rules,
            warnings=tuple(warnings),
            train_digest=writer.digests["train"],
            holdout_digest=writer.digests["holdout"],
            first_event=cast("datetime", first),
            last_event=cast("datetime", last),
            as_of=as_of,
        )
        try:
            with stores.facts.write() as write:
                write.execute(
                    training_sets.insert().values(
                        digest=digest,
                        name=spec.name,
                        created_at=record.created_at,
                        rows_train=record.rows_train,
                        rows_holdout=record.rows_holdout,
                        record=record.to_json(),
                    )
                )
                for ref in record.snapshot_refs:
                    stores.lineage.link(ref, record.ref, "read", connection=write)
                for view in spec.views:
                    stores.lineage.link(view.ref, record.ref, "joined", connection=write)
                for transform in spec.transforms:
                    stores.lineage.link(transform.ref, record.ref, "computed", connection=write)
        except IntegrityError:  # another process built the same set meanwhile
            return cast("TrainingSetRecord", find_record(stores, digest))
        return record


def input_fields(source: ExampleSource, views: Sequence[ViewRows], columns: Sequence[str]) -> tuple[Field, ...]:
    """Return the model's input in the order of the declaration.

    A transform stands with a type that its first batch replaces.

    Raises:
        FeatureError: If two features have one name, or a view's feature has that of a column of the examples.
    """
    by_view = {rows.view.name: rows.fields for rows in views}
    fields: list[Field] = []
    for feature in source.spec.features:
        if isinstance(feature, FeatureView):
            fields.extend(by_view[feature.name])
        elif isinstance(feature, OnDemand):
            fields.append(Field(feature.name, "float64", origin="transform", source=feature.name))
        else:
            fields.append(source.field(feature.name))
    taken: dict[str, Field] = {}
    for field in fields:
        other = taken.get(field.name)
        if other is not None or (field.origin == "view" and field.name in columns):
            where = source.name if other is None else other.source
            raise FeatureError(
                f"The name '{field.name}' stands for two things in '{source.spec.name}': one of '{where}', one of "
                f"'{field.source}'.",
                hint="Rename one.",
            )
        taken[field.name] = field
    return tuple(fields)


def _leaks(sample: pa.Table, source: ExampleSource, fields: Sequence[Field]) -> Iterator[str]:
    """Yield what makes it look as if a feature told the target, from some of the rows to learn from."""
    looked_at = [
        field.name for field in fields if field.origin != "transform" and field.name not in source.text_columns
    ]
    entity = next((view.matched_on for view in source.spec.views if view.entity), ())
    others = [name for name in looked_at if name not in entity]
    if others:
        delay = source.spec.label.arrives_after
        for leak in find_leaks(sample, LABEL, others, event_time=EVENT_TIME, entity=entity, label_delay=delay):
            yield f"May leak the label: {leak.reason.replace(LABEL, source.spec.label.name)}"


def stored_payloads(stores: Stores, column: pa.ChunkedArray) -> list[bytes | None]:
    """Return the bytes that a column of references stands for, in its order."""
    refs = column.to_pylist()
    present = [ref for ref in refs if ref is not None]
    found = iter(stores.payloads.get_many(present))
    return [None if ref is None else next(found) for ref in refs]


def transform_input(column: pa.ChunkedArray, wanted: RequestField) -> Array:
    """Return a stored column as the array that a transform gets, the same as at request time; a category is text."""
    kind = "string" if wanted.type == "category" else wanted.type
    field = field_of(wanted.name, kind, required=wanted.required)
    return from_arrow(column.cast(arrow_type(field)), field)


def _batch_rows(source: ExampleSource) -> int:
    kinds = {source.types.get(ref.name) for transform in source.spec.transforms for ref in transform.inputs}
    if kinds & PAYLOADS:
        return ROWS_PER_PAYLOAD_BATCH
    return ROWS_PER_TEXT_BATCH if source.text_columns else ROWS_PER_BATCH
