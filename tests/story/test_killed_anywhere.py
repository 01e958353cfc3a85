"""SIGKILL at every boundary of a step, and at random calls inside: the same turn is finished, everything once."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.forks import Forks

from loopwright.loop.turn_log import TurnLog
from loopwright.workspace import Workspace

STEPS = ("ingest parcels", "online zone_mean", "training set price", "train price", "register price", "evaluate price")
MOST_ATTEMPTS = 40


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks("from tests.story.killed_turn import main\n") as running:
        yield running


@pytest.fixture
def turn(forks: Forks, project: Path) -> Callable[[str, int], int]:
    def run(kind: str, limit: int) -> int:
        ended = forks.run(project, kind, limit)
        assert ended in (0, -signal.SIGKILL)
        return ended

    return run


def assert_everything_once(project: Path) -> None:
    with Workspace.open(project) as workspace:
        (record,) = TurnLog(workspace.stores).latest("parcels")
        assert record.status == "finished"
        steps = TurnLog(workspace.stores).steps(record.id)
        assert [step.name for step in steps] == [*STEPS, "release price"]
        assert {step.status for step in steps} <= {"finished", "reused"}
        snapshot = workspace.data.snapshot("parcels")
        rows = workspace.data.read(snapshot, columns=["parcel_id"]).column("parcel_id").to_pylist()
        assert len(rows) == len(set(rows)) == 360
        assert workspace.data.quarantine("parcels").rows == 1
        (version,) = workspace.registry.versions("price")
        assert version.id == "price/1"
        assert workspace.aliases.current("price") == 1
        assert len(workspace.evaluation.records.verdicts(version.ref)) == 1
        assert len(workspace.aliases.history("price")) == 1
        finished = [run for run in workspace.runs.list() if run.status == "finished"]
        assert version.run_id in {run.id for run in finished}
        assert "running" not in {run.status for run in workspace.runs.list()}, "who was killed is put on record"
        assert workspace.registry.load(version).predict is not None


def test_killed_at_every_boundary(project: Path, turn: Callable[[str, int], int]) -> None:
    """Each attempt dies right after the first step it runs has begun, the next one right after one has finished."""
    for attempt in range(MOST_ATTEMPTS):
        if turn("event", 1 + attempt % 2) == 0:
            break
    assert attempt >= 2 * len(STEPS)
    assert_everything_once(project)


@pytest.mark.parametrize("seed", range(2))
def test_killed_inside(project: Path, turn: Callable[[str, int], int], seed: int) -> None:
    """Attempts die at random calls, from a few to thousands into what is left to do."""
    chance = random.Random(seed)
    deaths = 0
    for _ in range(MOST_ATTEMPTS):
        if turn("call", round(10 ** chance.uniform(1, 4.2))) == 0:
            break
        deaths += 1
        if deaths == 8:
            assert turn("call", 0) == 0
            break
    assert deaths > 0
    assert_everything_once(project)
