"""A process that forks a child for each erasure, which kills itself on the way.

Reads lines of JSON, ``[project, when, number]``, and answers each with how the child ended: killed when the stage
``when`` is reached for the ``number``-th time, or, for ``any``, after the ``number``-th thing that it changes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import obstore

from loopwright.core.storage.facts import Facts
from loopwright.data.ingest.lock import dataset_lock
from loopwright.features.online_sqlite import SqliteOnlineStore
from loopwright.loop.erase import complete_erasures, erase_rows
from loopwright.workspace import Workspace

KEY = "person-7f3a9"


def erase(project: str, when: str, number: int) -> None:
    left = number

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(work):
        def wrapped(*given, **named):
            made = work(*given, **named)
            count()
            return made

        return wrapped

    workspace = Workspace.open(Path(project))
    if when == "any":
        obstore.put, obstore.delete = counted(obstore.put), counted(obstore.delete)
        Path.replace, Facts.write = counted(Path.replace), counted(Facts.write)
        SqliteOnlineStore.delete_many = counted(SqliteOnlineStore.delete_many)

    def reached(stage: str) -> None:
        if stage == when:
            count()

    if workspace.data.erasures("orders"):
        with dataset_lock(workspace.stores.local / "locks", "orders", wait=True):
            complete_erasures(workspace, "orders", on_stage=reached)
    else:
        erase_rows(workspace, "orders", "customer", [KEY], reason="asked", by="ann", on_stage=reached)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()  # what is killed shares the imports, and nothing else
        if not child:
            try:
                erase(*json.loads(line))
                os._exit(0)
            finally:
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
