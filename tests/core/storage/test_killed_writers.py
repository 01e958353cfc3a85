"""Writers killed with SIGKILL at seeded moments: what was acknowledged is there, once, and nothing is torn."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.events import SqliteEventLog
from loopwright.core.storage.payloads import PayloadStore
from loopwright.core.storage.tables import TableStore

WRITER = Path(__file__).with_name("writer.py")


def killed(kind: str, folder: Path, seed: int, most_acknowledged: int) -> list[str]:
    """Start a writer, kill it inside what follows a seeded number of writes, and give what it acknowledged."""
    chance = random.Random(seed)
    command = [sys.executable, str(WRITER), kind, str(folder), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = [process.stdout.readline() for _ in range(chance.randint(1, most_acknowledged))]
        for _ in range(chance.randrange(200_000)):  # a moment, to be somewhere inside the next write
            pass
        process.kill()
        said += process.stdout.readlines()
        errors = process.stderr.read().decode()
    assert process.returncode == -9, errors
    return [line.decode().strip() for line in said if line.endswith(b"\n")]


@pytest.mark.parametrize("seed", range(3))
def test_no_blob_is_torn(tmp_path: Path, seed: int) -> None:
    acknowledged = killed("blobs", tmp_path, seed, 12)
    blobs = BlobStore(tmp_path)
    stored = set(blobs.digests())
    assert set(acknowledged) <= stored
    for digest in stored:
        blobs.get(digest)  # raises if the content is not what its name says


def test_every_acknowledged_append_is_there_once(tmp_path: Path) -> None:
    for seed in range(4):
        acknowledged = [int(line) for line in killed("rows", tmp_path, seed, 15)]
        tables = TableStore(tmp_path)
        rows = tables.read("t")
        last = tables.transaction("t", "writer")
        assert last is not None
        assert acknowledged == list(range(acknowledged[0], acknowledged[-1] + 1))
        assert acknowledged[-1] <= last <= acknowledged[-1] + 1
        pairs = sorted(zip(rows["number"].to_pylist(), rows["row"].to_pylist(), strict=True))
        assert pairs == [(number, row) for number in range(last + 1) for row in range(100)]
    assert tables.stream("t").read_all().num_rows == rows.num_rows
    tables.compact("t")
    tables.vacuum("t", timedelta(0), dry_run=False)
    assert tables.read("t").num_rows == rows.num_rows


def test_payloads_are_whole_or_absent(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for seed in range(3):
        acknowledged += killed("payloads", tmp_path, seed, 400)
        payloads = PayloadStore(BlobStore(tmp_path), TableStore(tmp_path))
        assert len(payloads.get_many(acknowledged)) == len(acknowledged)
    everything = TableStore(tmp_path).read("payloads/index")["digest"].to_pylist()
    assert len(everything) == len(set(everything))
    payloads.get_many([f"sha256:{digest}" for digest in everything])


def test_offsets_stay_dense_and_batches_whole(tmp_path: Path) -> None:
    for seed in range(4):
        acknowledged = [tuple(map(int, line.split())) for line in killed("events", tmp_path, seed, 300)]
        log = SqliteEventLog(tmp_path / "events.db")
        events = log.read("t", limit=10**6)
        assert [event.offset for event in events] == list(range(1, len(events) + 1))
        assert log.end("t") == len(events)
        assert acknowledged[-1][1] <= log.committed("t", "group") <= log.end("t")
        mine = [event for event in events if event.key == str(seed)]
        batches = len(mine) // 3
        assert acknowledged[-1][0] + 1 <= batches <= acknowledged[-1][0] + 2
        assert [event.value.decode() for event in mine] == [f"{n}.{i}" for n in range(batches) for i in range(3)]
        log.close()
