from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import loopwright as lw
from loopwright.core.clock import ManualClock
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import Stores
from loopwright.loop import quiet
from loopwright.loop.project import Loop
from loopwright.loop.quiet import QuietMark, note_quiet, project_digest, still_quiet
from loopwright.loop.step import StepEvent
from loopwright.loop.turn import run_turn
from loopwright.registry.trail import aliases
from loopwright.workspace import Workspace

Change = Callable[[Path], object]


@pytest.fixture
def workspace(stores: Stores) -> Workspace:
    return Workspace(stores)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    (tmp_path / "loop.py").write_text("# a project\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("n\n1\n2\n")
    declared = Loop("parcels")
    declared.dataset("parcels", source=lw.files("data/*.csv"))
    declared.dataset("pushed", source=lw.push())
    return declared


def turn(loop: Loop, workspace: Workspace, during: Callable[[], object] = lambda: None) -> bool:
    """Turn once, change something between the ingest and the end, and return whether the mark was left."""
    settings = workspace.stores.settings
    before = project_digest(settings.project, settings)

    def listen(event: StepEvent) -> None:
        if (event.step, event.kind) == ("ingest pushed", "finished"):
            during()

    outcome = run_turn(loop, workspace, listener=listen)
    return note_quiet(loop, workspace, project=before, turn=outcome.turn, until=None)


def mark_of(stores: Stores) -> QuietMark | None:
    return still_quiet(stores.facts, stores.settings, now=stores.clock.now())


def test_nothing_is_quiet_before_the_first_turn(stores: Stores) -> None:
    assert mark_of(stores) is None


def test_after_a_turn_it_is_quiet_and_says_since_when(loop: Loop, workspace: Workspace, clock: ManualClock) -> None:
    settings = workspace.stores.settings
    before = project_digest(settings.project, settings)
    done = run_turn(loop, workspace)
    assert note_quiet(loop, workspace, project=before, turn=done.turn, until=None)
    clock.advance(timedelta(days=400))
    assert mark_of(workspace.stores) == QuietMark(done.turn.id, None)


def test_time_alone_ends_the_quiet(loop: Loop, workspace: Workspace, clock: ManualClock) -> None:
    settings = workspace.stores.settings
    due = clock.now() + timedelta(hours=2)
    before = project_digest(settings.project, settings)
    assert note_quiet(loop, workspace, project=before, turn=run_turn(loop, workspace).turn, until=due)
    clock.advance(timedelta(hours=2) - timedelta(microseconds=1))
    assert mark_of(workspace.stores) is not None
    clock.advance(timedelta(microseconds=1))
    assert mark_of(workspace.stores) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda project: (project / "data" / "b.csv").write_text("n\n3\n"),
        lambda project: (project / "data" / "a.csv").write_text("n\n1\n2\n3\n"),
        lambda project: (project / "data" / "a.csv").unlink(),
        lambda project: os.utime(project / "data" / "a.csv", ns=(1, 1)),
        lambda project: (project / "loop.py").write_text("# another project\n"),
        lambda project: (project / "more.py").write_text(""),
        lambda project: (project / "loop.py").rename(project / "other.py"),
    ],
    ids=["new file", "longer file", "no file", "touched file", "edited code", "new code", "renamed code"],
)
def test_whatever_a_turn_reads_ends_the_quiet(loop: Loop, workspace: Workspace, tmp_path: Path, change: Change) -> None:
    assert turn(loop, workspace)
    assert mark_of(workspace.stores) is not None
    change(tmp_path)
    assert mark_of(workspace.stores) is None


