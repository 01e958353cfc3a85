"""The point-in-time join against DuckDB's bare ASOF join on the same tables, in one run.

    python bench/point_in_time.py [examples] [rows] [features]

Three cases: every row known at its event time; the same with a ttl of seven days; and with every tenth row known two
hours late. The bare query knows neither: it is the floor.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import timedelta

from loopwright.core.storage.duck import connect
from loopwright.features.join import JoinView, point_in_time


def timed(connection, sql, repeats=3):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        connection.execute(f"CREATE OR REPLACE TEMP TABLE joined AS {sql() if callable(sql) else sql}")
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main(examples=100_000, rows=1_000_000, features=10):
    connection = connect()
    span_s, entities = 90 * 86_400, 10_000
    values = ", ".join(f"random() AS f{i}" for i in range(features))
    connection.execute(
        f"CREATE TABLE late AS SELECT (i % {entities})::BIGINT AS entity, "
        f"TIMESTAMPTZ '2026-01-01' + to_microseconds(i * {span_s * 1_000_000 // rows} + (hash(i) % 1000)::BIGINT) "
        f"AS event_time, "
        f"event_time + to_hours(CASE WHEN i % 10 = 0 THEN 2 ELSE 0 END) AS known_at, {values} FROM range({rows}) t(i)"
    )
    connection.execute("CREATE TABLE prompt AS SELECT * REPLACE (event_time AS known_at) FROM late")
    connection.execute(
        f"CREATE TABLE x AS SELECT i AS row, (hash(i) % {entities})::BIGINT AS entity, "
        f"TIMESTAMPTZ '2026-01-01' + to_microseconds((hash(i + 7) % {span_s * 1_000_000})::BIGINT) AS t FROM "
        f"range({examples}) r(i)"
    )
    names = tuple(f"f{i}" for i in range(features))
    chosen = ", ".join(f"v.{name}" for name in names)
    bare = (
        f"SELECT x.row, x.t, {chosen} FROM x ASOF LEFT JOIN prompt v "
        "ON x.entity = v.entity AND x.t >= v.event_time ORDER BY x.row"
    )
    floor = timed(connection, bare)
    print(f"{examples:,} examples x {rows:,} rows x {features} features; bare DuckDB ASOF: {floor:.3f} s")
    for title, table, ttl in (
        ("known at event time", "prompt", None),
        ("known at event time, ttl 7d", "prompt", timedelta(days=7)),
        ("every tenth row two hours late", "late", None),
    ):
        view = JoinView(table, ("entity",), ("entity",), "event_time", "known_at", names, ttl)
        ours = timed(
            connection,
            lambda view=view: point_in_time(connection, "x", [view], time="t", columns=("row", "t"), order="row"),
        )
        print(f"  {title:32} {ours:.3f} s   ratio {ours / floor:.2f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
