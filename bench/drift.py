"""Time a drift check: counting a window on frozen bins and judging it, against Evidently's default drift report.

    python bench/drift.py                    # ours, and Evidently's where its environment is there
    python bench/drift.py --install-peers    # makes bench/.envs/evidently first

Three timings of ours over the same numbers: columns in memory (what Evidently gets too), the columns of a Parquet
file, and the JSON features of the prediction log through the monitor's own stage, facts and all. Evidently takes
minutes for a million rows, so the ratio is made at a smaller size, both sides in the same run and at the same size
(--peer-rows). Wall time and CPU time of the process are both printed: on a busy machine the second is the one to
compare.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from loopwright.core.settings import Settings
from loopwright.core.statistics.drift import two_stage
from loopwright.core.storage.stores import open_stores
from loopwright.evaluation.loss import reference_loss, row_losses
from loopwright.evaluation.outputs import Outputs
from loopwright.features.field import Field
from loopwright.monitoring.drift import DriftWatch
from loopwright.monitoring.incident import Incidents
from loopwright.monitoring.reference import count_cells, freeze, independent_share, series_of
from loopwright.monitoring.signal import Signals
from loopwright.monitoring.watch import monitoring
from loopwright.monitoring.watched import WatchedModel
from loopwright.serving.log.prediction_record import PREDICTION_SCHEMA

HERE = Path(__file__).resolve().parent
PEER = HERE / ".envs" / "evidently"
REFERENCE_ROWS = 10_000
LOG_ROWS_AT_ONCE = 50_000

PEER_SCRIPT = """
import sys, time, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
import importlib.metadata
reference, window = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
Report([DataDriftPreset()]).run(window.head(1000), reference.head(1000)).dict()
started, cpu = time.perf_counter(), time.process_time()
Report([DataDriftPreset()]).run(window, reference).dict()
print(time.perf_counter() - started, time.process_time() - cpu, importlib.metadata.version("evidently"))
"""


def table(rows, features, seed):
    rng = np.random.default_rng(seed)
    return pa.table({f"f{i}": rng.normal(size=rows) for i in range(features)})


def profile_of(reference, features):
    fields = tuple(Field(f"f{i}", "float64") for i in range(features))
    rng = np.random.default_rng(9)
    answers = Outputs("regression", rng.normal(size=2000))
    labels = (answers.values + rng.random(2000)).tolist()
    loss = reference_loss("regression", row_losses("regression", answers.values, labels))
    return freeze(
        model="bench",
        version="bench/1",
        table=reference,
        fields=fields,
        outputs=answers,
        labels=labels,
        loss=loss,
    )


def check(profile, columns):
    counts = [count_cells(one.bins, columns.column(one.name).combine_chunks()) for one in profile.features]
    shares = [
        independent_share(series_of(one.bins, columns.column(one.name)[:2048].combine_chunks()))
        for one in profile.features
    ]
    return two_stage(
        [one.effective_counts for one in profile.features],
        [cells * share for cells, share in zip(counts, shares, strict=True)],
    )


def timed(run, repeats=3):
    """Wall and CPU seconds, the best of some runs."""
    seconds = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    return tuple(map(min, zip(*seconds, strict=True)))


def report(title, rows, features, seconds):
    wall, cpu = seconds
    print(
        f"{title:20} {rows:>9,} rows x {features}: {wall:6.2f} s wall, {cpu:6.2f} s CPU, {rows / wall:,.0f} rows/s",
        end="",
    )
    print(f" ({rows / cpu:,.0f} per CPU second)", flush=True)


def log_of(columns, start):
    """Lay the rows out as the prediction log's columns."""
    rows = columns.num_rows
    names = [json.dumps(name) for name in columns.column_names]
    values = zip(*(column.to_pylist() for column in columns.columns), strict=True)
    texts = [
        "{" + ",".join(f"{name}:{value!r}" for name, value in zip(names, row, strict=True)) + "}" for row in values
    ]
    made = {
        "prediction_id": [f"{start + i:032d}" for i in range(rows)],
        "at": pa.array(np.arange(start, start + rows) + 1_767_225_600_000_000, pa.timestamp("us", tz="UTC")),
        "version": np.ones(rows, dtype=np.int64),
        "route": ["champion"] * rows,
        "features": texts,
        "output_number": np.zeros(rows),
        "status": np.full(rows, 200),
    }
    arrays = [
        pa.array(made[field.name], field.type) if field.name in made else pa.nulls(rows, field.type)
        for field in PREDICTION_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=PREDICTION_SCHEMA)


def through_the_room(profile, columns):
    """Seconds of the monitor's drift stage over rows in the lake, one window."""
    with tempfile.TemporaryDirectory() as folder:
        stores = open_stores(Settings.load(Path(folder), environ={}))
        for start in range(0, columns.num_rows, LOG_ROWS_AT_ONCE):
            part = columns.slice(start, LOG_ROWS_AT_ONCE)
            stores.tables.append("predictions/bench", log_of(part, start))
        watched = WatchedModel("bench", monitoring(drift=columns.num_rows), profile.version, {profile.version: profile})
        stage = DriftWatch(stores, Signals(stores), Incidents(stores))
        seconds = timed(lambda: stage.look(watched), 1)
        stores.close()
    return seconds


def peer(reference, window, folder):
    paths = [folder / "reference.parquet", folder / "window.parquet"]
    for path, rows in zip(paths, (reference, window), strict=True):
        pyarrow.parquet.write_table(rows, path)
    command = [PEER / "bin" / "python", "-c", PEER_SCRIPT, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, cpu, version = done.stdout.split()[-3:]
    return (float(wall), float(cpu)), version


def install():
    subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
    subprocess.run([PEER / "bin" / "pip", "install", "-q", "evidently", "pandas<3", "pyarrow"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--log-rows", type=int, default=200_000)
    parser.add_argument("--peer-rows", type=int, default=50_000)
    parser.add_argument("--install-peers", action="store_true", help="make bench/.envs/evidently first")
    given = parser.parse_args()
    if given.install_peers:
        install()
    reference = table(REFERENCE_ROWS, given.features, 0)
    profile = profile_of(reference, given.features)
    window = table(given.rows, given.features, 1)
    features = given.features
    report("columns in memory", given.rows, features, timed(lambda: check(profile, window)))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "rows.parquet"
        pyarrow.parquet.write_table(window, path)
        report("Parquet file", given.rows, features, timed(lambda: check(profile, pyarrow.parquet.read_table(path)), 1))
        seconds = through_the_room(profile, window.slice(0, given.log_rows))
        report("prediction log", given.log_rows, features, seconds)
        if not PEER.is_dir():
            print("Evidently is not compared: run with --install-peers once.")
            return
        small = window.slice(0, given.peer_rows)
        ours = timed(lambda: check(profile, small))
        theirs, version = peer(reference, small, folder)
        report("ours, peer's size", given.peer_rows, features, ours)
        report(f"Evidently {version}", given.peer_rows, features, theirs)
        print(f"ratio: {theirs[0] / ours[0]:.0f}x wall, {theirs[1] / ours[1]:.0f}x CPU")


if __name__ == "__main__":
    main()
