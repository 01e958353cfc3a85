"""Outcomes: the labels of predictions, joined whenever they come, exactly once.

A label comes in one of two ways: as an event that names the prediction (topic ``outcomes/<model>``, which
`record_outcome` writes), or as a row of the label's dataset whose key is the prediction's. It may come before the
monitor has seen the prediction, late, or again with another value; then it is a new *revision*, the latest wins, and
all are kept. A label without a prediction waits in its table and costs nothing until the prediction is there.

Each round joins what is new on one side with all there is on the other. Its span of versions is written down before its
rows are, so that a round that was killed is done again over the same rows and under the same number, which the table
takes only once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from loopwright.core.storage.duck import borrowed, connect, quote_name, to_arrow
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.core.storage.table_changes import TableSpan
from loopwright.core.storage.table_purge import purge_rows
from loopwright.monitoring.outcome_event import outcome_event, read_outcome
from loopwright.serving.log.compactor import predictions_table

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from pathlib import Path

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.monitoring.watched import WatchedModel

_EVENTS_PER_READ: Final = 5_000
_APPLICATION: Final = "outcomes"

outcome_batches = sa.Table(
    "outcome_batches",
    metadata,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("range", sa.JSON, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("planned_at", UtcDateTime, nullable=False),
)

_LABEL_SCHEMA: Final = pa.schema(
    [
        pa.field("prediction_id", pa.string()),
        pa.field("label", pa.string()),
        pa.field("arrived_at", pa.timestamp("us", tz="UTC")),
        pa.field("offset", pa.int64()),
    ]
)
OUTCOME_SCHEMA: Final = pa.schema(
    [
        pa.field("prediction_id", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("route", pa.string()),
        pa.field("predicted_at", pa.timestamp("us", tz="UTC")),
        pa.field("output_number", pa.float64()),
        pa.field("output_text", pa.string()),
        pa.field("label", pa.string()),
        pa.field("arrived_at", pa.timestamp("us", tz="UTC")),
        pa.field("revision", pa.int64()),
        pa.field("source", pa.string()),
        pa.field("batch", pa.int64()),
    ]
)


_NONE_KNOWN: Final = (
    "SELECT NULL::VARCHAR AS prediction_id, NULL::BIGINT AS version, NULL::VARCHAR AS route, NULL::BIGINT AS revision, "
    "NULL::VARCHAR AS label WHERE false"
)
# The last outcome of the predictions in a round that have one already.
_KNOWN: Final = """
SELECT prediction_id, version, route, max(revision) AS revision, arg_max(label, revision) AS label
FROM ({outcomes}) WHERE prediction_id IN (SELECT prediction_id FROM pairs) GROUP BY ALL
"""
# The labels of each prediction in order: those that change something are kept and numbered.
_REVISIONS: Final = """
WITH ordered AS (
    SELECT pairs.*, known.revision AS last_revision, coalesce(lag(pairs.label) OVER one, known.label) AS before
    FROM pairs LEFT JOIN known USING (prediction_id, version, route)
    WINDOW one AS (
        PARTITION BY prediction_id, version, route ORDER BY pairs.arrived_at, pairs.position, pairs.place, predicted_at
    )
), kept AS (
    SELECT *, coalesce(last_revision, -1) + row_number() OVER (
        PARTITION BY prediction_id, version, route ORDER BY arrived_at, position, place, predicted_at
    ) AS revision
    FROM ordered WHERE label IS DISTINCT FROM before
)
SELECT prediction_id, version, route, predicted_at, output_number, output_text, label,
    coalesce(arrived_at, $planned_at) AS arrived_at, revision, source, $batch::BIGINT AS batch
FROM kept ORDER BY kept.arrived_at, position, place, predicted_at, prediction_id, version, route
"""


def outcomes_table(model: str) -> str:
    """Return the name of a model's table of outcomes in the lake."""
    return f"outcomes/{model}"


def outcomes_topic(model: str) -> str:
    """Return the name of the topic that outcomes of a model are sent to."""
    return f"outcomes/{model}"


def labels_table(model: str) -> str:
    """Return the name of the table that keeps what was sent as events."""
    return f"labels/{model}"


def record_outcome(stores: Stores, model: str, prediction_id: str, label: object, *, at: datetime | None = None) -> int:
    """Send the outcome of a prediction, now or ever; returns its offset. Sending another value later revises it.

    Args:
        stores: The stores.
        model: The model that predicted.
        prediction_id: The id that the prediction was answered with.
        label: The true class or number.
        at: When it became known; now by default.
    """
    return stores.events.append(outcomes_topic(model), [outcome_event(prediction_id, label, at)])[0]


