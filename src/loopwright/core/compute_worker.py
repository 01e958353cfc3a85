"""A worker process of ``LocalCompute``: ``python -m loopwright.core.compute_worker CONNECTION_FD LIFE_FD``.

It ends when its connection does, and at once when the process that started it is gone, even in the middle of a task.
"""

from __future__ import annotations

import os
import sys
import threading
from multiprocessing.connection import Connection
from typing import Final

from threadpoolctl import threadpool_limits

from loopwright.core.compute import Failure, Work, opened
from loopwright.core.openmp import wait_asleep

READY: Final = "ready"
DONE: Final = "done"
FAILED: Final = "failed"


def end_with_parent(life: int) -> None:
    """Begin a thread that ends this process when the other side of a pipe is closed."""

    def wait() -> None:
        while os.read(life, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, name="life", daemon=True).start()


def serve(connection: Connection) -> None:
    """Answer tasks until the connection ends: one message of `Work` first, then one per task."""
    work: Work = connection.recv()
    try:
        do = opened(work)
    except Exception as error:  # noqa: BLE001 - told to the parent, which raises it
        connection.send((FAILED, None, Failure.of(error)))
        return
    connection.send((READY, None, None))
    while True:
        try:
            number, task = connection.recv()
        except EOFError:
            return
        try:
            with threadpool_limits(limits=1):  # one worker is one core's work: more threads would fight the others
                message = (DONE, number, do(task))
        except Exception as error:  # noqa: BLE001 - told to the parent
            message = (FAILED, number, Failure.of(error))
        connection.send(message)


def main() -> None:
    """Work for the process on the other side of the two descriptors."""
    wait_asleep()
    end_with_parent(int(sys.argv[2]))
    with Connection(int(sys.argv[1])) as connection:
        serve(connection)


if __name__ == "__main__":
    main()
