"""200,000 JSON messages from a Kafka topic of 8 partitions: through contract and commit, and by a bare consumer loop.

    python bench/kafka_ingest.py [--messages 200000]

The cluster is librdkafka's own mock cluster, in a process of its own; it gives messages faster than a broker would, so
that what is measured is the consumer's side. Both sides run in processes of their own, in alternating rounds. Ours:
decode, cast, judge (types, a range, a set), commit to the dataset, exactly once. The peers: a loop over
``Consumer.consume`` that writes Parquet, once with ``json.loads`` and ``Table.from_pylist`` as it is usually written,
once with Arrow's own JSON reader, the fastest there is. Neither remembers how far it came. Ours reads the topic in one
ingest. Rounds are after one that is left out; imports are outside.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
from confluent_kafka import Consumer, Producer, TopicPartition

from loopwright.core.settings import Settings
from loopwright.core.storage.conformance.mock_kafka import MockKafka
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.kafka import kafka

PARTITIONS = 8
CITIES = ["Oslo", "Bergen", "Stavanger"]
ROUNDS = 3


def produce(servers: str, messages: int) -> None:
    producer = Producer({"bootstrap.servers": servers, "compression.type": "lz4", "linger.ms": 50, "log_level": 0})
    for n in range(messages):
        row = {
            "id": n,
            "city": CITIES[n % 3],
            "km": n % 1000 / 10,
            "at": f"2026-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z",
        }
        if n % 10_000 == 0:
            producer.flush()
        producer.produce("orders", json.dumps(row), partition=n % PARTITIONS)
    assert producer.flush(60) == 0


def ours(servers: str, messages: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stores = open_stores(Settings.load(Path(folder), environ={}))
        contract = [
            column("id", "int"),
            column("city", "category", among=CITIES),
            column("km", "float", between=(0, 100)),
            column("at", "timestamp"),
        ]
        dataset = Dataset("orders", kafka(servers, "orders", max_records=messages), contract=contract)
        began = _now()
        report = Lake(stores).ingest(dataset)
        _tell(began, report.rows_accepted)


def bare(servers: str, messages: int, *, by_arrow: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = _now()
        consumer = Consumer({"bootstrap.servers": servers, "group.id": "bare", "log_level": 0})
        consumer.assign([TopicPartition("orders", number, 0) for number in range(PARTITIONS)])
        rows, writer = 0, None
        while rows < messages:
            values = [message.value() for message in consumer.consume(10_000, 0.5)]
            if not values:
                continue
            if by_arrow:
                table = pyarrow.json.read_json(io.BytesIO(b"\n".join(values)))
            else:
                table = pa.Table.from_pylist([json.loads(value) for value in values])
            writer = writer or pq.ParquetWriter(Path(folder) / "orders.parquet", table.schema)
            writer.write_table(table)
            rows += table.num_rows
        assert writer is not None
        writer.close()
        _tell(began, rows)
        consumer.close()


def _now() -> tuple[float, float]:
    return time.perf_counter(), sum(os.times()[:2])


def _tell(began: tuple[float, float], rows: int) -> None:
    wall, cpu = _now()
    print(json.dumps([wall - began[0], cpu - began[1], rows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--cluster", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cluster:
        with MockKafka() as cluster:
            cluster.create_topic("orders", partitions=PARTITIONS)
            print(cluster.servers, flush=True)
            sys.stdin.read()
        return
    if options.side:
        side, servers = options.side
        if side == "ours":
            ours(servers, options.messages)
        else:
            bare(servers, options.messages, by_arrow=side == "arrow")
        return
    command = [sys.executable, __file__, "--messages", str(options.messages)]
    with subprocess.Popen([*command, "--cluster"], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdout is not None
        servers = cluster.stdout.readline().strip()
        produce(servers, options.messages)
        found: dict[str, list[list[float]]] = {"ours": [], "json.loads": [], "arrow": []}
        for number in range(ROUNDS + 1):
            for side, rounds in found.items():
                told = subprocess.run([*command, "--side", side, servers], stdout=subprocess.PIPE, check=True)
                wall, cpu, rows = json.loads(told.stdout)
                assert rows == options.messages, (side, rows)
                if number:
                    rounds.append([wall, cpu])
        cluster.communicate()
    medians = {side: [statistics.median(one[at] for one in rounds) for at in (0, 1)] for side, rounds in found.items()}
    for side, (wall, cpu) in medians.items():
        print(f"{side:<11} {options.messages / wall:>10,.0f} rows/s   cpu {cpu:.2f} s")
    for side in ("json.loads", "arrow"):
        wall, cpu = (medians[side][at] / medians["ours"][at] for at in (0, 1))
        print(f"ours is {wall:.2f} x as fast as the loop with {side} ({cpu:.2f} x by processor time)")


if __name__ == "__main__":
    main()
