"""Garbage collection: what is needed stays, the rest goes, a dry run changes nothing, a kill leaves a whole store."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from loopwright.core.clock import ManualClock
from loopwright.core.errors import CollectedError, RefusedError, TurnInProgressError
from loopwright.core.ref import Ref
from loopwright.features.training_set import find_record
from loopwright.loop.collect import Collector
from loopwright.loop.loading import load_loop
from loopwright.loop.lock import turn_lock
from loopwright.loop.rebuild import rebuild
from loopwright.loop.restore import restore_collection, trashed
from loopwright.loop.turn import TURN_LOCK, run_turn
from loopwright.loop.turn_log import TurnLog
from loopwright.workspace import Workspace

COLLECTING = Path(__file__).parent / "collecting.py"
MONTH = timedelta(days=30)
PROJECT = """
import loopwright as lw

loop = lw.Loop("parcels")
parcels = loop.dataset(
    "parcels",
    source=lw.files("data/*.csv"),
    key="parcel_id",
    contract=[
        lw.column("parcel_id", "string"),
        lw.column("weight_kg", "float", at_least=0),
        lw.column("price", "float"),
    ],
)


@loop.model(
    "price",
    label=lw.label(parcels.price),
    features=[parcels.weight_kg],
    holdout=lw.fraction(0.3),
    metrics=["mae"],
    gates=[lw.at_most("mae", 5.0)],
)
def price(train):
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(train.X, train.y)
"""


def write_parcels(project: Path, name: str, rows: int) -> None:
    lines = [f"{name}{n},{1 + n % 60},{3 + 2 * (1 + n % 60)}" for n in range(rows)]
    (project / "data").mkdir(exist_ok=True)
    (project / "data" / f"{name}.csv").write_text("\n".join(["parcel_id,weight_kg,price", *lines, f"{name}x,-1,0\n"]))


@pytest.fixture(scope="module")
def three_turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after three turns; price/1 is archived, price/3 is champion, price/2 is kept."""
    project = tmp_path_factory.mktemp("turns")
    (project / "loop.py").write_text(PROJECT)
    with Workspace.open(project) as workspace:
        for number, name in enumerate("abc", start=1):
            write_parcels(project, name, 100 * number)
            assert run_turn(load_loop(project), workspace).models["price"]["promoted"]
            if number == 2:
                workspace.stores.tables.compact("datasets/parcels")  # what only the first two snapshots have
        workspace.registry.archive(workspace.registry.get("price/1"))
        workspace.stores.blobs.put(b"nobody knows this")
    return project


@pytest.fixture
def project(three_turns: Path, tmp_path: Path) -> Path:
    """A copy of that project."""
    return Path(shutil.copytree(three_turns, tmp_path / "project"))


@pytest.fixture
def later(project: Path):
    """The workspace, years later, so that everything is old."""
    with Workspace.open(project, clock=ManualClock(datetime.now(UTC) + timedelta(days=900))) as workspace:
        yield workspace


