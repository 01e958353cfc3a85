"""Two ``run``s at once: the second is told who is turning, and nothing is done twice."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.app.cli.main import main
from loopwright.loop.turn_log import TurnLog
from loopwright.workspace import Workspace

LOOPWRIGHT = Path(sys.executable).parent / "loopwright"
FIT = "return LinearRegression().fit(train.X, train.y)"


def start(project: Path) -> subprocess.Popen[str]:
    command = [LOOPWRIGHT, "run", "--project", project]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ask(project: Path, *words: str) -> tuple[int, str, str]:
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), pytest.raises(SystemExit) as ended:
        main([*words, "--project", str(project)])
    return ended.value.code, out.getvalue(), error.getvalue()


def assert_turned_once(project: Path) -> None:
    with Workspace.open(project) as workspace:
        assert [version.id for version in workspace.registry.versions("price")] == ["price/1"]
        assert workspace.aliases.current("price") == 1
        assert workspace.data.snapshot("parcels").rows == 200
        assert [run.status for run in workspace.runs.list()] == ["finished"]
        assert {turn.status for turn in TurnLog(workspace.stores).latest("parcels")} == {"finished"}


def test_a_second_run_is_told_who_is_turning(small_project: Path) -> None:
    gate = small_project / "gate"
    os.mkfifo(gate)
    code = (small_project / "loop.py").read_text()
    (small_project / "loop.py").write_text(code.replace(FIT, f"open({str(gate)!r}).read()\n    {FIT}"))
    first = start(small_project)
    with gate.open("w"):  # opens when the training has opened its end: the first run is in the middle
        code, out, error = ask(small_project, "run")
        assert code == 1
        assert f"Error: Process {first.pid} is turning this loop." in error
        assert "Wait for it to finish" in error
        assert "Traceback" not in error
        assert json.loads(ask(small_project, "status", "--json")[1])["turning"] is True
        assert ask(small_project, "gc")[0] == 1, "nothing is taken from a running turn"
        code, out, _ = ask(small_project, "gc", "--dry-run", "--keep", "0s")
        assert code == 0
        assert "A turn is running" in out
    out, error = first.communicate()
    assert first.returncode == 0, error
    assert "price/1 is champion" in out
    assert_turned_once(small_project)
    code, out, _ = ask(small_project, "run")
    assert code == 0
    assert "Nothing new" in out
    assert_turned_once(small_project)


def test_two_at_the_same_moment(small_project: Path) -> None:
    runs = [start(small_project), start(small_project)]
    said = [run.communicate() for run in runs]
    codes = sorted(run.returncode for run in runs)
    assert codes in ([0, 0], [0, 1]), said
    for run, (_, error) in zip(runs, said, strict=True):
        if run.returncode:
            assert "is turning this loop" in error
    assert_turned_once(small_project)