def erase_outcomes(stores: Stores, model: str, prediction_ids: Collection[str], scratch: Path) -> int:
    """Take the outcomes of some predictions, and labels sent for them, out of every version for good.

    Returns:
        How many rows went; doing it again takes what is left.
    """
    rows = 0
    for table in (outcomes_table(model), labels_table(model)):
        if not prediction_ids or not stores.tables.exists(table):
            continue
        with connect() as con:
            con.register("erased ids", pa.table({"id": pa.array(sorted(prediction_ids), pa.string())}))
            which = 'prediction_id IN (SELECT id FROM "erased ids")'
            rows += purge_rows(con, stores.tables, table, which, scratch)
    return rows


@dataclass(frozen=True)
class CollectReport:
    """What one round found: labels sent as events since the last one, outcomes joined, and how many of them revise."""

    labels_read: int = 0
    outcomes: int = 0
    revisions: int = 0


class OutcomeCollector:
    """The stage of the monitor that brings labels and predictions together."""

    def __init__(self, stores: Stores, lake: Lake) -> None:
        self._stores = stores
        self._lake = lake

    def collect(self, watched: WatchedModel) -> CollectReport:
        """Join what is new; a round that a killed process left half done is finished first."""
        read = self._store_events(watched.model)
        joined = revised = 0
        while (planned := self._planned(watched)) is not None:
            number, spans, planned_at = planned
            rows = self._join(watched, spans, number, planned_at)
            self._finish(watched.model, number, rows)
            joined += rows.num_rows
            revised += pc.sum(pc.greater(rows.column("revision"), 0)).as_py() or 0
        return CollectReport(read, joined, revised)

    def _store_events(self, model: str) -> int:
        """Move label events into their table; the table's own transaction number is how far that has come."""
        table, topic, total = labels_table(model), outcomes_topic(model), 0
        end = self._stores.events.end(topic)
        if end == 0:
            return 0
        done = (self._stores.tables.transaction(table, _APPLICATION) or 0) if self._stores.tables.exists(table) else 0
        while done < end:
            events = self._stores.events.read(topic, after=done, limit=_EVENTS_PER_READ)
            if not events:
                break
            rows = [(event.key, *read_outcome(event.value, event.appended_at), event.offset) for event in events]
            columns = list(zip(*rows, strict=True))
            data = pa.Table.from_arrays(
                [pa.array(values, type=kind.type) for values, kind in zip(columns, _LABEL_SCHEMA, strict=True)],
                schema=_LABEL_SCHEMA,
            )
            done = events[-1].offset
            self._stores.tables.append(table, data, transaction=(_APPLICATION, done))
            total += len(events)
        return total

    def _planned(self, watched: WatchedModel) -> tuple[int, dict[str, TableSpan], datetime] | None:
        """Return the round to do: the one on record that is not finished, or a new one where something is new."""
        with self._stores.facts.read() as connection:
            last = _last_batch(connection, watched.model)
        if last is not None and last.state == "planned":
            return last.number, _spans(last.range), last.planned_at
        tables = self._stores.tables
        seen = {} if last is None else {name: span.until for name, span in _spans(last.range).items()}
        wanted = {"predictions": predictions_table(watched.model), "labels": labels_table(watched.model)}
        spans = {name: tables.span(table, seen.get(name, 0)) for name, table in wanted.items()}
        if watched.label is not None and watched.label.dataset.key:
            name = watched.label.dataset.name
            spans["dataset"] = TableSpan(f"datasets/{name}", seen.get("dataset", 0), self._newest_snapshot(name))
        if all(span.empty for span in spans.values()):
            return None
        outcomes = outcomes_table(watched.model)
        spans["outcomes"] = tables.span(outcomes)
        number = 1 if last is None else last.number + 1
        now = self._stores.clock.now()
        row: dict[str, object] = {
            "model": watched.model,
            "number": number,
            "range": {name: [span.table, span.after, span.until] for name, span in spans.items()},
            "state": "planned",
            "rows": 0,
            "planned_at": now,
        }
        with self._stores.facts.write() as connection:
            newer = _last_batch(connection, watched.model)
            if newer is not None and newer.number >= number:  # another monitor was faster: do its round with it
                return None if newer.state != "planned" else (newer.number, _spans(newer.range), newer.planned_at)
            connection.execute(sa.insert(outcome_batches).values(**row))
        return number, spans, now

    def _newest_snapshot(self, dataset: str) -> int:
        """Return the version of the newest snapshot that is visible, 0 where there is none."""
        return max((snapshot.version for snapshot in self._lake.history(dataset)), default=0)

    def _join(self, watched: WatchedModel, spans: dict[str, TableSpan], number: int, planned_at: datetime) -> pa.Table:
        """Join one round and put its rows into the table."""
        tables = self._stores.tables
        predictions = spans["predictions"]
        every = tables.added_sql(predictions.whole)
        if every is None:
            return OUTCOME_SCHEMA.empty_table()
        fresh = tables.added_sql(predictions, key=("prediction_id", "version", "route"))
        parts = self._by_id(spans["labels"], every, fresh)
        if "dataset" in spans:
            parts += self._by_key(watched, spans["dataset"], every, fresh)
        if not parts:
            return OUTCOME_SCHEMA.empty_table()
        known = tables.added_sql(spans["outcomes"].whole)
        with borrowed() as con:
            con.execute(f"CREATE TEMP TABLE pairs AS {' UNION ALL '.join(parts)}")
            con.execute(f"CREATE TEMP TABLE known AS {_KNOWN.format(outcomes=known) if known else _NONE_KNOWN}")
            rows = revised(con, number, planned_at)
        if rows.num_rows:
            tables.append(outcomes_table(watched.model), rows, transaction=(_APPLICATION, number))
        return rows

    def _by_id(self, labels: TableSpan, every: str, fresh: str | None) -> list[str]:
        """Pair labels sent as events: the new ones with all predictions, the old ones with new predictions."""
        tables = self._stores.tables
        parts = []
        new = tables.added_sql(labels, key=("offset",))
        old = tables.added_sql(labels.before)
        for side, predictions in ((new, every), (old, fresh)):
            if side is not None and predictions is not None:
                parts.append(
                    _pairs(predictions, side, "p.prediction_id = l.prediction_id", ('l."offset"', "0"), "event")
                )
        return parts

    def _by_key(self, watched: WatchedModel, rows: TableSpan, every: str, fresh: str | None) -> list[str]:
        """Pair rows of the label's dataset with predictions of the same key."""
        label = watched.label
        if label is None or not label.dataset.key:  # a round without a dataset has no such span
            return []
        tables = self._stores.tables
        new = tables.added_sql(rows, key=("_ingest_id", "_source", "_source_row"))
        old = tables.added_sql(rows.before)
        key = " || '|' || ".join(f"{quote_name(name)}::VARCHAR" for name in label.dataset.key)
        arrival = quote_name(label.dataset.arrival_time or "_arrived_at")
        parts = []
        for side, predictions in ((new, every), (old, fresh)):
            if side is not None and predictions is not None:
                labelled = (
                    f"SELECT {key} AS key, to_json({quote_name(label.name)})::VARCHAR AS label, "
                    f"{arrival}::TIMESTAMPTZ AS arrived_at, _arrived_at AS stored_at, _source_row "
                    f"FROM ({side}) WHERE {quote_name(label.name)} IS NOT NULL"
                )
                order = "epoch_us(l.stored_at)"
                parts.append(_pairs(predictions, labelled, "p.key = l.key", (order, "l._source_row"), "dataset"))
        return parts

    def _finish(self, model: str, number: int, rows: pa.Table) -> None:
        with self._stores.facts.write() as connection:
            connection.execute(
                sa.update(outcome_batches)
                .where(outcome_batches.c.model == model, outcome_batches.c.number == number)
                .values(state="done", rows=rows.num_rows)
            )


