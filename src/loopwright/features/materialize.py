"""Fill the online store from snapshots.

Only what may have changed since the stored mark is computed and written: the entities of new rows, and those with a row
that was not known yet (``loopwright.features.incremental``). Rows go in pieces, the mark after the last one: killed
anywhere, the next call does the rest, and doing it twice changes nothing.

One process of a machine fills a view at a time, and never with older snapshots than the store has: a turn and the
controller that follows pushes may both ask.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.errors import FeatureError
from loopwright.core.storage.file_lock import FileLock
from loopwright.features.compiled_view import compile_view
from loopwright.features.engine import Inputs
from loopwright.features.incremental import Change, as_keys, change_since, local_key, schemas_of, to_values
from loopwright.features.online import OnlineRow, OnlineStore, Value, entity_key, from_micros, to_micros
from loopwright.features.view_registry import record_views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.compiled_view import CompiledView
    from loopwright.features.engine import EngineSession, FeatureEngine, ViewRows
    from loopwright.features.label import Label
    from loopwright.features.view import FeatureView

ROWS_PER_WRITE = 20_000
MOST_WAITING = 20_000  # entities remembered in the mark, some 200 kB of it


How = Literal["nothing", "waiting", "touched", "all"]


@dataclass(frozen=True)
class MaterializeReport:
    """What one filling did.

    Attributes:
        view: The view, as ``name@version``.
        rows_written: Entities whose value was new, newer or equal in time.
        rows_known: Entities that the store has for the view now.
        until: The moment up to which values are known.
        skipped: Whether nothing could have changed, so that nothing was computed.
        rows_computed: Rows of the view that were computed.
        how: What was computed: ``nothing``; entities that were ``waiting`` for values to become known; those
            ``touched`` by new rows (and the waiting ones); or ``all``.
        because: Where all was computed although something had been before: why.
        next_known: When the next value becomes known; None where none is on its way.
    """

    view: str
    rows_written: int
    rows_known: int
    until: datetime
    skipped: bool
    rows_computed: int = 0
    how: How = "nothing"
    because: str = ""
    next_known: datetime | None = None


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
    read = inputs_of(stores, lake, view, snapshots)
    with FileLock(stores.local / "locks" / f"online {view_key(view)}.lock").hold():
        return _fill(stores, online, engine, view, read, labels, until)


def newest_online(online: OnlineStore, key: str) -> datetime | None:
    """Return the newest event time that was written for a view (``name@version``); None where none was."""
    newest = json.loads(online.mark(key) or "{}").get("newest")
    return None if newest is None else from_micros(newest)


def _fill(
    stores: Stores,
    online: OnlineStore,
    engine: FeatureEngine,
    view: FeatureView,
    read: Inputs,
    labels: Sequence[Label],
    until: datetime,
) -> MaterializeReport:
    key = view_key(view)
    compiled = compile_view(view, schemas_of(read), labels)
    now: dict[str, Any] = {
        "snapshots": {name: snapshot.version for name, snapshot in read.snapshots.items()},
        "labels": late_labels(compiled, labels),
    }
    mark = json.loads(online.mark(key) or "{}")
    last = mark.get("inputs", {})
    moment = to_micros(until)
    change = Change(None)
    how: How = "all"
    after: datetime | None = None
    if "next" in mark and last.get("labels") == now["labels"]:
        waiting = as_keys(local_key(compiled)[0], mark.get("pending"))
        if last != now and _is_behind(now["snapshots"], last["snapshots"]):
            return _nothing_new(online, key, mark, until=from_micros(mark["until"]))
        if last == now:
            if moment <= mark["until"] or moment < (mark["next"] or math.inf):
                return _nothing_new(online, key, mark, until)
            after = from_micros(mark["until"])
        change = change_since(read, compiled, last["snapshots"], waiting)
        if change.only is not None:
            how = "waiting" if last == now else "touched"
    elif mark:
        change = Change(None, "labels arrive otherwise than before")
    written = 0
    newest: int | None = mark.get("newest")
    with engine.open(replace(read, only=change.only)) as session:
        rows = session.compute(view, labels)
        record_views(stores, [rows])
        for batch in session.latest(rows, until=until, after=after, batch=ROWS_PER_WRITE):
            ready = online_rows(rows, batch)
            written += online.write_many(key, ready)
            moments = [row.event_us for row in ready]
            newest = max(moments, default=newest) if newest is None else max([newest, *moments])
        waits = _waits(session, rows, compiled, until)
    marked = {"inputs": now, "until": moment, "newest": newest, **waits}
    online.write_many(key, (), mark=json.dumps(marked))
    return MaterializeReport(
        key, written, online.count(key), until, skipped=False, rows_computed=rows.rows, how=how, because=change.because,
        next_known=_next_of(marked),
    )  # fmt: skip


def _is_behind(now: Mapping[str, int], last: Mapping[str, int]) -> bool:
    """Tell whether what is filled from is older than what the store was filled from."""
    return now.keys() == last.keys() and all(now[name] <= last[name] for name in now)


def _next_of(mark: Mapping[str, Any]) -> datetime | None:
    return None if mark["next"] is None else from_micros(mark["next"])


def late_labels(compiled: CompiledView, labels: Sequence[Label]) -> list[list[object]]:
    """Return, as JSON values, the labels for which the view's rows wait, with their longest delay in seconds."""
    delays: dict[str, float] = {}
    for label in labels:
        name = f"{label.dataset.name}.{label.name}"
        if name in compiled.late_labels:
            delays[name] = max(delays.get(name, 0.0), label.arrives_after.total_seconds())
    return [[name, delay] for name, delay in sorted(delays.items())]


def _nothing_new(online: OnlineStore, key: str, mark: dict[str, Any], until: datetime) -> MaterializeReport:
    reached = max(to_micros(until), int(mark["until"]))
    if reached > mark["until"]:
        online.write_many(key, (), mark=json.dumps({**mark, "until": reached}))
    return MaterializeReport(key, 0, online.count(key), from_micros(reached), skipped=True, next_known=_next_of(mark))


def _waits(session: EngineSession, rows: ViewRows, compiled: CompiledView, until: datetime) -> dict[str, object]:
    """Return, for the mark, when the next row becomes known, and the entities that have such a row."""
    later = session.next_known(rows, after=until)
    columns = local_key(compiled)[0]
    waiting: list[list[object]] | None = [] if columns else None
    if later is not None and columns:
        found = session.entities(rows, limit=MOST_WAITING + 1, columns=columns, known_after=until)
        waiting = to_values(found, MOST_WAITING)
    return {"next": None if later is None else to_micros(later), "pending": waiting}


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
    names = rows.join.features
    keys = [plain_values(batch.column(name)) for name in rows.join.entity]
    columns = [plain_values(batch.column(name)) for name in names]
    values = zip(*columns, strict=True) if columns else iter([()] * batch.num_rows)
    return [
        OnlineRow(entity_key(key), cast("int", event), cast("int", known), dict(zip(names, one, strict=True)))
        for key, event, known, one in zip(
            zip(*keys, strict=True) if keys else iter([()] * batch.num_rows),
            plain_values(batch.column(rows.join.event_time)),
            plain_values(batch.column(rows.join.known_at)),
            values,
            strict=True,
        )
    ]


def plain_values(column: pa.Array | pa.ChunkedArray) -> list[Value]:
    """Return a column as an online store keeps its values."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return cast("list[Value]", column.to_pylist())
