# ruff: noqa: PLC0415, S311 - each role imports what it needs; chance that repeats
"""Events in, predictions out: throughput, processor time per event, delay from event to answer, and SIGKILLs.

    python bench/streaming.py                    # 100,000 events on SQLite, 10,000 on Kafka (librdkafka's mock cluster)
    python bench/streaming.py --kills 8          # and 100,000 through so many SIGKILLs, each answered exactly once
    python bench/streaming.py --events 20000

A compiled histogram gradient boosting regressor on 10 features. Ours writes, for each event, the answer, the prediction
record with its features, and the place, in one transaction. The bare loop reads the same events in the same pieces,
decodes them with ``json.loads``, runs the same graph, appends bare answers to the same log, and then commits its
offset: a kill between the two repeats answers, and nothing else is kept. ``cpu`` is the process's own time, which
other work on the machine disturbs least. Nothing waits for the disk's cache (``synchronous=NORMAL`` on both sides).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving import NAMES, prepare

TOPIC, PIECE = "orders", 1_000


def open_stores(folder: Path, url: str):
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores as opened

    return opened(Settings.load(folder, environ={"LOOPWRIGHT_STREAM_URL": url} if url else {}))


def plan():
    from loopwright.serving.stream.declaration import stream
    from loopwright.serving.stream.worker import StreamPlan

    return StreamPlan("eta", stream(TOPIC), poll_s=0.05)


def fill(folder: Path, url: str, count: int) -> None:
    from loopwright.core.storage.events import Event

    chance = random.Random(0)
    log = open_stores(folder, url).events
    for first in range(0, count, 5_000):
        log.append(
            TOPIC,
            [
                Event(f"k{number % 100}", json.dumps({name: round(chance.gauss(0, 1), 4) for name in NAMES}).encode())
                for number in range(first, min(first + 5_000, count))
            ],
        )


def drain_ours(folder: Path, url: str, count: int) -> dict[str, float]:
    """Answer all there is with the door, in this process."""
    from threadpoolctl import threadpool_limits

    from loopwright.core.storage.exchanges import open_exchange
    from loopwright.serving.calls.endpoint import Active
    from loopwright.serving.models.loading import prepare as prepared
    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.releases.router import Routing
    from loopwright.serving.stream.answering import EventAnswers
    from loopwright.serving.stream.door import Desk, StreamDoor
    from loopwright.serving.stream.rows import JsonRows
    from loopwright.serving.stream.tally import StreamTally
    from loopwright.serving.stream.worker import exchange_plan

    stores = open_stores(folder, url)
    exchange = open_exchange(stores.settings.stream_url, exchange_plan(plan()), clock=stores.clock)
    slot = prepared(RegistrySource(stores).load("eta/1"), online=None, clock=stores.clock)
    threadpool_limits(limits=1)
    answers = EventAnswers("eta", TOPIC, JsonRows(), clock=stores.clock)
    tally = StreamTally("eta", TOPIC, clock=stores.clock)
    door = StreamDoor(exchange, answers, Desk(Active(Routing(1), slot)), tally=tally, pause=lambda _: False)
    return measured(lambda: door.step(1.0), count)


def drain_bare(folder: Path, url: str, count: int) -> dict[str, float]:
    """Read, compute, append, commit: what a loop around the model needs at least."""
    import numpy as np
    import onnxruntime

    from loopwright.core.storage.events import Event

    log = open_stores(folder, url).events
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    name, dtype = session.get_inputs()[0].name, session.get_inputs()[0].type
    kind = np.float64 if "double" in dtype else np.float32

    def step() -> int:
        events = log.read(TOPIC, after=log.committed(TOPIC, "bare"), limit=PIECE)
        rows = [json.loads(event.value) for event in events]
        matrix = np.array([[row[column] for column in NAMES] for row in rows], dtype=kind)
        values = session.run(None, {name: matrix})[0].ravel().tolist()
        log.append(
            "bare",
            [Event(event.key, json.dumps({"p": value}).encode()) for event, value in zip(events, values, strict=True)],
        )
        log.commit(TOPIC, "bare", events[-1].offset)
        return len(events)

    return measured(step, count)


def measured(step, count: int) -> dict[str, float]:
    done = step()  # what is done once is not counted
    first, wall, cpu = done, time.perf_counter(), time.process_time()
    while done < count:
        done += step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rows = max(1, count - first)
    return {"events/s": rows / wall, "cpu µs/event": cpu / rows * 1e6}


def run_worker(folder: Path, url: str) -> None:
    """The stream's own process, as ``up`` runs it."""
    import structlog

    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.stream.worker import StreamWorker

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    stores = open_stores(folder, url)
    StreamWorker(stores, RegistrySource(stores), plan()).run()


