"""A second controller waits for the first, and ends at once when it is asked to."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.core.settings import Settings
from loopwright.core.storage.file_lock import FileLock

PROJECT = """
import loopwright as lw

loop = lw.Loop("idle")
"""


def _waits(process: subprocess.Popen[bytes]) -> bool:
    """Say whether the kernel has the process in line for a lock."""
    return any(
        "->" in line and str(process.pid) in line.split() for line in Path("/proc/locks").read_text().splitlines()
    )


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="Only Linux tells who waits for a lock.")
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_one_that_waits_ends_when_asked(tmp_path: Path, asked: signal.Signals) -> None:
    (tmp_path / "loop.py").write_text(PROJECT)
    home = Settings.load(tmp_path, environ={}).home
    with FileLock(home / "controller.lock").hold():
        command = [
            sys.executable,
            "-P",
            "-m",
            "loopwright.loop.controller_process",
            str(tmp_path),
            str(os.getpid()),
            "9",
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            while not _waits(process):
                assert process.poll() is None
                select.select([], [], [], 0.01)
            process.send_signal(asked)
            assert process.wait(30) == -asked
            assert process.stderr is not None
            assert process.stderr.read() == b""
