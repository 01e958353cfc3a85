"""The help of the command line, as it was agreed on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.app.cli.main import COMMANDS

SNAPSHOTS = Path(__file__).parent / "help"


def help_of(*words: str) -> str:
    environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"}
    command = [str(Path(sys.executable).parent / "loopwright"), *words, "--help"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("verb", ["", *COMMANDS])
def test_help(verb: str) -> None:
    """To agree on a new text, delete its file under tests/house/help and run the test twice."""
    path = SNAPSHOTS / f"{verb or 'loopwright'}.txt"
    text = help_of(*([verb] if verb else []))
    if not path.exists():
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(text)
        pytest.fail(f"wrote {path.name}: read it, then run again")
    assert text == path.read_text()
