"""The point-in-time join against DuckDB's bare ASOF join on the same tables, in one run.

    python bench/point_in_time.py [examples] [rows] [features]
    python bench/point_in_time.py --large [memory in GB]      # 1M examples x 20M rows, peak memory of the process

Feast's join of the same size is in ``materialize.py``.

Four cases: every row known at its event time; the same with a ttl of seven days; every tenth row known two hours late;
and every row known a minute late. The bare query knows nothing of this: it is the floor. Rounds alternate; medians.

``--large`` computes the view's rows from Parquet files into a session of the engine with a bound on its memory, joins
them and writes the result batch by batch to an Arrow file, in a process of its own, whose peak resident memory is
printed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from loopwright.core.storage.duck import connect
from loopwright.features.join import JoinView, point_in_time

ROUNDS = 7


def timed(connection, sql):
    start = time.perf_counter()
    connection.execute(f"CREATE OR REPLACE TEMP TABLE joined AS {sql()}")
    return time.perf_counter() - start


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
    connection.execute("CREATE TABLE delayed AS SELECT * REPLACE (event_time + to_seconds(60) AS known_at) FROM late")
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
    print(f"{examples:,} examples x {rows:,} rows x {features} features; medians of {ROUNDS} alternating rounds")
    for title, table, ttl in (
        ("known at event time", "prompt", None),
        ("known at event time, ttl 7d", "prompt", timedelta(days=7)),
        ("every tenth row two hours late", "late", None),
        ("every row a minute late", "delayed", None),
    ):
        view = JoinView(table, ("entity",), ("entity",), "event_time", "known_at", names, ttl)

        def join(view=view):
            return point_in_time(connection, "x", [view], time="t", columns=("row", "t"), order="row")

        found = [(timed(connection, lambda: bare), timed(connection, join)) for _ in range(ROUNDS)]
        floor, ours = (statistics.median(seconds) for seconds in zip(*found, strict=True))
        print(f"  {title:32} {ours:.3f} s   bare DuckDB ASOF {floor:.3f} s   ratio {ours / floor:.2f}")


LARGE = """
import resource, sys, time
from pathlib import Path
import pyarrow as pa
from loopwright.core.storage.duck import connect
from loopwright.features.engine import ViewRows
from loopwright.features.engine_duckdb import DuckSession
from loopwright.features.join import JoinView

folder, memory, features = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
desk = connect(memory_limit_bytes=int(memory * 1e9), temp_folder=folder / "tmp")
start = time.perf_counter()
with DuckSession(desk) as session:
    desk.execute(f"CREATE TEMP TABLE v AS SELECT * FROM read_parquet('{folder}/rows.parquet')")
    desk.execute(f"CREATE TEMP TABLE x AS SELECT * FROM read_parquet('{folder}/examples.parquet')")
    names = tuple(f"f{i}" for i in range(features))
    join = JoinView("v", ("entity",), ("entity",), "event_time", "known_at", names, None, sys.argv[4] == "prompt")
    reader = session.join("x", [ViewRows(None, join, ())], time="t", columns=("row", "t"), order="row", batch=65_536)
    rows = found = 0
    with pa.ipc.new_file(str(folder / "joined.arrow"), reader.schema) as file:
        for batch in reader:
            file.write_batch(batch)
            rows += batch.num_rows
            found += batch.num_rows - batch.column("f0").null_count
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"  {sys.argv[4]:8} {rows:,} rows out, {found:,} with values; {time.perf_counter() - start:.0f} s, "
      f"peak {peak:.2f} GB resident, DuckDB bounded to {memory:g} GB")
"""


def large(memory_gb="2.0", examples=1_000_000, rows=20_000_000, features=10):
    """Join more than fits, in a process of its own for each case."""
    with tempfile.TemporaryDirectory() as folder:
        connection = connect(memory_limit_bytes=3_000_000_000, temp_folder=Path(folder) / "make")
        span_s, entities = 90 * 86_400, 200_000
        values = ", ".join(f"random() AS f{i}" for i in range(features))
        event = f"TIMESTAMPTZ '2026-01-01' + to_microseconds(i * {span_s * 1_000_000 // rows})"
        connection.execute(
            f"COPY (SELECT (hash(i) % {entities})::BIGINT AS entity, {event} AS event_time, {event} + "
            f"to_hours(CASE WHEN i % 10 = 0 THEN 2 ELSE 0 END) AS known_at, {values} FROM range({rows}) t(i)) "
            f"TO '{folder}/rows.parquet'"
        )
        connection.execute(
            f"COPY (SELECT i AS row, (hash(i + 3) % {entities})::BIGINT AS entity, TIMESTAMPTZ '2026-01-01' + "
            f"to_microseconds((hash(i + 7) % {span_s * 1_000_000})::BIGINT) AS t FROM range({examples}) r(i)) "
            f"TO '{folder}/examples.parquet'"
        )
        connection.close()
        print(f"{examples:,} examples x {rows:,} rows x {features} features")
        for case in ("prompt", "late"):
            arguments = [sys.executable, "-c", LARGE, folder, memory_gb, str(features), case]
            subprocess.run(arguments, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--large"]:
        large(*sys.argv[2:3])
    else:
        main(*(int(argument) for argument in sys.argv[1:]))
