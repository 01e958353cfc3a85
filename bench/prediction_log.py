"""Time the prediction log: writing in the server, bringing it into the lake, and the reads that have to stay quick.

    python bench/prediction_log.py                         # writing and compaction
    python bench/prediction_log.py --predictions 5000000   # and looks at a release and joins of labels over so many

No peer has the notion; what a record costs is set against the processor time of a whole request, which
``bench/serving.py`` measures (--request-us). Seconds are processor seconds of this process, the least of three rounds.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from loopwright.core.clock import ManualClock
from loopwright.core.ids import Ids
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.lake import Lake
from loopwright.features.field import Field
from loopwright.features.served_struct import served_struct
from loopwright.monitoring.outcome_event import outcome_event
from loopwright.monitoring.outcomes import OutcomeCollector, outcomes_topic
from loopwright.monitoring.served import served_columns
from loopwright.serving.log.compactor import PredictionTable, predictions_table
from loopwright.serving.log.log_ring import LogRoom
from loopwright.serving.log.prediction_columns import records_table
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.prediction_record import PREDICTION_SCHEMA, PredictionRecord, features_json
from loopwright.serving.releases.arms import step_evidence

FEATURES = 20
LARGE = 10_000
PER_COMMIT = 50_000
NAMES = [f"feature_{number}" for number in range(FEATURES)]
FIELDS = tuple(Field(name, "float64") for name in NAMES)


def least(work, rounds=3):
    """Processor seconds of the quickest round."""
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def record(identity, features):
    return PredictionRecord(
        identity, identity, 1_767_225_600_000_000, "m", 3, "champion", None, 1.0, 5, None, features_json(features), 2.5,
        None, [0.25, 0.75], 120, 1, 200, None,
    )  # fmt: skip


def one_by_one(log, ids, together, rows=20_000):
    """Rows per processor second and microseconds per row, ``together`` records in one write."""
    features = dict(zip(NAMES, np.random.default_rng(0).normal(size=FEATURES).tolist(), strict=True))
    names = ids.many(rows)

    def work():
        for start in range(0, rows, together):
            log.accept(together)
            log.write([record(name, features) for name in names[start : start + together]])

    return rows / least(work)


def in_bulk(log, ids, rounds=10):
    columns = dict(zip(NAMES, np.random.default_rng(0).normal(size=(FEATURES, LARGE)), strict=True))
    values = np.random.default_rng(1).normal(size=LARGE)
    names = ids.many(LARGE)

    def work():
        for _ in range(rounds):
            table = records_table(
                prediction_ids=names, request_id=names[0], ts_us=1_767_225_600_000_000, model="m", version=3,
                route="champion", experiment=None, propensity=1.0, unit_hash=5, latency_us=870,
                features=served_struct(columns, FIELDS), values=values,
            )  # fmt: skip
            log.accept(LARGE)
            log.write_table(table)

    return rounds * LARGE / least(work)


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def writing(request_us):
    with tempfile.TemporaryDirectory() as folder:
        stores = open_stores(Settings.load(Path(folder), environ={}))
        room = LogRoom(1 << 40, 1 << 40)
        log = PredictionLog(stores.local, "m", clock=stores.clock, ids=stores.ids, room=room)
        for together in (1, 8, 32):
            speed = one_by_one(log, stores.ids, together)
            cost = 1e6 / speed
            print(
                f"records, {together:2} in a write: {cost:5.2f} us a row ({speed:,.0f} rows/s), "
                f"{cost / request_us:.1%} of a request"
            )
        print(f"columns, {LARGE:,} rows in a write: {in_bulk(log, stores.ids):,.0f} rows/s")
        log.close()
        before, counts = peak_mb(), log.counts()
        assert counts.accepted == counts.durable + sum(counts.dropped.values())
        began, cpu = time.perf_counter(), time.process_time()
        report = PredictionTable(stores, "m").compact()
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"into the lake: {report.rows:,} rows, {report.rows / cpu:,.0f} rows per CPU second, {wall:.1f} s wall, "
            f"peak {peak_mb()} MB ({before} MB before)"
        )
        texts = stores.tables.read(predictions_table("m"), columns=["features"])["features"].slice(0, 100_000)
        print(
            f"features read back: {len(texts) / least(lambda: served_columns(texts, FIELDS)):,.0f} rows per CPU second"
        )
        stores.close()


def predictions(clock, ids, number, rows, seed):
    """Rows of both arms of a canary, one request each, 10 ms apart."""
    drawn = np.random.default_rng(seed)
    begins = int(clock.now().timestamp() * 1e6)
    clock.advance(timedelta(milliseconds=10 * rows))
    challenger = drawn.random(rows) < 0.25
    fixed = {"model": "m", "experiment": "release/canary-0", "status": 200, "features": '{"x":1.5}', "propensity": 0.5}
    names = ids.many(rows)
    values = {
        "prediction_id": names,
        "request_id": names,
        "at": pa.array(begins + 10_000 * np.arange(rows), pa.timestamp("us", tz="UTC")),
        "version": np.where(challenger, 2, 1),
        "route": np.where(challenger, "canary", "champion"),
        "unit_hash": drawn.integers(0, 2**62, rows),
        "key": [f"key-{number + place}" for place in range(rows)],
        "output_number": drawn.normal(size=rows),
        "latency_us": drawn.integers(300, 30_000, rows),
        "batch_rows": np.ones(rows, dtype=np.int64),
    }
    arrays = [
        pa.repeat(pa.scalar(fixed[one.name], one.type), rows)
        if one.name in fixed
        else pa.array(values[one.name], one.type)
        if one.name in values
        else pa.nulls(rows, one.type)
        for one in PREDICTION_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=PREDICTION_SCHEMA)


def bounded_reads(count):
    with tempfile.TemporaryDirectory() as folder:
        stores = open_stores(Settings.load(Path(folder), environ={}))
        start = stores.clock.now() - timedelta(days=7)
        clock = ManualClock(start)
        ids = Ids(clock)
        table = predictions_table("m")
        release = SimpleNamespace(
            stage="canary", experiment="release/canary-0", share=0.25, model="m", step_started_at=start,
            min_step_time_s=lambda: 0.0,
        )  # fmt: skip
        for number in range(0, count, PER_COMMIT):
            stores.tables.append(table, predictions(clock, ids, number, PER_COMMIT, number))
            stores.tables.tidy(table)

        def look():
            return step_evidence(release, PredictionTable(stores, "m"), now=clock.now())

        def timed(title, work):
            wall, cpu = time.perf_counter(), time.process_time()
            found = work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(
                f"{title}: {cpu * 1e3:,.0f} ms processor time, {wall * 1e3:,.0f} ms wall, peak {peak_mb()} MB",
                flush=True,
            )
            return found

        timed(f"first look at a release's step of {count:,} predictions", look)
        for number in range(3):
            stores.tables.append(table, predictions(clock, ids, count + 1000 * number, 1_000, count + number))
            evidence = timed("look after 1,000 more", look)
        assert evidence.champion.requests + evidence.challenger.requests == count + 3_000
        collector = OutcomeCollector(stores, Lake(stores))
        watched = SimpleNamespace(model="m", label=None)
        collector.collect(watched)
        known = stores.tables.read(table, columns=["prediction_id"])["prediction_id"]
        drawn = np.random.default_rng(3)
        for title, places in (
            ("10,000 labels of the newest predictions", np.arange(len(known) - 10_000, len(known))),
            ("10,000 labels of a tenth of them", drawn.choice(count // 10, 10_000, replace=False)),
            ("10,000 labels of any of them", drawn.choice(count, 10_000, replace=False)),
        ):
            events = [outcome_event(name, 1.5, None) for name in known.take(pa.array(places)).to_pylist()]
            stores.events.append(outcomes_topic("m"), events)
            timed(f"join of {title}", lambda: collector.collect(watched))
        stores.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--request-us", type=float, default=75.0, help="processor time of a request, microseconds")
    parser.add_argument("--predictions", type=int, default=0, help="so many for the reads that have to stay quick")
    given = parser.parse_args()
    writing(given.request_us)
    if given.predictions:
        bounded_reads(given.predictions)


if __name__ == "__main__":
    main()
