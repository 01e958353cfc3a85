"""The prediction log while the disk is slow, full or failing: nothing is lost that is not counted."""

from __future__ import annotations

import errno
import random
import threading
from time import monotonic

import pytest

from loopwright.core.clock import SystemClock
from loopwright.core.errors import OverloadedError, StoreError, StoreFullError
from loopwright.core.ids import Ids
from loopwright.serving.log import prediction_log
from loopwright.serving.log.log_ring import LogRoom
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.prediction_record import PredictionRecord, decode_records
from loopwright.serving.log.segment import SegmentWriter, read_frames


class GatedSegment(SegmentWriter):
    """A file whose writes wait until the gate is open."""

    gate: threading.Event
    entered: threading.Event

    def _write(self, parts, size):
        self.entered.set()
        assert self.gate.wait(30)
        return super()._write(parts, size)


@pytest.fixture
def gated():
    """A class of segments with a gate of its own, which begins open."""
    gate, entered = threading.Event(), threading.Event()
    gate.set()
    yield type("Gated", (GatedSegment,), {"gate": gate, "entered": entered})
    gate.set()


def record(number: int) -> PredictionRecord:
    fixed = (f"p{number}", f"r{number}", 1_767_225_600_000_000 + number, "m", 1, "champion", None, 1.0, 7, None, "{}")
    return PredictionRecord(*fixed, float(number), None, None, 100, 1, 200, None)


def write(log: PredictionLog, *numbers: int) -> bool:
    log.accept(len(numbers))
    return log.write([record(number) for number in numbers])


def logged(log: PredictionLog) -> list[str]:
    return [
        row.prediction_id
        for path in sorted(log.folder.glob("*.seg"))
        for frame in read_frames(path)
        for row in decode_records(frame.payload)
    ]


def balanced(log: PredictionLog) -> prediction_log.LogCounts:
    counts = log.counts()
    assert counts.accepted == counts.durable + counts.in_flight + sum(counts.dropped.values())
    return counts


def until(condition, seconds: float = 10.0) -> None:
    """Wait for what another thread is about to do."""
    ends = monotonic() + seconds
    while not condition():
        assert monotonic() < ends, "it did not come about"
        threading.Event().wait(0.001)


@pytest.fixture
def made(tmp_path, gated):
    logs = []

    def make(**options) -> PredictionLog:
        clock = options.pop("clock", None) or SystemClock()
        options = {"open_segment": gated, "slow_write_s": 0.01} | options
        logs.append(PredictionLog(tmp_path, "m", clock=clock, ids=Ids(clock), **options))
        return logs[-1]

    yield make
    gated.gate.set()
    for log in logs:
        log.close()


def stall(log: PredictionLog, gated: type[GatedSegment], number: int) -> threading.Thread:
    """Have another thread write one row, and return when its write hangs."""
    gated.gate.clear()
    gated.entered.clear()
    thread = threading.Thread(target=write, args=(log, number))
    thread.start()
    assert gated.entered.wait(10)
    return thread


def test_a_write_that_took_long_is_durable_and_hands_over(tmp_path, clock, ids):
    class SlowOnce(SegmentWriter):
        def _write(self, parts, size):
            if self.size == 0:
                clock.advance(0.06)
            return super()._write(parts, size)

    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids, open_segment=SlowOnce)
    assert write(log, 1)
    counts = balanced(log)
    assert (counts.state, counts.durable, counts.in_flight) == ("slow", 1, 0)
    assert write(log, 2, 3)
    log.close()
    assert (balanced(log).state, balanced(log).durable) == ("quick", 3)
    assert logged(log) == ["p1", "p2", "p3"]


def test_nobody_waits_for_a_write_that_hangs(made, gated):
    log = made()
    assert write(log, 1)
    hanging = stall(log, gated, 2)
    assert all(write(log, number) for number in range(3, 100))
    counts = balanced(log)
    assert (counts.state, counts.durable, counts.in_flight, counts.waiting) == ("slow", 1, 98, 97)
    gated.gate.set()
    hanging.join()
    log.close()
    assert balanced(log).durable == 99
    assert logged(log) == [f"p{number}" for number in range(1, 100)]


def test_a_full_ring_drops_the_newest_and_counts_them(made, gated):
    log = made(room=LogRoom(rows=10))
    hanging = stall(log, gated, 0)
    assert [write(log, number) for number in range(1, 16)] == [True] * 10 + [False] * 5
    assert balanced(log).dropped == {"log_full": 5}
    gated.gate.set()
    hanging.join()
    log.close()
    assert logged(log) == [f"p{number}" for number in range(11)]
    assert balanced(log).durable == 11


def test_an_audited_log_refuses_calls_and_drops_nothing(made, gated):
    log = made(room=LogRoom(rows=10), log_full="shed")
    log.refuse_if_full(1_000_000)
    hanging = stall(log, gated, 0)
    log.accept(8)  # being computed when the ring fills
    log.refuse_if_full(1)
    write(log, 1)
    with pytest.raises(OverloadedError, match="1 rows wait") as refused:  # 8 in work, 1 in the write that hangs
        log.refuse_if_full(1)
    assert refused.value.retry_after_s > 0
    assert log.write([record(200 + place) for place in range(8)])
    assert balanced(log).dropped == {}
    gated.gate.set()
    hanging.join()
    until(lambda: not log.counts().waiting)
    log.refuse_if_full(5)
    log.close()
    assert balanced(log).durable == len(logged(log)) == 10


