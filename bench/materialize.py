"""Filling the online store, and the point-in-time join, against Feast on its DuckDB and SQLite stores, in one run.

    python bench/materialize.py                    # ours, and Feast's where its environment is there
    python bench/materialize.py --install-peers    # makes bench/.envs/feast first
    python bench/materialize.py --rows 1000000 --entities 50000 --examples 100000 --features 10

The same Parquet file feeds both. Ours goes the whole way: the rows are a snapshot in the lake, the view is an Ibis
function, and values are written to the SQLite online store; a second filling after 1,000 new rows shows what is
computed then. Feast reads the file as a FileSource and materialises into its SQLite store; its historical retrieval is
asked for the same examples as our join, which computes the view from the lake first. Values are compared row by row.
Wall and processor time of each process, all threads included, are printed; on a busy machine the second is the one to
compare.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.settings import Settings
from loopwright.core.storage.duck import connect
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.engine import Inputs
from loopwright.features.engines import open_engine
from loopwright.features.store import FeatureStore
from loopwright.features.view import feature_view

PEER = Path(__file__).resolve().parent / ".envs" / "feast"
START = datetime(2026, 1, 1, tzinfo=UTC)

PEER_SCRIPT = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
from datetime import datetime, timedelta, timezone
from pathlib import Path
import pandas as pd
import feast
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
from feast.repo_config import RepoConfig

folder, features = Path(sys.argv[1]), int(sys.argv[2])
config = RepoConfig(project="bench", provider="local", registry=str(folder / "registry.db"),
                    online_store={"type": "sqlite", "path": str(folder / "online.db")},
                    offline_store={"type": "duckdb"}, entity_key_serialization_version=3)
store = FeatureStore(config=config)
entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
source = FileSource(path=str(folder / "rows.parquet"), timestamp_field="at")
view = FeatureView(name="values", entities=[entity], ttl=timedelta(days=3650), source=source,
                   schema=[Field(name=f"f{i}", dtype=Float64) for i in range(features)])
store.apply([entity, view])
examples = pd.read_parquet(folder / "examples.parquet").rename(columns={"t": "event_timestamp"})
wall, cpu = time.perf_counter(), time.process_time()
found = store.get_historical_features(entity_df=examples, features=[f"values:f{i}" for i in range(features)]).to_df()
joined = time.perf_counter() - wall, time.process_time() - cpu
found[["row", "f0"]].to_parquet(folder / "feast.parquet")
wall, cpu = time.perf_counter(), time.process_time()
store.materialize(datetime(2025, 12, 1, tzinfo=timezone.utc), datetime(2027, 1, 1, tzinfo=timezone.utc))
filled = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"version": feast.__version__, "joined": joined, "filled": filled, "rows": len(found)}))
"""


def timed(action):
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    return result, (time.perf_counter() - wall, time.process_time() - cpu)


