from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from loopwright.serving.log import compactor
from loopwright.serving.log.compactor import PredictionTable, find_prediction
from loopwright.serving.log.prediction_columns import records_table
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.prediction_record import PredictionRecord


def record(number: int, **changes: object) -> PredictionRecord:
    fixed = (f"p{number}", f"r{number}", 1_767_225_600_000_000 + number, "m", 1, "champion", None, 1.0, 7, None, "{}")
    base = PredictionRecord(*fixed, float(number), None, None, 100, 1, 200, None)
    return PredictionRecord(**{**{n: getattr(base, n) for n in base.__struct_fields__}, **changes})


@pytest.fixture
def log(stores):
    opened = PredictionLog(stores.local, "m", clock=stores.clock, ids=stores.ids)
    yield opened
    opened.close()


def write(log: PredictionLog, *numbers: int) -> None:
    for number in numbers:
        log.accept(1)
        log.write([record(number)])


def write_columns(log: PredictionLog, *numbers: int) -> None:
    shared = {"version": 1, "route": "champion", "experiment": None, "propensity": 1.0, "unit_hash": 7}
    table = records_table(
        prediction_ids=[f"p{number}" for number in numbers], request_id="many", ts_us=1_767_225_600_000_000, model="m",
        latency_us=9, values=[float(number) for number in numbers], **shared,
    )  # fmt: skip
    log.accept(len(numbers))
    assert log.write_table(table)


def ids_in_lake(stores) -> list[str]:
    return sorted(PredictionTable(stores, "m").read(columns=["prediction_id"])["prediction_id"].to_pylist())


def test_nothing_logged_reads_as_an_empty_table(stores):
    table = PredictionTable(stores, "m")
    assert table.read().num_rows == 0
    assert table.find("p1") == []
    assert table.compact().rows == 0


def test_an_open_segment_is_read_as_far_as_it_got(stores, log):
    table = PredictionTable(stores, "m")
    write(log, 1, 2)
    assert table.compact().rows == 2
    assert table.compact().rows == 0
    write(log, 3)
    assert table.compact().rows == 1
    assert len(list(log.folder.glob("*.seg"))) == 1, "its writer lives"
    assert ids_in_lake(stores) == ["p1", "p2", "p3"]


def test_both_kinds_of_frames_are_read_in_their_order(stores, log, monkeypatch):
    monkeypatch.setattr(compactor, "_RECORDS_AT_ONCE", 3)
    write(log, 1, 2)
    write_columns(log, 3, 4, 5)
    write(log, 6, 7, 8, 9)
    write_columns(log, 10)
    assert PredictionTable(stores, "m").compact().rows == 10
    found = PredictionTable(stores, "m").read()
    assert found["prediction_id"].to_pylist() == [f"p{number}" for number in range(1, 11)]
    assert found["output_number"].to_pylist() == [float(number) for number in range(1, 11)]
    assert found["batch_rows"].to_pylist() == [1, 1, 3, 3, 3, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("bound", ["_ROWS_PER_COMMIT", "_BYTES_PER_COMMIT"])
def test_commits_are_bounded(stores, log, monkeypatch, bound):
    monkeypatch.setattr(compactor, bound, 2)
    for number in range(3):
        write_columns(log, 10 * number, 10 * number + 1)
    PredictionTable(stores, "m").compact()
    assert stores.tables.version("predictions/m") == 3
    assert len(ids_in_lake(stores)) == 6


def test_several_workers_write_segments_of_their_own(stores, log):
    other = PredictionLog(stores.local, "m", clock=stores.clock, ids=stores.ids)
    table = PredictionTable(stores, "m")
    for number in range(0, 40, 4):
        write(log, number)
        write(other, number + 1)
        if number % 8 == 0:
            table.compact()
            other.rotate()
        write_columns(log, number + 2, number + 3)
    other.close()
    table.compact()
    assert len(ids_in_lake(stores)) == len(set(ids_in_lake(stores))) == 40
    assert len(list(log.folder.glob("*.seg"))) == 1, "one worker lives"


def test_a_finished_segment_goes_when_it_is_in_the_lake(stores, log):
    write(log, 1)
    log.rotate()
    write(log, 2)
    report = PredictionTable(stores, "m").compact()
    assert (report.rows, report.segments_deleted) == (2, 1)
    assert ids_in_lake(stores) == ["p1", "p2"]


def test_a_torn_tail_is_kept_aside_and_never_read(stores, log):
    write(log, 1)
    log.rotate()
    segment = next(log.folder.glob("*.seg"))
    with segment.open("ab") as file:
        file.write(b"\x40\x00\x00\x00half")
    PredictionTable(stores, "m").compact()
    assert ids_in_lake(stores) == ["p1"]
    assert [path.suffix for path in log.folder.iterdir() if path.is_file() and path.name[0] != "."] == [".torn"]


def test_the_answer_comes_before_its_shadow(stores, log):
    log.accept(2)
    log.write([record(1, route="shadow", version=2)])
    log.write([record(1)])
    found = find_prediction(stores, "p1", models=["other", "m"])
    assert [(row["route"], row["version"]) for row in found] == [("champion", 1), ("shadow", 2)]
    assert found[0]["output_number"] == 1.0


def test_a_quote_in_an_id_is_only_a_quote(stores, log):
    write(log, 1)
    assert PredictionTable(stores, "m").find("p1' OR '1'='1") == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.serving.log.compactor import PredictionTable
stores = open_stores(Settings.load(Path(sys.argv[1]), environ={}))
stage = sys.argv[2]
tables = type(stores.tables)
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
append = tables.append
def killed_append(self, *args, **kwargs):
    if stage == "before":
        die()
    result = append(self, *args, **kwargs)
    if stage == "after":
        die()
    return result
tables.append = killed_append
if stage == "delete":
    PredictionTable._put_away = lambda self, path: die()
PredictionTable(stores, "m").compact()
"""


@pytest.mark.parametrize("stage", ["before", "after", "delete"])
def test_a_kill_at_any_stage_leaves_each_row_once(stores, log, stage, tmp_path):
    write(log, 1, 2, 3)
    write_columns(log, 5, 6)
    log.rotate()
    write_columns(log, 7)
    write(log, 4)
    child = subprocess.run([sys.executable, "-W", "ignore", "-c", _KILLED, str(tmp_path), stage], check=False)
    assert child.returncode == -signal.SIGKILL
    PredictionTable(stores, "m").compact()
    assert ids_in_lake(stores) == [f"p{number}" for number in range(1, 8)]
