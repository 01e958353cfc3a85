"""The entry of workers that kill themselves once, at a stage that a file in the project names."""

from __future__ import annotations

import os
import signal

from loopwright.core.storage.stores import open_stores
from loopwright.serving.scoring.part_scoring import PartScoring


def open_scoring(setup: object) -> PartScoring:
    stores = open_stores(setup.settings)
    order = setup.settings.project / "kill-at"

    def die(stage: str) -> None:
        if order.is_file() and order.read_text() == stage:
            try:
                order.rename(order.with_name("killed"))  # one worker dies of it
            except FileNotFoundError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    return PartScoring(stores, setup.job, die)
