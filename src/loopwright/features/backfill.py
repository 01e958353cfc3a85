"""The computed rows of a view, kept in the lake: filled by ranges of event time, refreshed by touched entities.

A table ``features/<view>/<version>`` holds every row with its event time and ``_known_at``. It is only ever appended
to, each commit is whole or not there, and says in its note what it holds, so that a run that was killed goes on at the
first part that is missing. Two kinds of commits:

* **a part**: the rows of one range of event times, of all entities;
* **a refresh**, when the datasets have changed since the last commit: the rows, in all ranges so far, of the entities
  that the new rows touch (or of all, where the view is not local to its entity), behind one marker row per entity that
  takes the older rows of that entity out. Readers of ``rows_sql`` see either all of it or nothing of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from loopwright.core.errors import FeatureError
from loopwright.core.storage.duck import quote_name
from loopwright.features.availability import KNOWN_AT
from loopwright.features.compiled_view import compile_view
from loopwright.features.incremental import change_since, local_key, schemas_of
from loopwright.features.materialize import inputs_of, late_labels
from loopwright.features.online import from_micros, to_micros
from loopwright.features.view_registry import record_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.engine import EngineSession, FeatureEngine, Inputs, ViewRows
    from loopwright.features.incremental import Change
    from loopwright.features.label import Label
    from loopwright.features.view import FeatureView

ROWS_PER_BATCH = 65_536
MOST_PARTS = 200
_NOTE = "features"
_ROW, _ENTITY_REPLACED, _ALL_REPLACED = 0, 1, 2
_KIND, _GENERATION, _KNOWN = "_kind", "_generation", "_known_at"
_Range = tuple[int, int]


@dataclass(frozen=True)
class BackfillReport:
    """What one filling of a range did.

    Attributes:
        view: The view, as ``name@version``.
        table: Where its rows are.
        since: The first moment of the range.
        before: The end of the range, not included.
        rows_written: Rows added to the table.
        rows_computed: Rows of the view that were computed.
        parts_written: Parts of the range that were filled.
        parts_done: Ranges that were there already, those that touch counted as one.
        refreshed: What was computed anew in older ranges: ``nothing``, ``touched`` entities, or ``all``.
        because: Where it was all: why.
    """

    view: str
    table: str
    since: datetime
    before: datetime
    rows_written: int
    rows_computed: int
    parts_written: int
    parts_done: int
    refreshed: str = "nothing"
    because: str = ""


@dataclass(frozen=True)
class _State:
    generation: int
    inputs: dict[str, Any]
    ranges: tuple[_Range, ...]


def features_table(view: FeatureView) -> str:
    """Return the name of the table of a view's rows."""
    return f"features/{view.name}/{view.version}"


