"""One due scoring in a process of its own: ``python -m loopwright.loop.score_process PROJECT MODEL DUE``.

``ScoreProcess`` begins them for the controller, one at a time; one that failed is begun again after a pause that
doubles.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from loopwright.loop.exit_code import exit_code_of
from loopwright.loop.loading import load_loop
from loopwright.loop.scoring import DueScoring, request_for, scored_model
from loopwright.serving.scoring.scorer import Scorer
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from loopwright.core.clock import Clock

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 900.0
STOP_WITHIN_S = 10.0
_log = structlog.get_logger("loopwright.scoring")


class ScoreProcess:
    """Begins due scorings in processes of their own, one at a time.

    Args:
        project: The project's folder.
        clock: For the pause after a failure.
    """

    def __init__(self, project: Path, clock: Clock) -> None:
        self._project = project
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._running: DueScoring | None = None
        self._failures: dict[DueScoring, int] = {}
        self._not_before_s: dict[DueScoring, float] = {}

    def __call__(self, due: DueScoring) -> None:
        """Begin it, unless one is running or it failed just now."""
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._note(code)
        if self._clock.monotonic() < self._not_before_s.get(due, 0.0):
            return
        module = "loopwright.loop.score_process"
        command = [sys.executable, "-P", "-m", module, str(self._project), due.model, due.due.isoformat()]
        self._process = subprocess.Popen(command, cwd=self._project)  # noqa: S603 - our own module
        self._running = due
        _log.info("a scoring begins", model=due.model, due=due.due.isoformat())

    def stop(self) -> None:
        """Stop one that is running; what it committed is kept, and the next controller goes on with it."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _note(self, code: int) -> None:
        due, self._process, self._running = self._running, None, None
        if due is None or code == 0:
            return
        failures = self._failures[due] = self._failures.get(due, 0) + 1
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1))
        self._not_before_s[due] = self._clock.monotonic() + pause
        _log.error("a scoring failed; it is tried again", model=due.model, exit_code=code, pause_s=pause)


def score_due(project: Path, model: str, due: datetime) -> None:
    """Score what a due time asks for, or go on with it."""
    with Workspace.open(project) as workspace:
        declared = scored_model(load_loop(project), model)
        ended = Scorer(workspace.stores, workspace.data).score(request_for(workspace, declared, due))
    job = ended.job
    _log.info("scored", model=model, job=job.id, scored=job.scored, rejected=job.rejected, resumed=ended.resumed)


def main() -> int:
    """Score, and end with the exit code of what went wrong."""
    return exit_code_of(lambda: score_due(Path(sys.argv[1]), sys.argv[2], datetime.fromisoformat(sys.argv[3])))


if __name__ == "__main__":
    sys.exit(main())
