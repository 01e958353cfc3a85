"""Fill the online store from snapshots, and compare it with what the offline join says.

A view's rows are computed once per call; only what may have changed since the stored mark is written. Rows go in
pieces, the mark with the last one: killed anywhere, the next call does the rest, and doing it twice changes nothing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from loopwright.core.errors import FeatureError
from loopwright.core.storage.duck import connect, quote_name, quote_text
from loopwright.features.join import latest_known_sql, point_in_time
from loopwright.features.online import OnlineRow, OnlineStore, Value, entity_key, from_micros, to_micros
from loopwright.features.view_run import ViewRows, run_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
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


@dataclass(frozen=True)
class Difference:
    """One value that is not the same online and offline."""

    key: str
    feature: str
    online: Value
    offline: Value


@dataclass(frozen=True)
class ParityReport:
    """How the online values compare with the offline ones.

    Attributes:
        view: The view, as ``name@version``.
        at: The moment of the comparison: that up to which the store was filled.
        entities: How many entities were compared.
        values: How many values were compared.
        differences: The values that differ.
    """

    view: str
    at: datetime
    entities: int
    values: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether all values were the same."""
        return not self.differences


def view_key(view: FeatureView) -> str:
    """Return the name under which an online store keeps a view."""
    return f"{view.name}@{view.version}"


