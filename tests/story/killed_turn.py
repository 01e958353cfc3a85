"""A child that turns a project's loop and kills itself on the way: see ``main``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from loopwright.loop.loading import load_loop
from loopwright.loop.step import StepEvent
from loopwright.loop.turn import run_turn
from loopwright.workspace import Workspace

PACKAGE = f"{os.sep}loopwright{os.sep}"


class Killer:
    def __init__(self, kind: str, limit: int) -> None:
        self.kind = kind
        self.limit = limit
        self.counts = {"event": 0, "call": 0}

    def count(self, kind: str) -> None:
        self.counts[kind] += 1
        if kind == self.kind and self.counts[kind] == self.limit:
            os.kill(os.getpid(), signal.SIGKILL)

    def listen(self, event: StepEvent) -> None:
        if event.kind in ("started", "finished"):
            self.count("event")

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "call" and PACKAGE in frame.f_code.co_filename:
            self.count("call")


def main(project: str, kind: str, limit: int) -> None:
    """SIGKILL at the n-th ``event`` of a step that this process runs, or ``call`` inside the turn; with 0, never."""
    killer = Killer(kind, limit)
    with Workspace.open(Path(project)) as workspace:
        loop = load_loop(Path(project))
        threading.setprofile(killer.profile)
        sys.setprofile(killer.profile)
        run_turn(loop, workspace, listener=killer.listen)
        sys.setprofile(None)