def _pairs(predictions: str, labels: str, condition: str, order: tuple[str, str], source: str) -> str:
    return (
        'SELECT p.prediction_id, p.version, p.route, p."at" AS predicted_at, p.output_number, p.output_text, l.label, '
        f"l.arrived_at, {order[0]} AS position, {order[1]} AS place, '{source}' AS source "
        f"FROM ({predictions}) AS p JOIN ({labels}) AS l ON {condition} WHERE p.status = 200 AND l.label IS NOT NULL"
    )


def revised(con: duckdb.DuckDBPyConnection, number: int, planned_at: datetime) -> pa.Table:
    """Return the outcomes (`OUTCOME_SCHEMA`) that the tables ``pairs`` and ``known`` of a connection lead to."""
    return to_arrow(con.sql(_REVISIONS, params={"batch": number, "planned_at": planned_at})).cast(OUTCOME_SCHEMA)


def _last_batch(connection: sa.Connection, model: str) -> sa.Row[tuple[object, ...]] | None:
    query = sa.select(outcome_batches).where(outcome_batches.c.model == model)
    return connection.execute(query.order_by(outcome_batches.c.number.desc()).limit(1)).first()


def _spans(stored: dict[str, tuple[str, int, int]]) -> dict[str, TableSpan]:
    return {name: TableSpan(table, after, until) for name, (table, after, until) in stored.items()}