def test_what_no_turn_reads_does_not(loop: Loop, workspace: Workspace, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    for folder in (tmp_path / ".hidden", environment, tmp_path / "__pycache__", tmp_path / "notes"):
        folder.mkdir()
    (environment / "pyvenv.cfg").write_text("")
    assert turn(loop, workspace)
    for name in (".hidden/a.py", "env/site.py", "__pycache__/a.py", "notes/read.txt", ".a.py"):
        (tmp_path / name).write_text("anything")
    assert mark_of(workspace.stores) is not None


def test_another_setting_or_package_ends_the_quiet(
    loop: Loop, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = workspace.stores
    assert turn(loop, workspace)
    changed = Settings.load(tmp_path, environ={"LOOPWRIGHT_TRAINING_TIME": "17m"})
    assert still_quiet(stores.facts, changed, now=stores.clock.now()) is None
    assert mark_of(stores) is not None
    monkeypatch.setattr(quiet, "installed_packages", lambda: {"scikit-learn": "99.0"})
    assert mark_of(stores) is None


def test_pushed_rows_end_the_quiet(loop: Loop, workspace: Workspace) -> None:
    assert turn(loop, workspace)
    workspace.data.push(loop.datasets["pushed"], pd.DataFrame({"n": [1]}))
    assert mark_of(workspace.stores) is None
    assert turn(loop, workspace)
    assert mark_of(workspace.stores) is not None


def test_an_alias_moved_by_hand_ends_the_quiet(loop: Loop, workspace: Workspace) -> None:
    stores = workspace.stores
    assert turn(loop, workspace)
    row = {"model": "price", "alias": "champion", "version": 1, "move": 1, "moved_at": stores.clock.now()}
    with stores.facts.write() as connection:
        connection.execute(sa.insert(aliases).values(row))
    assert mark_of(stores) is None


def test_a_file_that_comes_during_the_turn_is_not_overlooked(loop: Loop, workspace: Workspace, tmp_path: Path) -> None:
    assert not turn(loop, workspace, lambda: (tmp_path / "data" / "b.csv").write_text("n\n3\n"))
    assert mark_of(workspace.stores) is None
    assert turn(loop, workspace)


def test_rows_pushed_during_the_turn_are_not_overlooked(loop: Loop, workspace: Workspace) -> None:
    pushed = loop.datasets["pushed"]
    assert not turn(loop, workspace, lambda: workspace.data.push(pushed, pd.DataFrame({"n": [1]})))
    assert mark_of(workspace.stores) is None
    assert turn(loop, workspace)


def test_an_edit_during_the_turn_is_not_overlooked(loop: Loop, workspace: Workspace, tmp_path: Path) -> None:
    turn(loop, workspace, lambda: (tmp_path / "loop.py").write_text("# edited while it turned\n"))
    assert mark_of(workspace.stores) is None


def test_a_turn_of_fewer_models_leaves_no_mark(loop: Loop, workspace: Workspace) -> None:
    done = run_turn(loop, workspace)
    parcels = loop.datasets["parcels"]
    parts = {"label": lw.label(parcels.n), "features": [parcels.m], "holdout": lw.fraction(0.2), "metrics": ["mae"]}
    loop.model("m", **parts)(lambda train: train)
    assert not note_quiet(loop, workspace, project="", turn=done.turn, until=None)
    assert note_quiet(loop, workspace, project="", turn=replace(done.turn, models=("m",)), until=None)


def test_rows_in_memory_leave_no_mark(loop: Loop, workspace: Workspace) -> None:
    loop.dataset("memory", source=lw.frame(pd.DataFrame({"n": [1]})))
    assert not turn(loop, workspace)


contents = st.dictionaries(
    st.sampled_from(["loop.py", "a.py", "sub/b.py", "sub/deeper/c.py"]), st.binary(max_size=8), min_size=1
)


@given(contents, contents)
def test_the_digest_is_the_same_exactly_for_the_same_files(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        settings = Settings.load(project, environ={})
        digests = []
        for files in (one, other):
            for path in [*project.rglob("*.py")]:
                path.unlink()
            for relative, content in files.items():
                (project / relative).parent.mkdir(parents=True, exist_ok=True)
                (project / relative).write_bytes(content)
            digests.append(project_digest(project, settings))
        assert (digests[0] == digests[1]) == (one == other)
