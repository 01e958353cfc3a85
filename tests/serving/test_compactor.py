from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from loopwright.serving.compactor import PredictionTable, find_prediction
from loopwright.serving.prediction_log import PredictionLog
from loopwright.serving.prediction_record import PredictionRecord


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
from loopwright.serving.compactor import PredictionTable
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
    log.rotate()
    write(log, 4)
    child = subprocess.run([sys.executable, "-W", "ignore", "-c", _KILLED, str(tmp_path), stage], check=False)
    assert child.returncode == -signal.SIGKILL
    PredictionTable(stores, "m").compact()
    assert ids_in_lake(stores) == ["p1", "p2", "p3", "p4"]
