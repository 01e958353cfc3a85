"""Workers as processes of this machine: ``local://``, ``local://?workers=4``.

Each is a fresh interpreter with one thread per numeric library, so that nothing of a parent's threads and locks is in
it, and as many of them as cores share the machine well. With ``workers=0`` tasks are done in this process, one by one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, cast

from loopwright.core.compute import MOST_ATTEMPTS, Failure, TaskEnd, opened
from loopwright.core.compute_worker import DONE, READY
from loopwright.core.errors import FailedError
from loopwright.core.openmp import environment_of_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopwright.core.compute import Work

_STOP_WITHIN_S = 5.0


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    life: int
    is_ready: bool = False
    task: tuple[int, int] | None = None  # the task it is at, and the attempt


class LocalCompute:
    """A pool of worker processes, begun with each run and ended with it.

    Args:
        workers: How many; by default one per core that this process may use.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = len(os.sched_getaffinity(0)) if workers is None else workers

    @property
    def workers(self) -> int:
        """Return how many tasks are done at once."""
        return max(1, self._workers)

    def run(self, work: Work, tasks: Sequence[object]) -> Iterator[TaskEnd]:
        """Do all tasks; see the port."""
        return _inline(work, tasks) if self._workers == 0 else _Run(self._workers, work, tasks).ends()

    def close(self) -> None:
        """Nothing is held between two runs."""


def _inline(work: Work, tasks: Sequence[object]) -> Iterator[TaskEnd]:
    if not tasks:
        return
    do = opened(work)
    for number, task in enumerate(tasks):
        try:
            yield TaskEnd(number, do(task))
        except Exception as error:  # noqa: BLE001 - as a worker would
            yield TaskEnd(number, failure=Failure.of(error))


class _Run:
    """One run: what waits, who works."""

    def __init__(self, workers: int, work: Work, tasks: Sequence[object]) -> None:
        self._most = workers
        self._work = work
        self._tasks = tasks
        self._waiting: deque[tuple[int, int]] = deque((number, 1) for number in range(len(tasks)))
        self._crew: dict[Connection, _Worker] = {}
        self._stillborn = 0

    def ends(self) -> Iterator[TaskEnd]:
        try:
            while self._waiting or any(worker.task for worker in self._crew.values()):
                self._hire()
                self._give()
                for connection in wait(list(self._crew)):
                    worker = self._crew[cast("Connection", connection)]
                    try:
                        kind, number, value = worker.connection.recv()
                    except (EOFError, OSError):
                        ended = self._bury(worker)
                    else:
                        ended = self._hear(worker, kind, number, value)
                    if ended is not None:
                        yield ended
        finally:
            self._dismiss()

    def _hire(self) -> None:
        busy = sum(worker.task is not None for worker in self._crew.values())
        while len(self._crew) < min(self._most, busy + len(self._waiting)):
            worker = _start()
            self._crew[worker.connection] = worker
            worker.connection.send(self._work)

    def _give(self) -> None:
        for worker in self._crew.values():
            if worker.is_ready and worker.task is None and self._waiting:
                worker.task = self._waiting.popleft()
                with contextlib.suppress(OSError):  # it died just now; its connection says so next
                    worker.connection.send((worker.task[0], self._tasks[worker.task[0]]))

    def _hear(self, worker: _Worker, kind: str, number: int | None, value: object) -> TaskEnd | None:
        ended = None
        if kind == READY:
            worker.is_ready = True
        elif number is None:  # it could not open what it needs, and neither could another one
            failure = cast("Failure", value)
            raise FailedError(f"A worker could not begin: {failure.message}", hint=failure.hint)
        else:
            attempts = cast("tuple[int, int]", worker.task)[1]
            worker.task = None
            self._stillborn = 0
            done = kind == DONE
            failure_of = None if done else cast("Failure", value)
            ended = TaskEnd(number, value if done else None, failure_of, attempts)
        return ended

    def _bury(self, worker: _Worker) -> TaskEnd | None:
        """Take note of a death: its task waits again, ahead of the others, or is given up."""
        del self._crew[worker.connection]
        code = _end(worker)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if worker.task is None:
            self._stillborn += 0 if worker.is_ready else 1
            if self._stillborn >= MOST_ATTEMPTS:
                raise FailedError(
                    f"{self._stillborn} workers in a row ended as they began ({how}).",
                    hint="Look above for what they said; a machine that runs out of memory ends them with signal 9.",
                )
            return None
        number, attempts = worker.task
        if attempts < MOST_ATTEMPTS:
            self._waiting.appendleft((number, attempts + 1))
            return None
        message = f"{attempts} workers in a row died at this task, the last one by {how}."
        hint = "A machine that runs out of memory ends them with signal 9: use fewer workers, or smaller parts."
        return TaskEnd(number, failure=Failure("WorkerDied", message, hint), attempts=attempts)

    def _dismiss(self) -> None:
        for worker in self._crew.values():
            if worker.task is not None:
                worker.process.kill()
            worker.connection.close()
        for worker in self._crew.values():
            _end(worker)
        self._crew.clear()


def _start() -> _Worker:
    here, there = socket.socketpair()
    reading, writing = os.pipe()
    command = [sys.executable, "-P", "-m", "loopwright.core.compute_worker", str(there.fileno()), str(reading)]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdout=subprocess.DEVNULL,
            pass_fds=(there.fileno(), reading),
            start_new_session=True,
            env=environment_of_one_thread(),
        )
    except OSError as error:
        for descriptor in (here.detach(), writing):
            os.close(descriptor)
        raise FailedError(f"A worker process could not be started: {error.strerror}.") from error
    finally:
        there.close()
        os.close(reading)
    return _Worker(process, Connection(here.detach()), writing)


def _end(worker: _Worker) -> int:
    """Wait for a worker that was told to end, or is dead, and return its exit code."""
    if not worker.connection.closed:
        worker.connection.close()
    try:
        os.close(worker.life)
        return worker.process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        return worker.process.wait()
