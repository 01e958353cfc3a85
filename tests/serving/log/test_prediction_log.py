from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from loopwright.core.clock import SystemClock
from loopwright.core.errors import StoreError, StoreFullError
from loopwright.core.ids import Ids
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.prediction_record import (
    PREDICTION_SCHEMA,
    PredictionRecord,
    decode_records,
    encode_records,
    to_table,
)
from loopwright.serving.log.segment import SegmentWriter, read_frames


def record(number: int = 0, **changes: object) -> PredictionRecord:
    values = {
        "prediction_id": f"p{number}",
        "request_id": "r",
        "ts_us": 1_767_225_600_000_000,
        "model": "m",
        "version": 3,
        "route": "champion",
        "experiment": None,
        "propensity": 1.0,
        "unit_hash": 5,
        "key": None,
        "features": '{"x":1.0}',
        "output_number": 2.5,
        "output_text": None,
        "probabilities": [0.25, 0.75],
        "latency_us": 120,
        "batch_rows": 1,
        "status": 200,
        "error_class": None,
    }
    return PredictionRecord(**{**values, **changes})


def logged(log: PredictionLog) -> list[PredictionRecord]:
    return [
        row
        for path in sorted(log.folder.glob("*.seg"))
        for frame in read_frames(path)
        for row in decode_records(frame.payload)
    ]


def test_records_survive_packing():
    rows = [record(1), record(2, probabilities=None, output_text="cat", error_class="ModelFailedError", status=500)]
    assert decode_records(encode_records(rows)) == rows


def test_the_table_has_the_columns_of_the_record():
    table = to_table([record(1)])
    assert table.schema == PREDICTION_SCHEMA
    row = table.to_pylist()[0]
    assert row["at"].isoformat() == "2026-01-01T00:00:00+00:00"
    assert row["probabilities"] == [0.25, 0.75]
    assert set(PREDICTION_SCHEMA.names) == {"at" if n == "ts_us" else n for n in PredictionRecord.__struct_fields__}


def test_writing_is_durable_at_once_and_counted(tmp_path, clock, ids):
    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids)
    log.accept(2)
    assert log.counts().in_flight == 2
    assert log.write([record(1), record(2)])
    counts = log.counts()
    assert (counts.accepted, counts.durable, counts.in_flight, counts.dropped) == (2, 2, 0, {})
    assert [row.prediction_id for row in logged(log)] == ["p1", "p2"]
    log.close()


def test_a_segment_is_rotated_by_size(tmp_path, clock, ids):
    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids, rotate_bytes=400)
    for number in range(10):
        log.accept(1)
        log.write([record(number)])
    log.close()
    assert len(list(log.folder.glob("*.seg"))) > 1
    assert [row.prediction_id for row in logged(log)] == [f"p{number}" for number in range(10)]


def test_it_is_synced_once_per_interval(tmp_path, clock, ids, monkeypatch):
    syncs = []
    monkeypatch.setattr(SegmentWriter, "sync", lambda self: syncs.append(self.size))
    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids, sync_interval=1.0)
    log.accept(1)
    log.write([record()])
    assert not log.sync_if_due()
    clock.advance(1)
    assert log.sync_if_due()
    clock.advance(1)
    assert not log.sync_if_due(), "nothing new to sync"
    assert len(syncs) == 1
    log.close()


@pytest.mark.parametrize(
    ("error", "reason"), [(StoreFullError("full"), "disk_full"), (StoreError("io"), "write_error")]
)
def test_what_cannot_be_written_is_counted_by_reason(tmp_path, clock, ids, monkeypatch, error, reason):
    log = PredictionLog(tmp_path, "m", clock=clock, ids=ids)
    log.accept(1)
    log.write([record(1)])

    def fail(self, payload):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "append", fail)
        log.accept(3)
        assert not log.write([record(2), record(3), record(4)])
    log.accept(1)
    log.write([record(5)])
    counts = log.counts()
    assert counts.dropped == {reason: 3}
    assert counts.accepted == counts.durable + counts.in_flight + sum(counts.dropped.values())
    assert [row.prediction_id for row in logged(log)] == ["p1", "p5"]
    log.close()


def test_many_threads_lose_nothing(tmp_path):
    clock = SystemClock()
    log = PredictionLog(tmp_path, "m", clock=clock, ids=Ids(clock), rotate_bytes=20_000)

    def work(worker: int) -> None:
        for number in range(200):
            log.accept(1)
            log.write([record(worker * 1000 + number)])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert log.counts().durable == 800
    assert len({row.prediction_id for row in logged(log)}) == len(logged(log)) == 800


class Accounting(RuleBasedStateMachine):
    """Accepted rows are durable, in flight or dropped, whatever the order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        clock = SystemClock()
        self.log = PredictionLog(Path(self.folder.name), "m", clock=clock, ids=Ids(clock), rotate_bytes=500)
        self.pending: list[int] = []
        self.number = 0
        self.written = 0

    @rule(rows=st.integers(1, 5))
    def accept(self, rows):
        self.log.accept(rows)
        self.pending.append(rows)

    @rule()
    def write(self):
        if self.pending:
            rows = self.pending.pop()
            self.log.write([record(self.number + i) for i in range(rows)])
            self.number += rows
            self.written += rows

    @rule(reason=st.sampled_from(["cancelled", "shadow_full"]))
    def drop(self, reason):
        if self.pending:
            self.log.drop(self.pending.pop(), reason)

    @rule()
    def rotate(self):
        self.log.rotate()

    @invariant()
    def balances(self):
        counts = self.log.counts()
        assert counts.accepted == counts.durable + counts.in_flight + sum(counts.dropped.values())
        assert counts.in_flight == sum(self.pending)
        assert counts.durable == self.written == len(logged(self.log))

    def teardown(self):
        self.log.close()
        self.folder.cleanup()


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
