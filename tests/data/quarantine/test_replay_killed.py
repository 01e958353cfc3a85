"""SIGKILL at every stage of a replay: afterwards every row is in the dataset or in the quarantine, exactly once."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
from tests.forks import Forks

from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest import stage
from loopwright.data.lake import Lake
from loopwright.data.quarantine.repair import Repair
from loopwright.data.sources.files import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.core.storage.stores import Stores

CHILD = """
import os, signal
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.files import files
from loopwright.data.lake import Lake
from loopwright.data.quarantine.repair import Repair
from loopwright.data.ingest import stage
from loopwright.data.quarantine import kept_out, replay

def main(project, stopped, bound):
    def killed(reached):
        if reached == stopped:
            os.kill(os.getpid(), signal.SIGKILL)

    stage.IN_MEMORY_BYTES = bound
    stores = open_stores(Settings.load(Path(project), environ={}))
    if stopped == "half swept":
        delete = stores.tables.delete
        def once(table, where):
            delete(table, where)
            os.kill(os.getpid(), signal.SIGKILL)
        stores.tables.delete = once
    if stopped == "unswept":
        replay.sweep = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
    contract = [column("x", "int"), column("y", "int", at_most=5)]
    dataset = Dataset("d", files("in/*.csv"), contract=contract)
    Lake(stores, on_stage=killed).replay(dataset, Repair(changes={"x": "replace(x, 'n', '')"}), by="ada")
"""
DATASET = Dataset("d", files("in/*.csv"), contract=[column("x", "int"), column("y", "int", at_most=5)])
STAGES = ["staged", "pending", "quarantined", "committed", "recorded", "unswept", "half swept", "swept"]
IN_MEMORY, ON_DISK = stage.IN_MEMORY_BYTES, 0
REPAIR = Repair(changes={"x": "replace(x, 'n', '')"})


def begin(lake: Lake, folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in/a.csv").write_text("x,y\n1,1\nn2,2\nn3,3\nn4,9\nnn,1\n")
    assert lake.ingest(DATASET).rows_quarantined == 4


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CHILD) as running:
        yield running


def held(lake: Lake) -> tuple[list[int], list[int]]:
    inside = sorted(lake.read(lake.snapshot("d"))["_source_row"].to_pylist())
    return inside, sorted(row.source_row for row in lake.quarantine("d").entries())


@pytest.mark.parametrize("bound", [IN_MEMORY, ON_DISK])
@pytest.mark.parametrize("reached", STAGES)
def test_a_row_is_in_the_dataset_or_in_the_quarantine(
    reached: str, bound: int, stores: Stores, tmp_path: Path, forks: Forks
) -> None:
    lake = Lake(stores)
    begin(lake, tmp_path)
    assert forks.run(tmp_path, reached, bound) == -signal.SIGKILL
    is_recorded = reached in {"recorded", "unswept", "half swept", "swept"}
    assert held(lake) == (([0, 1, 2], [3, 4]) if is_recorded else ([0], [1, 2, 3, 4]))
    lake.ingest(DATASET)  # completes it, or forgets it
    assert held(lake) in [([0], [1, 2, 3, 4]), ([0, 1, 2], [3, 4])]
    report = lake.replay(DATASET, REPAIR, by="bob")
    assert held(lake) == ([0, 1, 2], [3, 4])
    assert report.still_out == 2
    assert stores.tables.count("quarantine/d") == 2  # what was replayed is swept out, and its marks
    assert {row.arrived_at for row in lake.quarantine("d").entries()} == {lake.history("d")[-1].created_at}


def test_killed_again_and_again(stores: Stores, tmp_path: Path, forks: Forks) -> None:
    lake = Lake(stores)
    begin(lake, tmp_path)
    order = [random.Random(3).choice(STAGES[:-1]) for _ in range(4)]
    for number, reached in enumerate(order):
        if held(lake) != ([0], [1, 2, 3, 4]) and reached == "half swept":
            continue
        assert forks.run(tmp_path, reached, [IN_MEMORY, ON_DISK][number % 2]) == -signal.SIGKILL
    lake.replay(DATASET, REPAIR, by="bob")
    assert held(lake) == ([0, 1, 2], [3, 4])
