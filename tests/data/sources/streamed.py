"""Ingests a stream in a child, which is killed at a stage, or at a moment."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.ingest import stage
from loopwright.data.lake import Lake
from loopwright.data.sources.kafka import kafka
from loopwright.data.sources.stream import events


def main(project: str, reached: str, time_s: float, bound: int, declared: str) -> None:
    """Ingest all of a source, declared by its keyword arguments in JSON and its kind."""
    options = json.loads(declared)
    make = {"kafka": kafka, "events": events}[options.pop("kind")]

    def killed(at: str) -> None:
        if at == reached:
            os.kill(os.getpid(), signal.SIGKILL)

    stage.IN_MEMORY_BYTES = bound
    lake = Lake(open_stores(Settings.load(Path(project))), on_stage=killed)
    dataset = Dataset("d", make(**options), contract=[column("x", "int")])
    if time_s:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, time_s)
    while lake.ingest(dataset).rows_read:
        pass