def test_the_log_is_quick_again_when_the_disk_is(made, gated, monkeypatch):
    monkeypatch.setattr(prediction_log, "_CALM_S", 0.02)
    log = made(slow_write_s=0.05)
    hanging = stall(log, gated, 1)
    write(log, 2)
    gated.gate.set()
    hanging.join()
    until(lambda: log.counts().durable == 2)
    write(log, 3)  # one slow write says nothing about the next
    until(lambda: log.counts().state == "quick")
    before = threading.active_count()
    assert write(log, 4)
    assert balanced(log).durable == 4
    assert threading.active_count() <= before


def test_a_disk_that_is_slow_again_is_trusted_later(made, gated, monkeypatch):
    monkeypatch.setattr(prediction_log, "_CALM_S", 0.02)
    log = made(slow_write_s=0.05)
    for number in range(3):
        hanging = stall(log, gated, number)
        write(log, 100 + number)
        gated.gate.set()
        hanging.join()
        until(lambda: not log.counts().waiting)
        write(log, 200 + number)
        until(lambda: log.counts().state == "quick")
    assert log._calm_s > 0.02


@pytest.mark.parametrize("log_full", ["drop_newest", "shed"])
@pytest.mark.parametrize(
    ("error", "reason"), [(StoreFullError("full"), "disk_full"), (StoreError("broken"), "write_error")]
)
def test_a_failing_disk(made, gated, monkeypatch, log_full, error, reason):
    monkeypatch.setattr(prediction_log, "_RETRY_S", 0.01)
    fails = True

    def failing(self, parts, size):
        if fails:
            raise error
        return SegmentWriter._write(self, parts, size)

    monkeypatch.setattr(gated, "_write", failing)
    log = made(log_full=log_full)
    answers = [write(log, number) for number in range(5)]
    counts = balanced(log)
    if log_full == "drop_newest":
        assert answers == [False] * 5
        assert counts.dropped == {reason: 5}
    else:
        assert answers == [True] * 5
        assert (counts.in_flight, counts.dropped) == (5, {})
    fails = False
    if log_full == "shed":
        until(lambda: log.counts().durable == 5)
    write(log, 5)
    log.close()
    assert balanced(log).durable == len(logged(log)) == (6 if log_full == "shed" else 1)


def test_what_waits_at_the_end_is_counted(made, gated):
    log = made()
    hanging = stall(log, gated, 1)
    write(log, 2, 3)
    log.close(timeout_s=0.01)
    counts = balanced(log)
    assert (counts.in_flight, counts.dropped) == (1, {"shutdown": 2}), "the write that hangs may still arrive"
    gated.gate.set()
    hanging.join()
    until(lambda: log.counts().in_flight == 0)
    assert balanced(log).durable == 1


class Unsynced(SegmentWriter):
    def sync(self):
        raise OSError(errno.EIO, "the device failed")


def test_a_failed_sync_is_counted_and_the_segment_left(tmp_path, clock, ids):
    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids, open_segment=Unsynced)
    write(log, 1)
    clock.advance(1)
    assert not log.sync_if_due()
    write(log, 2)
    counts = balanced(log)
    assert (counts.durable, counts.sync_failures) == (2, 1)
    assert len(list(log.folder.glob("*.seg"))) == 2
    assert logged(log) == ["p1", "p2"]
    log.close()


def test_with_fsync_always_what_is_not_synced_is_not_kept(tmp_path, clock, ids):
    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids, open_segment=Unsynced, fsync="always")
    assert not write(log, 1, 2)
    counts = balanced(log)
    assert (counts.durable, counts.dropped, counts.sync_failures) == (0, {"sync_error": 2}, 1)
    assert logged(log) == []
    log.close()


@pytest.mark.parametrize(("fsync", "synced"), [("none", 0), ("interval", 1), ("always", 3)])
def test_when_the_file_is_synced(tmp_path, clock, ids, monkeypatch, fsync, synced):
    syncs = []
    monkeypatch.setattr(SegmentWriter, "sync", lambda self: syncs.append(self.size))
    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids, fsync=fsync)
    for number in range(3):
        write(log, number)
    clock.advance(5)
    log.sync_if_due()
    assert len(syncs) == synced
    log.close()


def test_a_segment_ends_by_its_age(tmp_path, clock, ids):
    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids, rotate_s=60.0)
    write(log, 1)
    clock.advance(61)
    log.sync_if_due()
    write(log, 2)
    assert len(list(log.folder.glob("*.seg"))) == 2
    log.close()


def test_it_balances_at_any_moment_from_any_thread(made, gated):
    """Six threads write through a gate that opens and closes, while another one reads the counts."""
    log = made(slow_write_s=0.001, room=LogRoom(rows=200))
    ended = threading.Event()
    looks = []

    def look() -> None:
        while not ended.is_set():
            looks.append(balanced(log))

    def open_and_close() -> None:
        drawn = random.Random(1)
        while not ended.is_set():
            gated.gate.clear()
            ended.wait(drawn.uniform(0, 0.004))
            gated.gate.set()
            ended.wait(drawn.uniform(0, 0.004))
        gated.gate.set()

    def work(worker: int) -> None:
        for number in range(300):
            write(log, *range(worker * 10_000 + number * 3, worker * 10_000 + number * 3 + 1 + number % 3))
            if number % 7 == 0:
                log.accept(2)
                log.drop(2, "cancelled")

    beside = [threading.Thread(target=look), threading.Thread(target=open_and_close)]
    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in beside + workers:
        thread.start()
    for thread in workers:
        thread.join()
    ended.set()
    for thread in beside:
        thread.join()
    log.close()
    counts = balanced(log)
    assert counts.in_flight == 0
    assert counts.durable == len(logged(log)) == len(set(logged(log)))
    assert counts.accepted == 6 * (600 + 2 * 43)
    assert {one.state for one in looks} == {"quick", "slow"}
