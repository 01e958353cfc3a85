"""A process that erases a key and kills itself on the way.

Run as ``python erasing.py PROJECT STAGE N``: SIGKILL when the stage is reached for the N-th time. A request that an
earlier process left is completed; without one, the key is asked for.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.lake import Lake
from loopwright.data.versions.erase import Eraser


def main() -> None:
    left = int(sys.argv[3])

    def reached(stage: str) -> None:
        nonlocal left
        left -= stage == sys.argv[2]
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    stores = open_stores(Settings.load(Path(sys.argv[1]), environ=dict(os.environ)))
    if Lake(stores).erasures("people"):
        Eraser(stores, "people", reached).complete()
    else:
        Eraser(stores, "people", reached).erase("who", ["person-7f3a9"], reason="asked", by="ann")


if __name__ == "__main__":
    main()
