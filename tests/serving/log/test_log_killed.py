"""The prediction log under SIGKILL and on a full disk: what was acknowledged, and what is read afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from tests.forks import Forks

from loopwright.serving.log.prediction_log import GROUP_BYTES
from loopwright.serving.log.prediction_record import decode_records
from loopwright.serving.log.segment import read_frames

_CHILD = """
import os, random, signal, threading, time
from pathlib import Path
import pyarrow
from loopwright.core.clock import SystemClock
from loopwright.core.ids import Ids
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.prediction_record import PredictionRecord
from loopwright.serving.log.segment import SegmentWriter

def record(number, call, rows):
    return PredictionRecord(
        f"p{number}", f"r{call}", 1_767_225_600_000_000, "m", 1, "champion", None, 1.0, 7, None, '{"x":1.5}',
        1.0, None, None, 100, rows, 200, None)

def main(folder, seed, slow):
    drawn = random.Random(seed)
    said = os.open(folder + "/said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    say = lambda *words: os.write(said, (" ".join(map(str, words)) + "\\n").encode())

    class Slow(SegmentWriter):
        def _write(self, parts, size):
            if slow:
                began = time.monotonic()
                say("begin", began)
                threading.Event().wait(drawn.uniform(0.002, 0.03))  # the disk
            result = super()._write(parts, size)
            if slow:
                say("end", began)
            return result

    clock = SystemClock()
    log = PredictionLog(
        Path(folder), "m", clock=clock, ids=Ids(clock), rotate_bytes=20_000, open_segment=Slow, slow_write_s=0.001
    ) if slow else PredictionLog(Path(folder), "m", clock=clock, ids=Ids(clock), rotate_bytes=20_000)
    threading.Timer(drawn.uniform(0.02, 0.15), os.kill, (os.getpid(), signal.SIGKILL)).start()
    number = call = 0
    while True:
        rows = 1 + call % 3
        log.accept(rows)
        began = time.monotonic()
        kept = log.write([record(number + place, call, rows) for place in range(rows)])
        counts = log.counts()
        assert kept or slow
        if kept:
            say("kept", call, rows, began, counts.state, counts.in_flight)
        number += rows
        call += 1
        if call % 50 == 0:
            time.sleep(0)
        if slow:
            threading.Event().wait(0.0005)
"""


@pytest.fixture(scope="module")
def forks():
    with Forks(_CHILD) as running:
        yield running


def found(folder) -> dict[str, int]:
    """Rows of each call that is in the segments."""
    calls: dict[str, int] = {}
    for path in sorted((folder / "predictions" / "m").glob("*.seg")):
        for frame in read_frames(path):
            for row in decode_records(frame.payload):
                calls[row.request_id] = calls.get(row.request_id, 0) + 1
                assert row.batch_rows == 1 + int(row.request_id[1:]) % 3
    return calls


def spoken(folder) -> list[list[str]]:
    text = (folder / "said").read_text()
    return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]


@pytest.mark.parametrize("seed", range(12))
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path, forks, seed):
    assert forks.run(str(tmp_path), seed, False) == -signal.SIGKILL
    calls = found(tmp_path)
    kept = [line for line in spoken(tmp_path) if line[0] == "kept"]
    assert len(kept) > 10
    assert {line[4] for line in kept if line[4] == "quick"} == {"quick"}
    for _, call, rows, _, state, _ in kept:
        if state == "quick":
            assert calls[f"r{call}"] == int(rows)
    assert all(rows == 1 + int(call[1:]) % 3 for call, rows in calls.items()), "a request is there wholly or not at all"


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_while_the_disk_is_slow_loses_the_newest_at_most(tmp_path, forks, seed):
    assert forks.run(str(tmp_path), seed, True) == -signal.SIGKILL
    calls, lines = found(tmp_path), spoken(tmp_path)
    kept = [line for line in lines if line[0] == "kept"]
    lost = [line for line in kept if f"r{line[1]}" not in calls]
    assert any(line[4] == "slow" for line in kept)
    assert all(calls[f"r{call}"] == int(rows) for _, call, rows, *_ in kept if f"r{call}" in calls)
    assert lost == kept[len(kept) - len(lost) :], "the oldest are written first"
    assert sum(int(line[2]) for line in lost) <= int(kept[-1][5]), "no more than what was said to be in flight"
    # A write takes all that waits (far less than a group here): what came before the last one that ended is there.
    ended = [float(line[1]) for line in lines if line[0] == "end"]
    assert max(int(line[5]) for line in kept) * 400 < GROUP_BYTES
    assert all(float(line[3]) >= ended[-1] - 0.001 for line in lost if ended)


_FULL = """
import resource, signal, sys, json
from pathlib import Path
from loopwright.core.clock import SystemClock
from loopwright.core.ids import Ids
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.prediction_record import PredictionRecord
folder, kind, log_full = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
clock = SystemClock()
log = PredictionLog(Path(folder), "m", clock=clock, ids=Ids(clock), log_full=log_full)
text = "x" * 2000
def write(number):
    log.accept(1)
    return log.write([PredictionRecord(
        f"p{number}", f"r{number}", 0, "m", 1, "champion", None, 1.0, 7, None, text, 1.0, None, None, 1, 1, 200, None)])
ballast = Path(folder) / "ballast"
if kind == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
else:
    ballast.write_bytes(b"b" * 230_000)
answers = [write(number) for number in range(40)]
full = log.counts()
if kind == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    ballast.unlink()
    if log_full == "drop_newest":
        log.rotate()
last = write(40)
log.close()
end = log.counts()
read = []
from loopwright.serving.log.prediction_record import decode_records
from loopwright.serving.log.segment import read_frames
for path in sorted(log.folder.glob("*.seg")):
    read += [row.prediction_id for frame in read_frames(path) for row in decode_records(frame.payload)]
print(json.dumps({"answers": answers, "last": last, "read": read, "full": [full.accepted, full.durable, full.in_flight,
    full.dropped], "end": [end.accepted, end.durable, end.in_flight, end.dropped]}))
"""


def _may_mount() -> bool:
    """Tell whether this account may have a small disk of its own; without it the kernel's limit on files is one."""
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    try:
        return os.geteuid() == 0 and subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("log_full", ["drop_newest", "shed"])
@pytest.mark.parametrize("kind", ["limit", *(["disk"] if _may_mount() else [])])
def test_a_full_disk(tmp_path, kind, log_full):
    command = [sys.executable, "-c", _FULL, str(tmp_path), kind, log_full]
    if kind == "disk":
        mounted = 'mount -t tmpfs -o size=256k none "$3" && exec "$0" "$1" "$2" "$3" "$4" "$5"'
        command = ["unshare", "-m", "sh", "-c", mounted, *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    accepted, durable, in_flight, dropped = said["full"]
    assert accepted == 40 == durable + in_flight + sum(dropped.values())
    if log_full == "drop_newest":
        assert set(dropped) == {"disk_full"}
        assert said["answers"].count(False) == dropped["disk_full"] > 10
        assert in_flight == 0
    else:
        assert dropped == {}
        assert in_flight > 10
    assert said["last"]
    accepted, durable, in_flight, dropped = said["end"]
    assert (accepted, in_flight) == (41, 0)
    assert durable + sum(dropped.values()) == accepted
    assert len(said["read"]) == len(set(said["read"])) == durable
    if log_full == "shed":
        assert durable == 41, "all that waited was written when there was space again"
