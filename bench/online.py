"""Online reads and the filling of the online store, against Feast's SQLite store, in one run.

    python bench/online.py [entities] [features] [rounds]

The same values lie in both stores: ours in SQLite (and in Redis where ``redis-server`` is installed), Feast's in its
SQLite online store in an environment of its own (``python bench/materialize.py --install-peers`` makes it). Each is
asked the way its users ask, ``get_online`` and ``get_online_features(...).to_dict()``, for 1 and for 100 entities
chosen at random, in alternating rounds. Medians of processor time and of wall time per call; on a busy machine the
first is the one to compare.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.online import OnlineRow, entity_key, to_micros
from loopwright.features.online_redis import RedisOnlineStore
from loopwright.features.online_sqlite import SqliteOnlineStore
from loopwright.features.store import FeatureStore
from loopwright.features.view import feature_view

PEER = Path(__file__).resolve().parent / ".envs" / "feast"
CALLS = {1: 200, 100: 20}

PEER_SCRIPT = """
import json, random, sys, time, warnings
warnings.filterwarnings("ignore")
from datetime import datetime, timedelta, timezone
from pathlib import Path
import numpy as np, pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
from feast.repo_config import RepoConfig

folder, entities, features = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
now = datetime.now(timezone.utc)
rng = np.random.default_rng(0)
frame = pd.DataFrame({"entity": range(entities), "at": now, **{f"f{i}": rng.random(entities) for i in range(features)}})
frame.to_parquet(folder / "rows.parquet")
config = RepoConfig(project="bench", provider="local", registry=str(folder / "registry.db"),
                    online_store={"type": "sqlite", "path": str(folder / "feast.db")},
                    offline_store={"type": "duckdb"}, entity_key_serialization_version=3)
store = FeatureStore(config=config)
entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
view = FeatureView(name="values", entities=[entity], ttl=timedelta(days=3650),
                   source=FileSource(path=str(folder / "rows.parquet"), timestamp_field="at"),
                   schema=[Field(name=f"f{i}", dtype=Float64) for i in range(features)])
store.apply([entity, view])
store.write_to_online_store("values", frame)
names = [f"values:f{i}" for i in range(features)]
print("ready", flush=True)
for line in sys.stdin:
    many, calls = map(int, line.split())
    asked = [[{"entity": random.randrange(entities)} for _ in range(many)] for _ in range(calls)]
    cpu, wall = [], []
    for rows in asked:
        c, w = time.process_time(), time.perf_counter()
        answer = store.get_online_features(features=names, entity_rows=rows).to_dict()
        cpu.append(time.process_time() - c); wall.append(time.perf_counter() - w)
    assert answer["f0"][0] is not None
    print(json.dumps([sorted(cpu)[len(cpu) // 2], sorted(wall)[len(wall) // 2]]), flush=True)
"""


def ask(store, view, entities, many, calls, rng):
    asked = [[{"entity": int(one)} for one in rng.integers(0, entities, many)] for _ in range(calls)]
    cpu, wall = [], []
    for rows in asked:
        c, w = time.process_time(), time.perf_counter()
        answer = store.get_online(view, rows)
        cpu.append(time.process_time() - c)
        wall.append(time.perf_counter() - w)
        assert answer[0] is not None
    return statistics.median(cpu), statistics.median(wall)


def redis_server(folder):
    """Start a Redis server on the loopback address; None where it is not installed."""
    command = shutil.which("redis-server")
    if command is None:
        return None, None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    next(line for line in process.stdout if "Ready to accept connections" in line)
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return process, RedisOnlineStore(f"redis://127.0.0.1:{port}/0")


def main(entities=50_000, features=10, rounds=7):
    rng = np.random.default_rng(0)
    source = Dataset("rows", push(), event_time="at")
    view = feature_view(lambda rows: rows, source, entity="entity", name="values", ttl="3650d")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        now = datetime.now(UTC)
        values = rng.random((entities, features)).tolist()
        rows = [
            OnlineRow(entity_key([i]), to_micros(now), to_micros(now), {f"f{j}": value for j, value in enumerate(one)})
            for i, one in enumerate(values)
        ]
        stores = open_stores(Settings.load(folder, {}))
        process, redis = redis_server(folder)
        kept = {"SQLite": SqliteOnlineStore(folder / "online.db")} | ({} if redis is None else {"Redis": redis})
        for store in kept.values():
            for start in range(0, entities, 20_000):
                store.write_many(view.ref.id, rows[start : start + 20_000])
        ours = {title: FeatureStore(stores, Lake(stores), store) for title, store in kept.items()}
        peer = None
        if (PEER / "bin" / "python").exists():
            command = [PEER / "bin" / "python", "-c", PEER_SCRIPT, folder, str(entities), str(features)]
            peer = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            next(line for line in peer.stdout if line.strip() == "ready")
        else:
            print("Feast is not installed: python bench/materialize.py --install-peers")
        print(f"{entities:,} entities x {features} features; medians of {rounds} rounds, microseconds per call")
        for many, calls in CALLS.items():
            times = {title: [] for title in (*ours, "Feast")}
            for _ in range(rounds):
                for title, store in ours.items():
                    times[title].append(ask(store, view, entities, many, calls, rng))
                if peer is not None:
                    peer.stdin.write(f"{many} {calls}\n")
                    peer.stdin.flush()
                    times["Feast"].append(tuple(json.loads(peer.stdout.readline())))
            middle = {
                title: [statistics.median(column) for column in zip(*found, strict=True)]
                for title, found in times.items()
                if found
            }
            for title, (cpu, wall) in middle.items():
                text = f"  {many:4} entities  {title:8} {cpu * 1e6:10.0f} cpu {wall * 1e6:10.0f} wall"
                if "Feast" in middle and title != "Feast":
                    theirs = middle["Feast"]
                    text += f"   {theirs[0] / cpu:6.1f} x cpu {theirs[1] / wall:6.1f} x wall"
                print(text)
        if peer is not None:
            peer.stdin.close()
            peer.wait()
        for store in kept.values():
            store.close()
        if process is not None:
            process.terminate()
            process.wait()
        stores.close()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
