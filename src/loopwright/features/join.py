"""The point-in-time join: for each example, the row of each view *as known at* the example's moment.

A view row counts for an example at time ``t`` if

* its entity equals the example's, and neither has a missing key;
* it was known: ``known_at <= t``, where ``known_at`` is never before the row's event time (see
  ``loopwright.features.availability``);
* it is still alive: ``event_time > t - ttl``, where the view has a ttl.

Of the rows that count, the one with the latest event time is taken. Between rows of one event time the later known one
wins (a correction), and between rows known at the same moment the one whose values sort last, so that the result never
depends on the order of the input. A late row (an older event time that arrives after a newer one) therefore never
replaces the newer one. A missing value in the row that is taken stays missing; no older row is asked. Every example
gives exactly one output row.

How it is computed: a row that on arrival is not the latest by event time of what is known of its entity can never be
taken at any later moment, so it is dropped. What is left is ordered by ``known_at`` and by event time at once, and
DuckDB's ASOF join finds the last row known by ``t``: one query, no row multiplied. A row that was known at its event
time is never dropped; so prompt and late rows are joined apart, only the late ones are searched, and of the two rows
found for an example the one with the later event time is taken (with equal ones the late row, which is a correction).
These steps sort keys and times only and find *where* the row of each example lies; its values are fetched from there
afterwards, which is cheaper than carrying them through the sorts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import quote_name, quote_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import duckdb

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class JoinView:
    """A table of view rows to be joined.

    Attributes:
        table: Its name in the connection, a table and no view; event time and ``known_at`` are of one timestamp type.
        entity: Its key columns.
        on: The examples' columns that they equal, in the same order.
        event_time: The moment a row speaks of.
        known_at: The moment a row was known.
        features: The columns to bring over.
        ttl: How long a row counts, or None.
        in_order: Whether every row was known at its event time, where no two share entity, event time and moment of
            knowledge; None to find out both.
    """

    table: str
    entity: tuple[str, ...]
    on: tuple[str, ...]
    event_time: str
    known_at: str
    features: tuple[str, ...]
    ttl: timedelta | None = None
    in_order: bool | None = None


def point_in_time(
    connection: duckdb.DuckDBPyConnection,
    examples: str,
    views: Sequence[JoinView],
    *,
    time: str,
    columns: Sequence[str],
    order: str | None = None,
) -> str:
    """Return the SQL of the join; running it gives one row per example.

    Args:
        connection: Where the tables are. Each view is asked once whether its rows came in order.
        examples: The name of the table of examples.
        views: The views to bring over, none sharing a feature name with another or with the examples.
        time: The examples' moment, a timestamp; an example without one gets no values.
        columns: The examples' columns to keep.
        order: A column of the examples to sort by, so that their order is kept.
    """
    common: list[str] = []
    joins: list[str] = []
    fetched: list[str] = []
    kept = list(dict.fromkeys([*columns, *([order] if order else [])]))
    carried = [f"x.{quote_name(name)}" for name in kept]
    chosen = [f"j.{quote_name(name)}" for name in columns]
    moment = f"x.{quote_name(time)}"
    for position, view in enumerate(views):
        row = f"__row_{position}__"
        places = _places(connection, view)
        names = [f"v{position}_{number}" for number in range(len(places))]
        for name, sql in zip(names, places, strict=True):
            common.append(f"{name} AS ({sql})")
            pairs = zip(view.on, view.entity, strict=True)
            tests = [f"x.{quote_name(left)} = {name}.{quote_name(right)}" for left, right in pairs]
            tests.append(f"{moment} >= {name}.{quote_name(view.known_at)}")
            joins.append(f"ASOF LEFT JOIN {name} ON {' AND '.join(tests)}")
        carried.append(f"{_taken(names, view, moment)} AS {row}")
        fetched.append(f"LEFT JOIN {quote_name(view.table)} AS t{position} ON j.{row} = t{position}.rowid")
        chosen.extend(f"t{position}.{quote_name(feature)}" for feature in view.features)
    common.append(f"j AS (SELECT {', '.join(carried)} FROM {quote_name(examples)} AS x {' '.join(joins)})")
    text = f"WITH {', '.join(common)} SELECT {', '.join(chosen)} FROM j {' '.join(fetched)}"
    return text + (f" ORDER BY j.{quote_name(order)}" if order else "")


def _places(connection: duckdb.DuckDBPyConnection, view: JoinView) -> list[str]:
    """Return SELECTs of where the rows lie that are ever the latest known: key, event time, known at, row id.

    One of all rows, or one of those known at their event time and one of the late ones.
    """
    entity = [quote_name(name) for name in view.entity]
    event, known = quote_name(view.event_time), quote_name(view.known_at)
    present = " AND ".join(f"{name} IS NOT NULL" for name in (*entity, event, known))
    listed = ", ".join([*entity, event, known])
    rows = f"SELECT {listed}, rowid AS __place__ FROM {quote_name(view.table)} WHERE {present}"
    late = has_late_rows(connection, view) if view.in_order is None else not view.in_order
    # Their values need sorting only where two rows share entity, event time and moment of knowledge.
    if view.in_order is None and first_duplicate(connection, view) is not None:
        return [_latest_known(rows, view, by_values=True)]
    if not late:
        return [rows]
    return [f"{rows} AND {known} = {event}", _latest_known(f"{rows} AND {known} <> {event}", view, by_values=False)]


def _taken(names: Sequence[str], view: JoinView, moment: str) -> str:
    """Return where the row lies that is taken, of those found in each list of places."""
    if len(names) == 1:
        return _alive(names[0], view, moment)
    prompt, late = (f"{name}.{quote_name(view.event_time)}" for name in names)
    return (
        f"CASE WHEN {prompt} IS NULL OR {late} >= {prompt} THEN {_alive(names[1], view, moment)} "
        f"ELSE {_alive(names[0], view, moment)} END"
    )


def rows_in_order(connection: duckdb.DuckDBPyConnection, view: JoinView) -> bool:
    """Say whether every row was known at its event time and no entity has two rows of one event time."""
    return not has_late_rows(connection, view) and first_duplicate(connection, view) is None


def has_late_rows(connection: duckdb.DuckDBPyConnection, view: JoinView) -> bool:
    """Say whether a row was known later than its event time."""
    known, event = quote_name(view.known_at), quote_name(view.event_time)
    sql = f"SELECT 1 FROM {quote_name(view.table)} WHERE {known} IS DISTINCT FROM {event} LIMIT 1"
    return first_row(connection, sql) is not None


def first_duplicate(connection: duckdb.DuckDBPyConnection, view: JoinView) -> tuple[object, ...] | None:
    """Return (entity…, event time, known at, count) of rows that share all three, or None."""
    keys = ", ".join(quote_name(name) for name in (*view.entity, view.event_time, view.known_at))
    present = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in (*view.entity, view.event_time))
    table = f"(SELECT {keys} FROM {quote_name(view.table)} WHERE {present})"
    total = first_row(connection, f"SELECT count(*), count(DISTINCT hash({keys})) FROM {table}")
    if (
        total is not None and total[0] == total[1]
    ):  # equal hashes may hide no duplicate; different counts may be a collision
        return None
    return first_row(
        connection,
        f"SELECT COLUMNS(*)::VARCHAR FROM (SELECT {keys}, count(*) AS n FROM {table} GROUP BY ALL HAVING n > 1 "
        f"ORDER BY ALL LIMIT 1)",
    )


def first_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[object, ...] | None:
    """Run a query to its end and return its first row, or None."""
    rows: list[tuple[object, ...]] = connection.sql(sql).fetchall()
    return rows[0] if rows else None


def latest_known_sql(view: JoinView, *, in_order: bool) -> str:
    """Return the SELECT of the rows that are ever the latest known of their entity, unique by (entity, known at)."""
    entity = [quote_name(name) for name in view.entity]
    event, known = quote_name(view.event_time), quote_name(view.known_at)
    features = [quote_name(name) for name in view.features]
    present = " AND ".join(f"{name} IS NOT NULL" for name in (*entity, event, known))
    rows = f"SELECT {', '.join([*entity, event, known, *features])} FROM {quote_name(view.table)} WHERE {present}"
    return rows if in_order else _latest_known(rows, view, by_values=True)


def _latest_known(rows: str, view: JoinView, *, by_values: bool) -> str:
    """Return a SELECT with only the rows that are ever the latest known of their entity."""
    event, known = quote_name(view.event_time), quote_name(view.known_at)
    values = [quote_name(name) for name in view.features] if by_values else []
    order = ", ".join(f"{name} NULLS FIRST" for name in (known, event, *values))
    by = f"PARTITION BY {', '.join(map(quote_name, view.entity))} " if view.entity else ""
    window = f"({by}ORDER BY {order} ROWS UNBOUNDED PRECEDING)"
    following = f"lead({known}) OVER ({by}ORDER BY {order})"
    return f"{rows} QUALIFY {event} >= max({event}) OVER {window} AND {following} IS DISTINCT FROM {known}"


def latest_sql(view: JoinView, *, until: datetime, after: datetime | None = None) -> str:
    """Return the SELECT of the row of each entity that counts at ``until``: key, event time, known at, features.

    Args:
        view: The rows.
        until: The moment; rows that have outlived their ttl then are left out.
        after: Only rows that were not known yet at this earlier moment.
    """
    known, event = quote_name(view.known_at), quote_name(view.event_time)
    tests = [f"{known} <= TIMESTAMPTZ {quote_text(until.isoformat())}"]
    if after is not None:
        tests.append(f"{known} > TIMESTAMPTZ {quote_text(after.isoformat())}")
    if view.ttl is not None:
        tests.append(f"{event} > TIMESTAMPTZ {quote_text((until - view.ttl).isoformat())}")
    entity = ", ".join(map(quote_name, view.entity))
    if view.in_order:  # one row per entity and event time: found by its place, a tenth of the cost of moving values
        rows = latest_known_sql(view, in_order=True)
        place = f"SELECT arg_max(rowid, {event}) FROM {quote_name(view.table)}"
        places = f"{place} WHERE {' AND '.join(tests)}" + (f" GROUP BY {entity}" if entity else "")
        return f"{rows} AND rowid IN ({places})" + (f" ORDER BY {entity}" if entity else "")
    by = f"PARTITION BY {entity} " if entity else ""
    return (
        f"SELECT * FROM ({latest_known_sql(view, in_order=False)}) WHERE {' AND '.join(tests)} "
        f"QUALIFY row_number() OVER ({by}ORDER BY {event} DESC, {known} DESC) = 1"
    )


def count_rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Return how many rows a table has."""
    found = first_row(connection, f"SELECT count(*) FROM {quote_name(table)}")
    return 0 if found is None else int(str(found[0]))


def _alive(name: str, view: JoinView, moment: str) -> str:
    """Return where the row lies that was found, or nothing where it has outlived its ttl."""
    if view.ttl is None:
        return f"{name}.__place__"
    micros = view.ttl // _MICROSECOND
    alive = f"{name}.{quote_name(view.event_time)} > {moment} - to_microseconds({micros})"
    return f"CASE WHEN {alive} THEN {name}.__place__ END"


def span_sql(relation: str, view: JoinView, since: datetime | None, before: datetime | None) -> str:
    """Return the query for a view's rows whose event time is in ``[since, before)``; None leaves an end open.

    Args:
        relation: SQL that may follow FROM, in DuckDB.
        view: What the relation holds.
        since: The first event time.
        before: The first one that is too late.
    """
    event = quote_name(view.event_time)
    tests = [f"{event} >= TIMESTAMPTZ {quote_text(since.isoformat())}"] if since is not None else []
    tests += [f"{event} < TIMESTAMPTZ {quote_text(before.isoformat())}"] if before is not None else []
    return f"SELECT * FROM {relation}" + (f" WHERE {' AND '.join(tests)}" if tests else "")
