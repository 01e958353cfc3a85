"""SIGKILL at every stage of an ingest: afterwards every row is there exactly once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.forks import Forks

from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest import stage
from loopwright.data.ingest.records import ingests
from loopwright.data.lake import Lake
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopwright.core.storage.stores import Stores

    Kill = Callable[[str, str, int], None]

CHILD = """
import os, signal
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.files import files
from loopwright.data.sources.push import push
from loopwright.data.lake import Lake
from loopwright.data.ingest import stage

def main(project, stopped, what, bound):
    def killed(reached):
        if reached == stopped:
            os.kill(os.getpid(), signal.SIGKILL)

    stage.IN_MEMORY_BYTES = bound
    lake = Lake(open_stores(Settings.load(Path(project), environ={})), on_stage=killed)
    contract = [column("x", "int")]
    if what == "files":
        lake.ingest(Dataset("d", files("in/*.csv"), contract=contract))
    else:
        lake.push(Dataset("p", push(), contract=contract), [{"x": 1}, {"x": "bad"}], batch_id="one")
"""
STAGES = ["planned", "staged", "pending", "quarantined", "committed", "recorded"]
IN_MEMORY, ON_DISK = stage.IN_MEMORY_BYTES, 0  # the bound beyond which judged rows lie in files
FILES = Dataset("d", files("in/*.csv"), contract=[column("x", "int")])
PUSH = Dataset("p", push(), contract=[column("x", "int")])


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CHILD) as running:
        yield running


@pytest.fixture
def kill_at(forks: Forks, tmp_path: Path) -> Kill:
    def kill(stage: str, what: str, bound: int) -> None:
        assert forks.run(tmp_path, stage, what, bound) == -signal.SIGKILL

    return kill


def assert_once(lake: Lake, name: str, good: list[int], bad: list[object]) -> None:
    snapshot = lake.snapshot(name)
    assert sorted(lake.read(snapshot)["x"].to_pylist()) == good
    assert snapshot.rows == len(good)
    assert sorted(row.raw["x"] for row in lake.quarantine(name).entries()) == bad  # type: ignore[index]


@pytest.mark.parametrize("bound", [IN_MEMORY, ON_DISK])
@pytest.mark.parametrize("stage", STAGES)
def test_files_are_ingested_exactly_once(stage: str, bound: int, stores: Stores, tmp_path: Path, kill_at: Kill) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("x\n1\n2\nbad\n")
    kill_at(stage, "files", bound)
    lake = Lake(stores)
    if stage != "recorded":
        assert lake.history("d") == []  # what is not recorded is not visible
    (tmp_path / "in/b.csv").write_text("x\n3\nworse\n")
    assert lake.has_new(FILES)
    report = lake.ingest(FILES)
    assert report.rows_read == (2 if stage == "recorded" else 5)
    assert_once(lake, "d", [1, 2, 3], ["bad", "worse"])
    assert lake.ingest(FILES).rows_read == 0
    assert_once(lake, "d", [1, 2, 3], ["bad", "worse"])
    assert not (tmp_path / ".loopwright/ingest/d/manifest.json").exists()


@pytest.mark.parametrize("stage", ["pending", "quarantined", "committed"])
def test_a_lost_stage_loses_and_doubles_nothing(stage: str, stores: Stores, tmp_path: Path, kill_at: Kill) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("x\n1\n2\nbad\n")
    kill_at(stage, "files", ON_DISK)
    shutil.rmtree(tmp_path / ".loopwright/ingest")
    lake = Lake(stores)
    lake.ingest(FILES)
    assert_once(lake, "d", [1, 2], ["bad"])
    with stores.facts.read() as connection:
        found = connection.execute(sa.select(ingests.c.status).order_by(ingests.c.number)).scalars().all()
    assert found == (["done"] if stage == "committed" else ["abandoned", "done"])


@pytest.mark.parametrize("bound", [IN_MEMORY, ON_DISK])
@pytest.mark.parametrize("stage", STAGES)
def test_a_pushed_batch_is_there_once_when_it_is_repeated(
    stage: str, bound: int, stores: Stores, tmp_path: Path, kill_at: Kill
) -> None:
    kill_at(stage, "push", bound)
    lake = Lake(stores)
    for _ in range(2):
        report = lake.push(PUSH, [{"x": 1}, {"x": "bad"}], batch_id="one")
        assert (report.rows_read, report.rows_accepted, report.rows_quarantined) == (2, 1, 1)
    assert_once(lake, "p", [1], ["bad"])


@pytest.mark.parametrize("bound", [IN_MEMORY, ON_DISK])
def test_killed_again_and_again(bound: int, stores: Stores, tmp_path: Path, kill_at: Kill) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("x\n1\n2\nbad\n")
    for reached in ("pending", "quarantined", "quarantined", "committed"):
        kill_at(reached, "files", bound)
    lake = Lake(stores)
    lake.ingest(FILES)
    assert_once(lake, "d", [1, 2], ["bad"])


@pytest.mark.parametrize("reached", ["merged", "compacted"])
def test_a_kill_while_small_files_are_merged(reached: str, stores: Stores, tmp_path: Path, kill_at: Kill) -> None:
    lake = Lake(stores)
    for number in range(63):  # the commit after these is merged with them
        lake.push(PUSH, [{"x": 10 + number}])
    pinned = lake.snapshot("p")
    kill_at(reached, "push", IN_MEMORY)
    assert_once(lake, "p", [1, *range(10, 73)], ["bad"])
    assert lake.snapshot("p").version == pinned.version + 1  # merging makes no snapshot
    assert lake.scan_sql(lake.snapshot("p")).count(".parquet") == (64 if reached == "merged" else 1)
    assert lake.push(PUSH, [{"x": 1}, {"x": "bad"}], batch_id="one").rows_accepted == 1
    lake.push(PUSH, [{"x": 99}])
    assert_once(lake, "p", [1, *range(10, 73), 99], ["bad"])
    assert sorted(lake.read(pinned)["x"].to_pylist()) == list(range(10, 73))
    lake.compact("p")
    assert lake.scan_sql(lake.snapshot("p")).count(".parquet") == 1
    assert_once(lake, "p", [1, *range(10, 73), 99], ["bad"])
    assert lake.compact("p") == 0


def test_processes_that_push_at_once_lose_nothing(stores: Stores, tmp_path: Path) -> None:
    script = (
        CHILD.split("def main", maxsplit=1)[0]
        + "import sys\n"
        + (
            "lake = Lake(open_stores(Settings.load(Path(sys.argv[1]), environ={})))\n"
            "data = Dataset('p', push(), key='x')\n"
            "for n in range(5): lake.push(data, [{'x': int(sys.argv[2]) * 100 + n}])\n"
        )
    )
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(number)], env=os.environ | {"N": "1"})
        for number in range(3)
    ]
    assert [child.wait() for child in children] == [0, 0, 0]
    lake = Lake(stores)
    found = sorted(lake.read(lake.snapshot("p"))["x"].to_pylist())
    assert json.dumps(found) == json.dumps([number * 100 + n for number in range(3) for n in range(5)])
    assert len(lake.history("p")) == 15
