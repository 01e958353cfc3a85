"""The controlling process of ``up``: ``python -m loopwright.loop.controller_process PROJECT PARENT_PID TICK_S``.

It ticks; a turn runs in a process of its own, so that a training never keeps the monitor from looking, and a thread
keeps online values fresh, so that neither does the monitor keep features waiting.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import LoopwrightError
from loopwright.core.storage.file_lock import FileLock
from loopwright.loop.controller import Controller
from loopwright.loop.exit_code import exit_code_of
from loopwright.loop.freshening import freshening_thread
from loopwright.loop.loading import load_loop
from loopwright.loop.score_process import ScoreProcess
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from loopwright.loop.decisions import DecisionRecord

_log = structlog.get_logger("loopwright.controller")


class TurnProcess:
    """Runs the turn of an approved decision in a process of its own, one at a time."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, decision: DecisionRecord) -> None:
        """Begin the turn unless one is running."""
        if self._process is not None and self._process.poll() is None:
            return
        command = [sys.executable, "-P", "-m", "loopwright.loop.turn_process", str(self._project), decision.id]
        self._process = subprocess.Popen(command, cwd=self._project)  # noqa: S603 - our own module
        _log.info("a turn begins", model=decision.model, why=decision.text)

    def wait(self) -> None:
        """Wait for a running turn to reach its end."""
        if self._process is not None:
            self._process.wait()


def control(project: Path, *, parent_pid: int, tick_s: float) -> None:
    """Tick until SIGTERM, or until the parent process ends."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # one that waits for the lock has nothing to finish
    with Workspace.open(project) as workspace, FileLock(workspace.stores.local / "controller.lock").hold():
        # a second controller waits for the lock, and takes over when this one dies
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        turns = TurnProcess(project)
        scorings = ScoreProcess(project, workspace.stores.clock)
        controller = Controller(load_loop(project), workspace, turns, scorings)
        thread = freshening_thread(controller.freshening, stop)
        while not stop.is_set() and os.getppid() == parent_pid:
            try:
                report = controller.tick()
            except LoopwrightError as error:
                _log.error("a tick failed; the next one tries again", reason=str(error))
            except Exception:  # noqa: BLE001 - whatever it is, the next tick tries again
                _log.exception("a tick failed by a fault of ours; the next one tries again")
            else:
                for signal_seen in report.signals:
                    _log.info("signal", check=signal_seen.check, version=signal_seen.version, value=signal_seen.value)
            stop.wait(tick_s)
        stop.set()
        scorings.stop()
        thread.join()


def main() -> int:
    """Control, and end with the exit code of what went wrong."""
    return exit_code_of(lambda: control(Path(sys.argv[1]), parent_pid=int(sys.argv[2]), tick_s=float(sys.argv[3])))


if __name__ == "__main__":
    sys.exit(main())
