"""A quiet project is answered without loading it, and nothing that came is ever overlooked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import loopwright as lw
from loopwright.core.clock import ManualClock
from loopwright.loop.quiet import QuietMark, note_quiet, project_digest, still_quiet
from loopwright.workspace import Workspace


@pytest.fixture
def loop() -> lw.Loop:
    made = lw.Loop("quiet")
    made.dataset("rows", source=lw.files("data/*.csv"), key="id")
    made.dataset("handed", source=lw.push(), key="id")
    return made


@pytest.fixture
def workspace(tmp_path: Path, clock: ManualClock, loop: lw.Loop) -> Iterator[Workspace]:
    (tmp_path / "loop.py").write_text("import loopwright as lw\nloop = lw.Loop('quiet')\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("id,x\n1,2\n")
    with Workspace.open(tmp_path, clock=clock) as opened:
        opened.data.ingest(loop.datasets["rows"])
        yield opened


def note(loop: lw.Loop, workspace: Workspace, *, until: timedelta | None = None) -> bool:
    settings, now = workspace.stores.settings, workspace.stores.clock.now()
    return note_quiet(
        loop,
        workspace,
        project=project_digest(settings.project, settings),
        turn_id="t",
        until=None if until is None else now + until,
    )


def quiet(workspace: Workspace) -> QuietMark | None:
    return still_quiet(workspace.stores.facts, workspace.stores.settings, now=workspace.stores.clock.now())


def test_nothing_new_is_quiet(loop: lw.Loop, workspace: Workspace) -> None:
    assert quiet(workspace) is None
    assert note(loop, workspace)
    assert quiet(workspace) == QuietMark("t", None)


def test_a_new_file_ends_it(loop: lw.Loop, workspace: Workspace) -> None:
    assert note(loop, workspace)
    (workspace.stores.settings.project / "data" / "b.csv").write_text("id,x\n2,2\n")
    assert quiet(workspace) is None


def test_a_changed_project_ends_it(loop: lw.Loop, workspace: Workspace) -> None:
    assert note(loop, workspace)
    (workspace.stores.settings.project / "helper.py").write_text("x = 1\n")
    assert quiet(workspace) is None


def test_pushed_rows_end_it(loop: lw.Loop, workspace: Workspace) -> None:
    assert note(loop, workspace)
    workspace.data.push(loop.datasets["handed"], [{"id": 1, "x": 2}])
    assert quiet(workspace) is None


def test_a_file_that_came_during_the_turn_is_not_overlooked(loop: lw.Loop, workspace: Workspace) -> None:
    (workspace.stores.settings.project / "data" / "late.csv").write_text("id,x\n3,2\n")
    assert not note(loop, workspace)
    assert quiet(workspace) is None


def test_time_ends_it(loop: lw.Loop, workspace: Workspace, clock: ManualClock) -> None:
    assert note(loop, workspace, until=timedelta(hours=1))
    assert quiet(workspace) is not None
    clock.advance(timedelta(hours=1))
    assert quiet(workspace) is None


def test_rows_in_memory_cannot_be_listed_later(workspace: Workspace) -> None:
    loop = lw.Loop("memory")
    loop.dataset("rows", source=lw.frame([{"id": 1}]), key="id")
    assert not note(loop, workspace)
