"""A view and its point-in-time join on Spark beside DuckDB, on the same rows, in one run; the results are compared.

    python bench/spark.py [examples] [rows] [features] [master]

Spark's start is left out and printed by itself. Both are given two threads and 2 GB.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.engine import Inputs
from loopwright.features.engine_duckdb import DuckEngine
from loopwright.features.engine_spark import SparkEngine
from loopwright.features.view import feature_view

MOMENT = pa.timestamp("us", tz="UTC")


def main(examples=100_000, rows=1_000_000, features=10, master="local[2]"):
    rng = np.random.default_rng(0)
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    span_us, entities = 90 * 86_400 * 1_000_000, 10_000
    times = start + np.arange(rows) * (span_us // rows)
    table = {"entity": rng.integers(entities, size=rows), "event": pa.array(times).cast(MOMENT)}
    table |= {f"f{place}": rng.random(rows) for place in range(features)}
    asked = pa.table(
        {
            "row": np.arange(examples),
            "entity": rng.integers(entities, size=examples),
            "t": pa.array(start + rng.integers(span_us, size=examples)).cast(MOMENT),
        }
    )
    dataset = Dataset(
        "rows", push(), event_time="event", contract=[column("entity", "int"), column("event", "timestamp")]
    )
    names = [f"f{place}" for place in range(features)]
    view = feature_view(
        lambda t: t.select("entity", "event", *names), dataset, entity="entity", name="plain", ttl="30d"
    )
    with tempfile.TemporaryDirectory() as folder:
        stores = open_stores(Settings.load(Path(folder), environ={}))
        lake = Lake(stores)
        inputs = Inputs(stores, lake, {"rows": lake.push(dataset, pa.table(table)).snapshot})
        engines = (DuckEngine(memory_bytes=2 * 10**9), SparkEngine(f"spark://{master}", memory_bytes=2 * 10**9))
        begun = time.perf_counter()
        engines[1].open(inputs).close()
        print(f"{examples:,} examples x {rows:,} rows x {features} features; Spark starts in "
              f"{time.perf_counter() - begun:.1f} s")  # fmt: skip
        found = {}
        for engine in engines:
            for turn in ("first", "second"):
                with engine.open(inputs) as session:
                    session.desk.register("given", asked)
                    session.desk.execute("CREATE TEMP TABLE x AS SELECT * FROM given")
                    begun = time.perf_counter()
                    computed = session.compute(view)
                    between = time.perf_counter()
                    reader = session.join("x", [computed], time="t", columns=("row",), order="row", batch=65_536)
                    found[engine.name] = reader.read_all()
                    ended = time.perf_counter()
                print(f"  {engine.name:7} {turn:6} view {between - begun:6.2f} s   join {ended - between:6.2f} s")
        same = all(
            np.array_equal(found["duckdb"][name].to_numpy(), found["spark"][name].to_numpy(), equal_nan=True)
            for name in names
        )
        print(f"  equal: {same}; examples with a value: {found['spark'].num_rows - found['spark']['f0'].null_count:,}")
        stores.close()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]), *sys.argv[4:5])
