"""Jobs that are killed: wherever it was, the same request ends with each row once."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.compute_local import LocalCompute
from loopwright.data.lake import Lake
from loopwright.serving.log.compactor import PredictionTable
from loopwright.serving.scoring.destination import LakeTable
from loopwright.serving.scoring.job import ScoreRequest
from loopwright.serving.scoring.scorer import Scorer
from loopwright.serving.scoring.source import FileRows

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("forks", HERE.parents[1] / "forks.py")
forks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(forks)

ROWS, PART_ROWS = 90, 45  # two parts
CODE = """
import os, signal, sys, types
from pathlib import Path
import onnxruntime, sklearn.ensemble
from loopwright.core.compute_local import LocalCompute
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.lake import Lake
from loopwright.serving.scoring.destination import Folder, LakeTable
from loopwright.serving.scoring.job import ScoreRequest
from loopwright.serving.scoring.part_scoring import PartScoring
from loopwright.serving.scoring.scorer import Scorer
from loopwright.serving.scoring.source import FileRows

def main(project, folder, number):
    left = number
    def die(stage):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    killer = types.ModuleType("killer")
    killer.open_scoring = lambda setup: PartScoring(open_stores(setup.settings), setup.job, die)
    sys.modules["killer"] = killer
    stores = open_stores(Settings.load(Path(project), environ={}))
    destination = Folder(Path(folder)) if folder else LakeTable("eta")
    request = ScoreRequest("eta", FileRows("in/*"), destination, log=True, part_rows=45)
    scorer = Scorer(stores, Lake(stores), compute=LocalCompute(0), entry="killer:open_scoring", on_stage=die)
    return [scorer.score(request).nothing_new, number - left]
"""


def prepare(project: Path, make) -> None:
    rows = make.numbers(ROWS)
    bad = pa.array([None if row % 10 == 3 else 1.0 for row in range(ROWS)])
    (project / "in").mkdir()
    pq.write_table(rows.set_column(2, "x0", bad), project / "in/rows.parquet", row_group_size=15)


def check(stores, job_rows: list[int]) -> None:
    assert sorted(job_rows) == [row for row in range(ROWS) if row % 10 != 3]
    logged = PredictionTable(stores, "eta").read()["prediction_id"].to_pylist()
    assert len(set(logged)) == len(logged) == len(job_rows)
    (job,) = Scorer(stores, Lake(stores)).jobs.latest()
    assert (job.state, job.rows, job.scored, job.rejected) == ("done", ROWS, ROWS * 9 // 10, ROWS // 10)


def test_a_job_killed_at_each_stage_scores_each_row_once(template, tmp_path, make):
    with forks.Forks(CODE) as processes:
        stage, code = 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            stage += 1
            project = Path(shutil.copytree(template, tmp_path / f"project-{stage}"))
            prepare(project, make)
            folder = project / "out" if stage % 2 else ""  # files and the lake in turn
            code = processes.run(project, folder, stage)
            (said,) = processes.together([project, folder, 0])
            assert said[0] is (code == 0 or stage == 14), "what was done is not done again"
            stores = make.opened(project)
            if folder:
                files = sorted((project / "out").glob("part-*.parquet"))
                check(stores, [row for file in files for row in pq.read_table(file)["row"].to_pylist()])
                assert json.loads((project / "out/_manifest.json").read_text())["scored"] == ROWS * 9 // 10
                assert not list((project / "out").glob(".*.tmp"))
            else:
                check(stores, stores.tables.read("scores/eta")["row"].to_pylist())
                assert stores.tables.count("score_rejects/eta") == ROWS // 10
            assert not (project / ".loopwright/scoring" / Scorer(stores, Lake(stores)).jobs.latest()[0].id).exists()
            stores.close()
    assert stage == 15, "14 stages: opened, prepared, planned, five per part, finished"


def test_a_killed_worker_is_replaced_and_its_part_done_again(project, scored, make, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
    prepare(project, make)
    (project / "kill-at").write_text("logged")
    scorer = Scorer(scored, Lake(scored), compute=LocalCompute(1), entry="killed_worker:open_scoring")
    request = ScoreRequest("eta", FileRows("in/*"), LakeTable("eta"), log=True, part_rows=PART_ROWS)
    scorer.score(request)
    assert (project / "killed").exists()
    check(scored, scored.tables.read("scores/eta")["row"].to_pylist())