def make(folder, rows, entities, examples, features):
    rng = np.random.default_rng(0)
    span_us = 90 * 86_400 * 1_000_000
    at = np.sort(rng.choice(span_us // 1000, rows, replace=False)).astype("int64") * 1000
    start = int(START.timestamp()) * 1_000_000
    moment = pa.timestamp("us", tz="UTC")
    table = {"id": np.arange(rows), "entity": rng.integers(0, entities, rows), "at": pa.array(at + start, moment)}
    table |= {f"f{i}": rng.random(rows) for i in range(features)}
    pq.write_table(pa.table(table), folder / "rows.parquet")
    asked = {"row": np.arange(examples), "entity": rng.integers(0, entities, examples)}
    asked["t"] = pa.array(rng.integers(0, span_us, examples) + start, moment)
    pq.write_table(pa.table(asked), folder / "examples.parquet")


def ours(folder, features):
    stores = open_stores(Settings.load(folder / "ours", {}))
    lake = Lake(stores)
    names = [f"f{i}" for i in range(features)]
    contract = [column("id", "int"), column("entity", "int"), column("at", "timestamp")]
    source = Dataset(
        "rows", push(), event_time="at", key="id", contract=[*contract, *(column(n, "float") for n in names)]
    )
    table = pq.read_table(folder / "rows.parquet")
    snapshot = lake.push(source, table).snapshot
    view = feature_view(lambda rows: rows.select("entity", "at", *names), source, entity="entity", name="values")
    store = FeatureStore(stores, lake)

    def join():
        with open_engine(stores.settings).open(Inputs(stores, lake, {"rows": snapshot})) as session:
            session.desk.execute(f"CREATE TEMP TABLE x AS SELECT * FROM read_parquet('{folder}/examples.parquet')")
            computed = [session.compute(view)]
            return session.join("x", computed, time="t", columns=("row", "t"), order="row", batch=65_536).read_all()

    joined, join_times = timed(join)
    until = START + timedelta(days=100)
    report, fill_times = timed(lambda: store.materialize(view, {"rows": snapshot}, until=until))
    new = table.slice(0, 1000).set_column(0, "id", pa.array(range(table.num_rows, table.num_rows + 1000)))
    later = pa.array([START + timedelta(days=95, seconds=i) for i in range(1000)], pa.timestamp("us", tz="UTC"))
    grown = lake.push(source, new.set_column(new.column_names.index("at"), "at", later)).snapshot
    again, again_times = timed(lambda: store.materialize(view, {"rows": grown}, until=until))
    stores.close()
    return joined, join_times, (report, fill_times), (again, again_times)


def shown(title, times, extra=""):
    print(f"  {title:44} {times[0]:7.2f} s wall {times[1]:7.2f} s cpu  {extra}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rows", 1_000_000), ("entities", 50_000), ("examples", 100_000), ("features", 10)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--install-peers", action="store_true", help="make bench/.envs/feast first")
    given = parser.parse_args()
    if given.install_peers:
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
        subprocess.run([PEER / "bin" / "pip", "install", "-q", "feast[duckdb]"], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ours").mkdir()
        make(folder, given.rows, given.entities, given.examples, given.features)
        print(
            f"{given.rows:,} rows, {given.entities:,} entities, {given.examples:,} examples, {given.features} features"
        )
        joined, join_times, (first, fill_times), (again, again_times) = ours(folder, given.features)
        shown("ours: view computed and joined", join_times)
        shown("ours: online store filled", fill_times, f"{first.rows_written:,} entities")
        shown("ours: filled after 1,000 new rows", again_times, f"{again.rows_computed:,} rows computed ({again.how})")
        if not (PEER / "bin" / "python").exists():
            print("  Feast is not installed: python bench/materialize.py --install-peers")
            return
        done = subprocess.run(
            [PEER / "bin" / "python", "-c", PEER_SCRIPT, folder, str(given.features)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            print(done.stderr[-1500:])
            return
        peer = json.loads(done.stdout.strip().splitlines()[-1])
        shown(f"Feast {peer['version']}: historical features, DuckDB", peer["joined"], f"{peer['rows']:,} rows out")
        shown(f"Feast {peer['version']}: materialize, SQLite", peer["filled"])
        for title, mine, theirs in (("join", join_times, peer["joined"]), ("filling", fill_times, peer["filled"])):
            print(f"  {title}: {theirs[0] / mine[0]:.1f} x wall, {theirs[1] / mine[1]:.1f} x cpu")
        with connect() as desk:
            desk.register("ours", joined)
            sql = (
                "SELECT count(*), count(*) FILTER (abs(o.f0 - p.f0) < 1e-12 OR (o.f0 IS NULL AND p.f0 IS NULL)) FROM "
                f"ours o JOIN read_parquet('{folder}/feast.parquet') p USING (row)"
            )
            both, same = desk.sql(sql).fetchall()[0]
            print(f"  of {joined.num_rows:,} examples Feast answered {both:,}; {same:,} with the same value")


if __name__ == "__main__":
    main()
