"""The same job on a Ray of this machine."""

from __future__ import annotations

import importlib.util

import pyarrow.parquet as pq
import pytest

from loopwright.core.computes import open_compute
from loopwright.data.lake import Lake
from loopwright.serving.scoring.scorer import Scorer
from loopwright.serving.scoring.source import FileRows

if importlib.util.find_spec("ray") is None:
    pytest.skip("the extra ray is not installed", allow_module_level=True)


def test_a_job_is_carried_out_by_actors(project, scored, request_of, make):
    pq.write_table(make.numbers(400), project / "in.parquet", row_group_size=100)
    compute = open_compute("ray://local", workers=1)
    try:
        job = Scorer(scored, Lake(scored), compute=compute).score(request_of(FileRows("in.parquet"), part_rows=100)).job
    finally:
        compute.close()
    assert (job.parts, job.scored) == (4, 400)
    assert sorted(scored.tables.read("scores/eta")["row"].to_pylist()) == list(range(400))
