"""The help of the command line, as it was agreed on."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.app.cli.main import COMMANDS, main

SNAPSHOTS = Path(__file__).parent / "help"
TERMINAL = {"COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"}


def help_of(*words: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert not ended.value.code
    return said.getvalue()


@pytest.mark.parametrize("verb", ["", *COMMANDS])
def test_help(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To agree on a new text, delete its file under tests/house/help and run the test twice."""
    for name, value in TERMINAL.items():
        monkeypatch.setenv(name, value)
    path = SNAPSHOTS / f"{verb or 'loopwright'}.txt"
    text = help_of(*([verb] if verb else []))
    if not path.exists():
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(text)
        pytest.fail(f"wrote {path.name}: read it, then run again")
    assert text == path.read_text()


@pytest.mark.parametrize("verb", ["loopwright", "init"])
def test_the_installed_command_says_the_same(verb: str) -> None:
    command = [str(Path(sys.executable).parent / "loopwright"), *([verb] if verb in COMMANDS else []), "--help"]
    said = subprocess.run(command, env=os.environ | TERMINAL, capture_output=True, text=True, check=True)
    assert said.stdout == (SNAPSHOTS / f"{verb}.txt").read_text()
