"""A process that writes until it is killed, and says on standard output what has been acknowledged.

Run as ``python writer.py KIND FOLDER SEED``. Each line is one acknowledged write; a line cut
off by the kill does not count.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pyarrow as pa

from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.events import Event, SqliteEventLog
from loopwright.core.storage.payloads import PayloadStore
from loopwright.core.storage.tables import TableStore


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_blobs(folder: Path, seed: int) -> None:
    blobs = BlobStore(folder)
    source = folder / f"source-{seed}"
    source.parent.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    while True:
        data = chance.randbytes(chance.choice([10, 10_000, 9 << 20]))
        if chance.random() < 0.5:
            say(blobs.put(data))
        else:
            source.write_bytes(data)
            say(blobs.put_file(source))


def write_rows(folder: Path, seed: int) -> None:
    """Append 100 rows that carry the number of their transaction, beginning behind the last one committed."""
    tables = TableStore(folder)
    done = tables.transaction("t", "writer")
    number = 0 if done is None else done + 1
    while True:
        rows = pa.table({"number": pa.array([number] * 100, pa.int64()), "row": pa.array(range(100), pa.int64())})
        if number % 7 == 3:
            rows = rows.append_column(f"extra_{number % 3}", pa.array(["x"] * 100))
        tables.append("t", rows, transaction=("writer", number))
        say(str(number))
        if number % 10 == 9:
            tables.compact("t")
        number += 1


def write_payloads(folder: Path, seed: int) -> None:
    payloads = PayloadStore(BlobStore(folder), TableStore(folder), shard_bytes=10_000)
    chance = random.Random(seed)
    while True:
        for ref in payloads.put_many([chance.randbytes(chance.randrange(2000)) for _ in range(50)]):
            say(ref)


def write_events(folder: Path, seed: int) -> None:
    log = SqliteEventLog(folder / "events.db")
    for number in range(10**9):
        offsets = log.append("t", [Event(str(seed), f"{number}.{i}".encode()) for i in range(3)])
        log.commit("t", "group", offsets[-1])
        say(f"{number} {offsets[-1]}")


if __name__ == "__main__":
    kinds = {"blobs": write_blobs, "rows": write_rows, "payloads": write_payloads, "events": write_events}
    kinds[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
