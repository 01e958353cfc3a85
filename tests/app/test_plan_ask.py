"""``loopwright plan --ask``: in a real terminal, with a wrong answer on the way; without one it is refused."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from loopwright.planning.questions import QUESTIONS
from loopwright.planning.workload_file import read_workload


def test_without_a_terminal_there_is_nobody_to_ask(bare: Callable[..., object], tmp_path: Path) -> None:
    said = bare("plan", str(tmp_path / "workload.toml"), "--ask")
    assert said.code == 2
    assert "--ask needs a terminal" in said.error
    assert "examples/plans" in said.error


def test_a_person_answers_and_the_file_can_be_run_again(tmp_path: Path) -> None:
    answers = {"name": "shop", "clouds": "gcp", "per_day": "lots\n200k/day", "peak": "1/s\n9/s", "mean": "30ms"}
    keys = "".join(f"{answers.get(one.key, '')}\n" for one in QUESTIONS)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "loopwright.app.cli.main", "plan", "shop.toml", "--ask", "--draws", "200"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, keys.encode())
        said = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        assert process.wait(60) == 0, said.decode()
    os.close(ours)
    text = said.decode()
    assert "'lots' is no count" in text
    assert "lies below the mean" in text
    assert "shop: $" in text
    found = read_workload(tmp_path / "shop.toml").workload
    assert (found.name, found.clouds, found.peak_rps, found.requests_per_day) == ("shop", ("gcp",), 9.0, 200_000.0)
