"""A process that forks a child for each erasure of a key, which kills itself on the way.

Reads lines of JSON, ``[project, stage, number]``: SIGKILL when the stage is reached for that time. A request that an
earlier one left is completed; without one, the key is asked for. Each line is answered with how the child ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.lake import Lake
from loopwright.data.versions.erase import Eraser


def erase(project: str, stage: str, number: int) -> None:
    left = number

    def reached(now: str) -> None:
        nonlocal left
        left -= now == stage
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    stores = open_stores(Settings.load(Path(project), environ={}))
    if Lake(stores).erasures("people"):
        Eraser(stores, "people", reached).complete()
    else:
        Eraser(stores, "people", reached).erase("who", ["person-7f3a9"], reason="asked", by="ann")


def main() -> None:
    for line in sys.stdin:
        child = os.fork()  # what is killed shares the imports, and nothing else
        if not child:
            try:
                erase(*json.loads(line))
            finally:
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
