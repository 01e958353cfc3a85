"""A process that collects a project's garbage and kills itself on the way.

Run as ``python collecting.py PROJECT N``: SIGKILL right after the N-th thing that it removes from a store.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loopwright.core.clock import ManualClock
from loopwright.core.storage.facts import Facts
from loopwright.core.storage.trash import Trash
from loopwright.loop.collect import Collector
from loopwright.workspace import Workspace

YEARS = timedelta(days=900)


def main() -> None:
    left = int(sys.argv[2])

    def counted(work):
        def wrapped(*given):
            nonlocal left
            made = work(*given)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return made

        return wrapped

    Trash._move = counted(Trash._move)
    clock = ManualClock(datetime.now(UTC) + YEARS)
    with Workspace.open(Path(sys.argv[1]), clock=clock) as workspace:
        collector = Collector(workspace, timedelta(days=30))
        Facts.write = counted(Facts.write)
        collector.collect()


if __name__ == "__main__":
    main()
