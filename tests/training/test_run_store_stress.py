"""Sixteen processes write to the record of runs at once: no error, nothing lost, order kept."""

from __future__ import annotations

from pathlib import Path

from tests.forks import Forks

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.training.run_store import RunStore

PROCESSES, WRITES = 16, 1000
WRITER = """
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.training.run import RunStart
from loopwright.training.run_store import RunStore

def main(project, number, writes):
    stores = open_stores(Settings.load(Path(project), environ={}))
    runs = RunStore(stores)
    run = runs.create(RunStart(model=f"m{number}"))
    for step in range(writes - 2):
        runs.log_metric(run, "loss", float(step), step=step)
    runs.finish(run, "finished")
    stores.close()
"""


def test_sixteen_processes_write_a_thousand_times_each(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, environ={})
    open_stores(settings).close()
    with Forks(WRITER) as forks:
        forks.together(*((tmp_path, number, WRITES) for number in range(PROCESSES)))
    stores = open_stores(settings)
    runs = RunStore(stores)
    found = runs.list(limit=100)
    assert {run.model for run in found} == {f"m{number}" for number in range(PROCESSES)}
    for run in found:
        points = runs.curve(run.id, "loss")
        assert [point.step for point in points] == list(range(WRITES - 2))
        assert [point.value for point in points] == [float(step) for step in range(WRITES - 2)]
        assert run.status == "finished"
    stores.close()