def read_moment(text: str) -> datetime:
    """Read a moment as a person types it; without a zone it is UTC.

    Raises:
        FeatureError: If it is none.

    >>> read_moment("2026-01-31").isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FeatureError(f"{text!r} is no moment.", hint="Write it as 2026-01-31 or 2026-01-31T08:00.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def backfill(
    stores: Stores,
    lake: Lake,
    engine: FeatureEngine,
    view: FeatureView,
    snapshots: Mapping[str, Snapshot],
    *,
    since: datetime,
    before: datetime,
    labels: Sequence[Label] = (),
    part: timedelta = timedelta(days=1),
) -> BackfillReport:
    """Have a view's rows of a range of event times in the lake, as new as the snapshots.

    Killed anywhere, the same call does the rest; called twice, the second adds nothing.

    Args:
        stores: Where the table is.
        lake: Reads the snapshots.
        engine: What computes the view.
        view: Which view.
        snapshots: One for each dataset that the view reads.
        since: The first event time; aware.
        before: The end of the range, not included; aware.
        labels: The labels in play, whose columns are known late.
        part: The length of a part; longer where the range would have more than 200 of them.

    Raises:
        FeatureError: If the range is empty, a snapshot is missing, or the view breaks a rule.
    """
    if since >= before:
        raise FeatureError(f"The range from {since:%Y-%m-%d %H:%M} to {before:%Y-%m-%d %H:%M} is empty.")
    read, table = inputs_of(stores, lake, view, snapshots), features_table(view)
    compiled = compile_view(view, schemas_of(read), labels)
    now = {
        "snapshots": {name: snapshot.version for name, snapshot in read.snapshots.items()},
        "labels": late_labels(compiled, labels),
    }
    state = _state(stores, table)
    key = local_key(compiled)[0]
    report = BackfillReport(view.ref.id, table, since, before, 0, 0, 0, 0)
    wanted = (to_micros(since), to_micros(before))
    if state is not None and state.inputs != now:
        empty = pa.table({name: pa.array([], pa.int64()) for name in key})
        change = change_since(read, compiled, state.inputs["snapshots"], empty)
        if state.inputs["labels"] != now["labels"]:
            change = replace(change, only=None, because="labels arrive otherwise than before")
        report = _refresh(stores, engine, read, view, labels, state, now, change, report)
        state = _state(stores, table)
    done = () if state is None else state.ranges
    missing = _without(wanted, done)
    report = replace(report, parts_done=sum(1 for one in done if one[0] < wanted[1] and one[1] > wanted[0]))
    if not missing:
        return report
    with engine.open(read) as session:
        rows = session.compute(view, labels)
        record_views(stores, [rows])
        generation = 1 if state is None else state.generation
        written = parts = 0
        for start, end in _parts(missing, part):
            note = {"generation": generation, "inputs": now, "range": [start, end], "key": list(key)}
            reader = session.stream(rows, since=from_micros(start), before=from_micros(end), batch=ROWS_PER_BATCH)
            written += _append(stores, table, _rows(reader, rows, generation), note, f"part {start} {end}")
            parts += 1
    return replace(
        report,
        rows_written=report.rows_written + written,
        rows_computed=report.rows_computed + rows.rows,
        parts_written=parts,
    )


def rows_sql(stores: Stores, view: FeatureView) -> str:
    """Return a DuckDB SELECT of the rows that are kept of a view: entity, event time, ``_known_at``, features.

    Raises:
        UnknownNameError: If nothing was kept of it.
    """
    table = features_table(view)
    scan = stores.tables.scan_sql(table)
    notes = _notes(stores, table)
    keys = [quote_name(name) for name in notes[0]["key"]]
    listed = "".join(f"{key}, " for key in keys)
    same = " AND ".join(f"r.{key} IS NOT DISTINCT FROM m.{key}" for key in keys) or "true"
    return (
        f"WITH s AS MATERIALIZED ({scan}), m AS (SELECT {listed}max({_GENERATION}) AS g FROM s WHERE {_KIND} = "
        f"{_ENTITY_REPLACED} GROUP BY ALL), a AS (SELECT coalesce(max({_GENERATION}), 0) AS g FROM s WHERE {_KIND} = "
        f"{_ALL_REPLACED}) SELECT r.* EXCLUDE ({_KIND}, {_GENERATION}) FROM s AS r LEFT JOIN m ON {same} WHERE "
        f"{_KIND} = {_ROW} AND r.{_GENERATION} >= (SELECT g FROM a) AND (m.g IS NULL OR r.{_GENERATION} >= m.g)"
    )


def _refresh(
    stores: Stores,
    engine: FeatureEngine,
    read: Inputs,
    view: FeatureView,
    labels: Sequence[Label],
    state: _State,
    now: dict[str, Any],
    change: Change,
    report: BackfillReport,
) -> BackfillReport:
    generation = state.generation + 1
    table = report.table
    with engine.open(replace(read, only=change.only)) as session:
        rows = session.compute(view, labels)
        record_views(stores, [rows])
        key = () if change.only is None else tuple(change.only.keys.column_names)
        note = {
            "generation": generation,
            "inputs": now,
            "ranges": [list(one) for one in state.ranges],
            "key": _notes(stores, table)[0]["key"],
        }

        def batches() -> Iterator[pa.Table]:
            if change.only is None:
                yield pa.table({_KIND: pa.array([_ALL_REPLACED], pa.int32())})
            else:
                marked = pa.array([_ENTITY_REPLACED] * change.only.keys.num_rows, pa.int32())
                yield change.only.keys.select(list(key)).append_column(_KIND, marked)
            for start, end in state.ranges:
                reader = session.stream(rows, since=from_micros(start), before=from_micros(end), batch=ROWS_PER_BATCH)
                for batch in reader:
                    yield pa.Table.from_batches([batch])

        written = _append(stores, table, _shaped(batches(), rows, session, generation), note, "refresh")
    how = "all" if change.only is None else "touched"
    markers = 1 if change.only is None else change.only.keys.num_rows
    return replace(
        report, rows_written=written - markers, rows_computed=rows.rows, refreshed=how, because=change.because
    )


def _rows(reader: pa.RecordBatchReader, rows: ViewRows, generation: int) -> Iterator[pa.Table]:
    schema = _schema(reader.schema, rows)
    yield schema.empty_table()  # a range without rows is noted too
    for batch in reader:
        yield _as_stored(pa.Table.from_batches([batch]), schema, generation)


def _shaped(tables: Iterator[pa.Table], rows: ViewRows, session: EngineSession, generation: int) -> Iterator[pa.Table]:
    schema = _schema(session.stream(rows, batch=1).schema, rows)
    for table in tables:
        yield _as_stored(table, schema, generation)


def _schema(read: pa.Schema, rows: ViewRows) -> pa.Schema:
    fields = [pa.field(_KNOWN if one.name == rows.join.known_at else one.name, one.type) for one in read]
    return pa.schema([*fields, pa.field(_KIND, pa.int32()), pa.field(_GENERATION, pa.int64())])


def _as_stored(table: pa.Table, schema: pa.Schema, generation: int) -> pa.Table:
    columns = []
    for field in schema:
        name = KNOWN_AT if field.name == _KNOWN else field.name
        if name in table.column_names:
            columns.append(table.column(name).cast(field.type))
        elif name == _GENERATION:
            columns.append(pa.chunked_array([pa.array([generation] * table.num_rows, pa.int64())]))
        elif name == _KIND:
            columns.append(pa.chunked_array([pa.array([_ROW] * table.num_rows, pa.int32())]))
        else:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
    return pa.table(columns, schema=schema)


def _append(stores: Stores, table: str, tables: Iterator[pa.Table], note: dict[str, Any], what: str) -> int:
    """Add rows in one commit and return how many; the same commit a second time adds nothing."""
    counted = [0]
    first = next(tables)

    def batches() -> Iterator[pa.RecordBatch]:
        counted[0] += first.num_rows
        yield from first.to_batches()
        for one in tables:
            counted[0] += one.num_rows
            yield from one.to_batches()

    reader = pa.RecordBatchReader.from_batches(first.schema, batches())
    transaction = (f"{what} of {note['generation']}", 1)
    stores.tables.append(table, reader, transaction=transaction, metadata={_NOTE: json.dumps(note)})
    return counted[0]


def _notes(stores: Stores, table: str) -> list[dict[str, Any]]:
    notes = [version.metadata.get(_NOTE) for version in stores.tables.versions(table)]
    return [json.loads(note) for note in notes if note is not None]


def _state(stores: Stores, table: str) -> _State | None:
    if not stores.tables.exists(table):
        return None
    notes = _notes(stores, table)
    if not notes:
        return None
    newest = max(note["generation"] for note in notes)
    ranges: list[_Range] = []
    for note in notes:
        if note["generation"] == newest:
            ranges += [tuple(one) for one in note.get("ranges", [])] + (
                [tuple(note["range"])] if "range" in note else []
            )
    inputs = next(note["inputs"] for note in notes if note["generation"] == newest)
    return _State(newest, inputs, tuple(_merged(ranges)))


def _merged(ranges: Sequence[_Range]) -> list[_Range]:
    """Return ranges in order, those that touch as one.

    >>> _merged([(5, 7), (0, 2), (2, 3)])
    [(0, 3), (5, 7)]
    """
    merged: list[_Range] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _without(wanted: _Range, done: Sequence[_Range]) -> list[_Range]:
    """Return what of a range no other covers.

    >>> _without((0, 10), [(2, 3), (8, 12)])
    [(0, 2), (3, 8)]
    """
    missing, start = [], wanted[0]
    for one in _merged(done):
        if one[1] <= start or one[0] >= wanted[1]:
            continue
        if one[0] > start:
            missing.append((start, one[0]))
        start = one[1]
    return [*missing, (start, wanted[1])] if start < wanted[1] else missing


def _parts(ranges: Sequence[_Range], part: timedelta) -> Iterator[_Range]:
    whole = sum(end - start for start, end in ranges)
    length = max(part // timedelta(microseconds=1), -(-whole // MOST_PARTS), 1)
    for start, end in ranges:
        for first in range(start, end, length):
            yield first, min(first + length, end)
