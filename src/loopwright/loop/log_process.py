"""Carries what the servers of this machine have logged into the lake: ``log_process PROJECT PARENT_PID EVERY_S``.

On the controller's machine its monitor does this. On others (a pod that only serves, a machine of a group) nobody
would, so there this process runs beside the server, on the same ``.loopwright`` folder, and does it once more when it
is asked to end. It should end after the server, as a Kubernetes sidecar does; what a killed one leaves behind, the next
one moves.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import structlog

from loopwright.core.errors import LoopwrightError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.loop.exit_code import exit_code_of
from loopwright.loop.loading import load_loop
from loopwright.serving.log.compactor import PredictionTable

_log = structlog.get_logger("loopwright.log")
EVERY_S = 10.0
_LAST_TRIES = 3


def carry_log(project: Path, *, parent_pid: int, every_s: float = EVERY_S) -> None:
    """Move logged predictions into the lake until SIGTERM, or until the parent process ends; then once more."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    loop = load_loop(project)
    stores = open_stores(Settings.load(project))
    try:
        tables = [PredictionTable(stores, name) for name, model in loop.models.items() if model.online is not None]
        while not stop.is_set() and os.getppid() == parent_pid:
            _carry(tables)
            stop.wait(every_s)
        for _ in range(_LAST_TRIES):
            if _carry(tables):
                return
    finally:
        stores.close()


def _carry(tables: list[PredictionTable]) -> bool:
    """Move what there is; return whether all of it could be."""
    done = True
    for table in tables:
        try:
            table.compact()
        except LoopwrightError as error:
            done = False
            _log.error("the log could not be moved; it stays where it is", model=table.model, reason=error.message)
    return done


def main() -> int:
    """Carry, and end with the exit code of what went wrong."""
    every_s = float(sys.argv[3]) if len(sys.argv) > 3 else EVERY_S
    return exit_code_of(lambda: carry_log(Path(sys.argv[1]), parent_pid=int(sys.argv[2]), every_s=every_s))


if __name__ == "__main__":
    sys.exit(main())