def materialize(
    stores: Stores,
    lake: Lake,
    online: OnlineStore,
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
        view: Which view.
        snapshots: One for each dataset that the view reads.
        labels: The labels in play, whose columns are known late.
        until: Only what was known by then is served; aware.

    Raises:
        FeatureError: If a snapshot is missing, or the view breaks a rule.
    """
    key = view_key(view)
    used = _versions(view, snapshots)
    inputs = {
        "snapshots": used,
        "labels": sorted([label.name, label.arrives_after.total_seconds()] for label in labels),
    }
    mark = json.loads(online.mark(key) or "{}")
    same = mark.get("inputs") == json.loads(json.dumps(inputs))
    if same and to_micros(until) <= mark["until"]:
        return MaterializeReport(key, 0, online.count(key), from_micros(mark["until"]), skipped=True)
    written = 0
    with _view_rows(stores, lake, view, snapshots, labels) as (connection, rows):
        after = from_micros(mark["until"]) if same else None
        pieces = list(_pieces(connection, rows, until, after))
        ending = json.dumps({"inputs": inputs, "until": to_micros(until)})
        for position, piece in enumerate(pieces):
            written += online.write_many(key, piece, mark=ending if position == len(pieces) - 1 else None)
        if not pieces:
            online.write_many(key, (), mark=ending)
    return MaterializeReport(key, written, online.count(key), until, skipped=False)


def parity(
    stores: Stores,
    lake: Lake,
    online: OnlineStore,
    view: FeatureView,
    snapshots: Mapping[str, Snapshot],
    *,
    labels: Sequence[Label] = (),
    sample: int = 1000,
) -> ParityReport:
    """Compare online values with the offline join at the moment up to which the store was filled.

    Args:
        stores: As in ``materialize``.
        lake: As in ``materialize``.
        online: What to compare.
        view: Which view.
        snapshots: The snapshots that the store should reflect.
        labels: As in ``materialize``.
        sample: The most entities to compare, chosen by hash.

    Raises:
        FeatureError: If the view was never materialised.
    """
    key = view_key(view)
    mark = json.loads(online.mark(key) or "{}")
    if not mark:
        raise FeatureError(f"The view '{view.name}' was never materialised.", hint="Run materialize first.")
    at = from_micros(mark["until"])
    with _view_rows(stores, lake, view, snapshots, labels) as (connection, rows):
        entity = ", ".join(quote_name(name) for name in view.entity)
        present = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in view.entity)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE __sample__ AS SELECT *, TIMESTAMPTZ {quote_text(at.isoformat())} AS "
            f"__at__ FROM "
            f"(SELECT DISTINCT {entity} FROM {quote_name(rows.join.table)} WHERE {present}) ORDER BY "
            f"hash({entity}), {entity} LIMIT {sample}"
        )
        sql = point_in_time(connection, "__sample__", [rows.join], time="__at__", columns=view.entity)
        offline = _fetch(connection, sql, rows)
    keys = [entity_key([row[name] for name in view.entity]) for row in offline]
    served = online.read_many(key, keys, now=at, ttl=view.ttl)
    differences: list[Difference] = []
    for text, row, found in zip(keys, offline, served, strict=True):
        for field in rows.fields:
            left = None if found is None else found.values.get(field.name)
            if not _same(left, row[field.name]):
                differences.append(Difference(text, field.name, left, row[field.name]))
    return ParityReport(key, at, len(keys), len(keys) * len(rows.fields), tuple(differences))


class _view_rows:  # noqa: N801 - used as a function
    """Open a connection with a view's rows computed."""

    def __init__(
        self, stores: Stores, lake: Lake, view: FeatureView, snapshots: Mapping[str, Snapshot], labels: Sequence[Label]
    ) -> None:
        self._connection = connect(temp_folder=stores.local / "tmp")
        self._lake, self._view, self._snapshots, self._labels = lake, view, snapshots, labels

    def __enter__(self) -> tuple[duckdb.DuckDBPyConnection, ViewRows]:
        try:
            for source in self._view.sources:
                self._lake.attach(self._connection, source.name, self._snapshots[source.name])
            return self._connection, run_view(self._connection, self._view, self._labels)
        except BaseException:
            self._connection.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _pieces(
    connection: duckdb.DuckDBPyConnection, rows: ViewRows, until: datetime, after: datetime | None
) -> Iterator[list[OnlineRow]]:
    """Yield the latest row of each entity that was known by ``until`` (and, where given, not yet at ``after``)."""
    join = rows.join
    known, event = quote_name(join.known_at), quote_name(join.event_time)
    conditions = [f"{known} <= TIMESTAMPTZ {quote_text(until.isoformat())}"]
    if after is not None:
        conditions.append(f"{known} > TIMESTAMPTZ {quote_text(after.isoformat())}")
    if join.ttl is not None:
        conditions.append(f"{event} > TIMESTAMPTZ {quote_text((until - join.ttl).isoformat())}")
    entity = ", ".join(quote_name(name) for name in join.entity)
    sql = (
        f"SELECT * FROM ({latest_known_sql(join, in_order=bool(join.in_order))}) WHERE {' AND '.join(conditions)} "
        f"QUALIFY row_number() OVER (PARTITION BY {entity} ORDER BY {event} DESC, {known} DESC) = 1"
    )
    reader = connection.sql(_plain(sql, rows, extra=(join.event_time, join.known_at))).to_arrow_reader(ROWS_PER_WRITE)
    for batch in reader:
        yield [
            OnlineRow(
                entity_key([row[name] for name in join.entity]),
                from_micros(row[join.event_time]),
                from_micros(row[join.known_at]),
                {field.name: _value(row[field.name]) for field in rows.fields},
            )
            for row in batch.to_pylist()
        ]


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str, rows: ViewRows) -> list[dict[str, Any]]:
    found = connection.sql(_plain(sql, rows, extra=())).to_arrow_table().to_pylist()
    return [{name: _value(value) for name, value in row.items()} for row in cast("list[dict[str, Any]]", found)]


def _plain(sql: str, rows: ViewRows, *, extra: Sequence[str]) -> str:
    """Return a query with its times as microseconds."""
    times = [*extra, *(field.name for field in rows.fields if field.dtype == "timestamp")]
    replaced = ", ".join(f"epoch_us({quote_name(name)}) AS {quote_name(name)}" for name in times)
    return f"SELECT * REPLACE ({replaced}) FROM ({sql})" if times else sql


def _value(value: Value) -> Value:
    return None if isinstance(value, float) and math.isnan(value) else value


def _same(left: Value, right: Value) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    return left == right


def _versions(view: FeatureView, snapshots: Mapping[str, Snapshot]) -> dict[str, int]:
    missing = [source.name for source in view.sources if source.name not in snapshots]
    if missing:
        raise FeatureError(
            f"The view '{view.name}' reads {', '.join(missing)}, of which there is no snapshot.", hint="Ingest first."
        )
    return {source.name: snapshots[source.name].version for source in view.sources}