def content(folder: Path) -> dict[str, str]:
    """Return each file's digest, but for what merely opening SQLite touches."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def assert_kept_versions_are_whole(workspace: Workspace) -> None:
    """Every kept version loads, answers its golden rows, and has all it was made from."""
    versions = workspace.registry.versions()
    assert [version.id for version in versions] == ["price/3", "price/2"]
    for version in versions:
        loaded = workspace.registry.load(version)
        golden = loaded.golden()
        answers = loaded.predict(golden.rows(version.signature))
        np.testing.assert_allclose(answers.values, golden.outputs.values, atol=1e-4)
        assert all(workspace.stores.blobs.exists(digest) for digest in version.digests)
    assert workspace.aliases.current("price") == 3
    snapshot = workspace.data.snapshot("parcels")
    assert workspace.data.read(snapshot).num_rows == 600


def test_a_dry_run_changes_nothing(project: Path, later: Workspace) -> None:
    before = content(project)
    found = Collector(later, MONTH).look()
    assert content(project) == before
    assert {one.kind for one in found.found} >= {"archived version", "training set", "unnamed blob", "run folder"}
    assert not found.removed
    named = {one.name for one in found.found}
    assert "price/1" in named
    assert not {"price/2", "price/3"} & named
    for kept in ("price/2", "price/3"):
        digest = later.registry.get(kept).training_set.id
        assert not any(digest[:12] in name for name in named), "what a kept version was trained on is kept"
    assert found.size_bytes == sum(one.size_bytes or 0 for one in found.found) > 0


def test_nothing_young_goes(project: Path) -> None:
    with Workspace.open(project) as workspace:
        found = Collector(workspace, MONTH).look()
        assert found.found == ()
        assert Collector(workspace, timedelta(0)).look().size_bytes > 0


def test_what_was_found_goes_and_the_rest_stays(project: Path, later: Workspace) -> None:
    looked = Collector(later, MONTH).look()
    removed = Collector(later, MONTH).collect()
    assert removed.removed
    assert {(one.kind, one.name) for one in removed.found} == {(one.kind, one.name) for one in looked.found}
    assert {one.kind for one in Collector(later, MONTH).look().found} <= {"table files"}
    assert not any(later.stores.blobs.exists(digest) for digest in later.registry.get("price/1").digests[:1])
    assert_kept_versions_are_whole(later)
    again = run_turn(load_loop(project), later)
    assert again.nothing_new
    report = rebuild(later, later.registry.get("price/2"))
    assert report.equal_predictions


def test_a_training_whose_bytes_went_is_not_taken_for_one_that_is_there(project: Path, later: Workspace) -> None:
    def reusable() -> list[object]:
        log = TurnLog(later.stores)
        steps = [step for turn in log.latest("parcels") for step in log.steps(turn.id)]
        return [step.output["run_id"] for step in steps if step.name == "train price" and step.key is not None]

    gone = later.registry.get("price/1").run_id
    assert gone in reusable()
    Collector(later, MONTH).collect()
    assert len(reusable()) == 2
    assert gone not in reusable()


def test_a_running_turn_keeps_what_it_may_need(project: Path, later: Workspace) -> None:
    with turn_lock(later.stores.local / TURN_LOCK):
        found = Collector(later, MONTH).look()
        assert not {one.kind for one in found.found} & {"archived version", "training set", "unnamed blob"}
        assert any("A turn is running" in sentence for sentence in found.left_alone)
        with pytest.raises(TurnInProgressError, match=str(os.getpid())):
            Collector(later, MONTH).collect()


def test_a_collected_training_set_needs_its_snapshots_no_more(project: Path) -> None:
    with Workspace.open(project) as workspace:
        workspace.registry.archive(workspace.registry.get("price/2"))
        before = workspace.data.read("parcels@2").num_rows
    with Workspace.open(project, clock=ManualClock(datetime.now(UTC) + timedelta(days=900))) as workspace:
        looked = Collector(workspace, MONTH).look()
        made = Collector(workspace, MONTH).collect()
        assert {(one.kind, one.name) for one in made.found} == {(one.kind, one.name) for one in looked.found}
        (files,) = [one for one in made.found if one.name == "datasets/parcels"]
        assert "versions 1 to 2 go with them" in files.why
        assert [one.is_collected for one in workspace.data.history("parcels")] == [False, True, True]
        with pytest.raises(CollectedError) as caught:
            workspace.data.snapshot("parcels@2")
        assert f"loopwright data restore {made.id}" in str(caught.value.hint)
        assert "or read parcels@4" in str(caught.value.hint)
        restore_collection(workspace, made.id)
        assert workspace.data.read("parcels@2").num_rows == before
        assert not any(one.is_collected for one in workspace.data.history("parcels"))
        assert rebuild(workspace, workspace.registry.get("price/2")).equal_predictions


@pytest.mark.parametrize("what", ["model:price/1", "model:price", "training_set"])
def test_a_hold_keeps_what_it_names_and_what_that_was_made_from(what: str, project: Path) -> None:
    with Workspace.open(project) as workspace:
        first = workspace.registry.get("price/1")
        workspace.registry.archive(workspace.registry.get("price/2"))
        subject = first.training_set if what == "training_set" else Ref.parse(what)
        workspace.data.holds.place("case", subject, reason="law suit", by="legal")
    with Workspace.open(project, clock=ManualClock(datetime.now(UTC) + timedelta(days=900))) as workspace:
        found = {one.name for one in Collector(workspace, MONTH).collect().found}
        assert ("price/1" in found) == (what == "training_set")
        assert ("price/2" in found) == (what != "model:price")
        assert not any(first.training_set.id[:12] in name for name in found)
        assert ("datasets/parcels" in found) == (what != "model:price")  # what only the second snapshot has
        assert workspace.data.read("parcels@1").num_rows == 100
        record = find_record(workspace.stores, first.training_set.id)
        assert record is not None
        assert record.train_path(workspace.stores).exists()
        if what == "model:price/1":
            assert rebuild(workspace, first).equal_predictions
        with pytest.raises(RefusedError, match=r"case.*legal.*law suit"):
            workspace.data.erase("parcels", "parcel_id", ["a3"], reason="asked", by="ann")


@pytest.fixture(scope="module")
def runner() -> Iterator[Callable[[Path, str, int], int]]:
    """Collect, or restore a collection, in a child that is killed after so many changes; return how it ended."""
    command = [sys.executable, str(COLLECTING)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(project: Path, collection: str, number: int) -> int:
            print(json.dumps([str(project), collection, number]), file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield run
        process.stdin.close()


def at_last(run: Callable[[Path, str, int], int], project: Path, collection: str, steps: Iterator[int]) -> int:
    """Do it again and again until it was not killed; return how often it was. After each death the store is whole."""
    deaths = 0
    while (ended := run(project, collection, next(steps))) != 0:
        assert ended == -signal.SIGKILL
        deaths += 1
        with Workspace.open(project) as workspace:
            assert_kept_versions_are_whole(workspace)
    return deaths


@pytest.mark.parametrize("seed", range(2))
def test_killed_anywhere(seed: int, project: Path, runner: Callable[[Path, str, int], int]) -> None:
    """Whatever it had done when it died, the store is whole; the next run ends it, and all of it comes back."""
    before = {name: digest for name, digest in content(project).items() if "store" in name or "training_sets" in name}
    draws = random.Random(seed)
    assert at_last(runner, project, "", iter(lambda: draws.randint(2, 9), 0)) >= 2
    with Workspace.open(project, clock=ManualClock(datetime.now(UTC) + timedelta(days=900))) as workspace:
        assert_kept_versions_are_whole(workspace)
        assert {one.kind for one in Collector(workspace, MONTH).look().found} <= {"table files"}
        kept = [one for one in trashed(workspace) if one.status == "kept" and one.items]
        assert not any(workspace.stores.blobs.exists(one) for one in workspace.registry.get("price/1").digests[:1])
    assert sum(at_last(runner, project, one.id, itertools.count(1)) for one in kept) >= 2
    after = {name: digest for name, digest in content(project).items() if "store" in name or "training_sets" in name}
    assert {name: digest for name, digest in after.items() if name in before} == before
    with Workspace.open(project) as workspace:
        assert {one.status for one in trashed(workspace) if one.items} <= {"restored"}
        assert find_record(workspace.stores, workspace.registry.get("price/1").training_set.id) is not None
        assert rebuild(workspace, workspace.registry.get("price/1")).equal_predictions
