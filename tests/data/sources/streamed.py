"""Ingests a stream in a process of its own, which is killed at a stage, or at a moment.

Run as ``python streamed.py PROJECT STAGE TIME BOUND SOURCE``: the source as keyword arguments in JSON, with its kind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest import stage
from loopwright.data.lake import Lake
from loopwright.data.sources.kafka import kafka
from loopwright.data.sources.stream import events


def main(project: str, reached: str, time_s: str, bound: str, declared: str) -> None:
    options = json.loads(declared)
    make = {"kafka": kafka, "events": events}[options.pop("kind")]

    def killed(at: str) -> None:
        if at == reached:
            os.kill(os.getpid(), signal.SIGKILL)

    stage.IN_MEMORY_BYTES = int(bound)
    lake = Lake(open_stores(Settings.load(Path(project))), on_stage=killed)
    dataset = Dataset("d", make(**options), contract=[column("x", "int")])
    if float(time_s):
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, float(time_s))
    while lake.ingest(dataset).rows_read:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