def delays(folder: Path, url: str, events: int) -> list[float]:
    """Milliseconds from the return of an append to the answer being readable, one event at a time."""
    from loopwright.core.storage.events import Event

    log = open_stores(folder, url).events
    value = json.dumps(dict.fromkeys(NAMES, 0.5)).encode()
    log.append(TOPIC, [Event("k", value)])
    worker = child("worker", folder, url)
    try:
        wait_until(lambda: log.end(f"{TOPIC}.predictions") > 0, 0.05)
        chance, found = random.Random(1), []
        after = log.end(f"{TOPIC}.predictions")
        reader = kafka_reader(url) if url else None
        for _ in range(events):
            time.sleep(chance.uniform(0.02, 0.06))
            log.append(TOPIC, [Event("k", value)])
            began = time.perf_counter()
            if reader is not None:
                while reader.poll(5.0) is None:
                    pass
            else:
                after += 1
                wait_until(lambda end=after: log.end(f"{TOPIC}.predictions") >= end, 0.0005)
            found.append((time.perf_counter() - began) * 1000)
        return found
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)


def kafka_reader(url: str):
    """A consumer that waits behind the newest answer, as readers of answers do."""
    from confluent_kafka import Consumer, TopicPartition

    servers, _, prefix = url.removeprefix("kafka://").partition("/")
    reader = Consumer({"bootstrap.servers": servers, "group.id": "reader", "fetch.wait.max.ms": 20, "log_level": 2})
    name = f"{prefix}.{TOPIC}.predictions"
    partitions = reader.list_topics(name, timeout=10).topics[name].partitions
    places = [TopicPartition(name, number) for number in partitions]
    reader.assign(
        [TopicPartition(name, one.partition, reader.get_watermark_offsets(one, timeout=10)[1]) for one in places]
    )
    return reader


def wait_until(condition, pause_s: float) -> None:
    while not condition():
        time.sleep(pause_s)


def child(role: str, folder: Path, url: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).resolve()), "--role", role, "--folder", str(folder), "--url", url]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True, env=environ)


def told(process: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a role failed: {process.args}")
    return json.loads(out.strip().splitlines()[-1])


def new_folder(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    prepare(folder)
    return folder


def killed(root: Path, count: int, kills: int) -> None:
    """Answer through SIGKILLs at random moments of the real process; count what came out."""
    from loopwright.serving.log.compactor import PredictionTable

    folder = new_folder(root, "killed")
    fill(folder, "", count)
    stores = open_stores(folder, "")
    log, chance, output = stores.events, random.Random(2), f"{TOPIC}.predictions"
    for number in range(kills):
        before = log.end(output)
        worker = child("worker", folder, "")
        aim = min(count, before + chance.randint(1, max(2, (count - before) // (kills - number))))
        wait_until(lambda at=aim, one=worker: log.end(output) >= at or one.poll() is not None, 0.001)
        worker.kill()
        worker.wait(10)
        print(f"  killed with {log.end(output):,} answered")
    worker = child("worker", folder, "")
    wait_until(lambda: log.end(output) >= count or worker.poll() is not None, 0.05)
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    offsets, after = [], 0
    ids: Counter[str] = Counter()
    while batch := log.read(output, after=after, limit=5_000):
        for event in batch:
            document = json.loads(event.value)
            offsets.append(document["offset"])
            ids[document["prediction_id"]] += 1
        after = batch[-1].offset
    rows = PredictionTable(stores, "eta").read(columns=["prediction_id"])["prediction_id"].to_pylist()
    print(
        f"  {count:,} events, {kills} kills: {len(offsets):,} answers, in order and once each: "
        f"{offsets == list(range(1, count + 1))}; {len(rows):,} records, the same ids once each: {Counter(rows) == ids}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kafka-events", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--role")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url", default="")
    parser.add_argument("--count", type=int, default=0)
    given = parser.parse_args()
    if given.role == "worker":
        run_worker(given.folder, given.url)
        return
    if given.role:
        work = {"ours": drain_ours, "bare": drain_bare}[given.role]
        print(json.dumps(work(given.folder, given.url, given.count)))
        return
    from loopwright.core.storage.conformance.mock_kafka import MockKafka

    with tempfile.TemporaryDirectory() as temporary, MockKafka() as cluster:
        root = Path(temporary)
        kinds = [("SQLite", "", given.events)]
        if given.kafka_events:
            kinds.append(("Kafka", f"kafka://{cluster.servers}/bench", given.kafka_events))
        for kind, url, count in kinds:
            found: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
            for number in range(given.rounds):
                place = f"{url}{number}" if url else ""
                folder = new_folder(root, f"{kind}{number}")
                fill(folder, place, count)
                for role in ("ours", "bare"):
                    found[role].append(told(child(role, folder, place, "--count", str(count))))
            print(f"{kind}, {count:,} events, median of {given.rounds} rounds")
            for role, figures in found.items():
                parts = (f"{statistics.median(one[key] for one in figures):12,.1f} {key}" for key in figures[0])
                print(f"  {role:5}" + "".join(parts))
            least = {role: min(one["cpu µs/event"] for one in figures) for role, figures in found.items()}
            print(f"  processor time, ours / bare, the least of each: {least['ours'] / least['bare']:.2f}")
            place = f"{url}-delay" if url else ""
            waited = delays(new_folder(root, f"{kind}-delay"), place, 200)
            cuts = statistics.quantiles(waited, n=100)
            print(
                f"  event to answer, one at a time: p50 {cuts[49]:.1f} ms, p95 {cuts[94]:.1f} ms, p99 {cuts[98]:.1f} ms"
            )
        if given.kills:
            killed(root, given.events, given.kills)


if __name__ == "__main__":
    main()
