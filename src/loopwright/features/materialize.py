"""Fill the online store from snapshots.

A view's rows are computed once per call; only what may have changed since the stored mark is written. Rows go in
pieces, the mark after the last one: killed anywhere, the next call does the rest, and doing it twice changes nothing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from loopwright.core.errors import FeatureError
from loopwright.features.engine import Inputs
from loopwright.features.online import OnlineRow, OnlineStore, Value, entity_key, from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.engine import FeatureEngine, ViewRows
    from loopwright.features.label import Label
    from loopwright.features.view import FeatureView

ROWS_PER_WRITE = 20_000


@dataclass(frozen=True)
class MaterializeReport:
    """What one filling did.

    Attributes:
        view: The view, as ``name@version``.
        rows_written: Entities whose value was new, newer or equal in time.
        rows_known: Entities that the store has for the view now.
        until: The moment up to which values are known.
        skipped: Whether nothing could have changed, so that nothing was computed.
    """

    view: str
    rows_written: int
    rows_known: int
    until: datetime
    skipped: bool


def view_key(view: FeatureView) -> str:
    """Return the name under which an online store keeps a view."""
    return f"{view.name}@{view.version}"


def materialize(
    stores: Stores,
    lake: Lake,
    online: OnlineStore,
    engine: FeatureEngine,
    view: FeatureView,
    snapshots: Mapping[str, Snapshot],
    *,
    labels: Sequence[Label] = (),
    until: datetime,
) -> MaterializeReport:
    """Bring the online values of a view up to a moment.

    Args:
        stores: Where spilled data may go.
        lake: Reads the snapshots.
        online: What to fill.
        engine: What computes the view.
        view: Which view.
        snapshots: One for each dataset that the view reads.
        labels: The labels in play, whose columns are known late.
        until: Only what was known by then is served; aware.

    Raises:
        FeatureError: If a snapshot is missing, or the view breaks a rule.
    """
    key = view_key(view)
    read = inputs_of(stores, lake, view, snapshots)
    used = {name: snapshot.version for name, snapshot in read.snapshots.items()}
    inputs = {
        "snapshots": used,
        "labels": sorted([label.name, label.arrives_after.total_seconds()] for label in labels),
    }
    mark = json.loads(online.mark(key) or "{}")
    same = mark.get("inputs") == json.loads(json.dumps(inputs))
    if same and to_micros(until) <= mark["until"]:
        return MaterializeReport(key, 0, online.count(key), from_micros(mark["until"]), skipped=True)
    written = 0
    with engine.open(read) as session:
        rows = session.compute(view, labels)
        after = from_micros(mark["until"]) if same else None
        reader = session.latest(rows, until=until, after=after, batch=ROWS_PER_WRITE)
        for batch in reader:
            written += online.write_many(key, online_rows(rows, batch))
    online.write_many(key, (), mark=json.dumps({"inputs": inputs, "until": to_micros(until)}))
    return MaterializeReport(key, written, online.count(key), until, skipped=False)


def inputs_of(stores: Stores, lake: Lake, view: FeatureView, snapshots: Mapping[str, Snapshot]) -> Inputs:
    """Return what a session needs to compute one view.

    Raises:
        FeatureError: If a dataset that it reads has no snapshot.
    """
    missing = [dataset.name for dataset in view.datasets if dataset.name not in snapshots]
    if missing:
        raise FeatureError(
            f"The view '{view.name}' reads {', '.join(missing)}, of which there is no snapshot.", hint="Ingest first."
        )
    return Inputs(stores, lake, {dataset.name: snapshots[dataset.name] for dataset in view.datasets})


def online_rows(rows: ViewRows, batch: pa.RecordBatch) -> list[OnlineRow]:
    """Return rows as an online store keeps them; NaN becomes None, a time microseconds since 1970."""
    columns = {name: plain_values(batch.column(name)) for name in batch.schema.names}
    keys = [columns[name] for name in rows.join.entity]
    values = [columns[name] for name in rows.join.features]
    event, known = columns[rows.join.event_time], columns[rows.join.known_at]
    return [
        OnlineRow(
            entity_key([column[place] for column in keys]),
            from_micros(cast("int", event[place])),
            from_micros(cast("int", known[place])),
            {name: column[place] for name, column in zip(rows.join.features, values, strict=True)},
        )
        for place in range(batch.num_rows)
    ]


def plain_values(column: pa.Array | pa.ChunkedArray) -> list[Value]:
    """Return a column as an online store keeps its values."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64())
    values = cast("list[Value]", column.to_pylist())
    if pa.types.is_floating(column.type):
        return [None if value is None or math.isnan(cast("float", value)) else value for value in values]
    return values
