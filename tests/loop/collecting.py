"""A process that forks a child for each collection or restoring of a project's garbage, which kills itself on the way.

Reads lines of JSON, ``[project, collection, number]``: with a collection's id it is restored, with none garbage is
collected. The child is killed right after the ``number``-th thing that it changes, in the store, in the project's own
folder or in the facts. Each line is answered with how it ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore

from loopwright.core.clock import ManualClock
from loopwright.core.storage.facts import Facts
from loopwright.loop.collect import Collector
from loopwright.loop.restore import restore_collection
from loopwright.workspace import Workspace

YEARS = timedelta(days=900)


def work(project: str, collection: str, number: int) -> None:
    left = number

    def counted(change):
        def wrapped(*given, **named):
            nonlocal left
            made = change(*given, **named)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return made

        return wrapped

    workspace = Workspace.open(Path(project), clock=ManualClock(datetime.now(UTC) + YEARS))
    obstore.put, obstore.rename, obstore.delete = map(counted, (obstore.put, obstore.rename, obstore.delete))
    Path.replace, Facts.write = counted(Path.replace), counted(Facts.write)
    if collection:
        restore_collection(workspace, collection)
    else:
        Collector(workspace, timedelta(days=30)).collect()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()  # what is killed shares the imports, and nothing else
        if not child:
            try:
                work(*json.loads(line))
                os._exit(0)
            finally:
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
