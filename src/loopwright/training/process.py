"""A child process with a memory bound, a time bound, a stop switch and no way to outlive its parent.

Started fresh, never forked: thread pools of OpenMP and of the stores do not survive a fork. The bounds are on the
machine's own time and memory, so this file looks at the monotonic clock of the machine, whatever clock the loop uses.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

STOP_NAME = "stop"
LOG_NAME = "log.txt"
TICK_SECONDS = 0.05
LOOKS_PER_SCAN = 10
"""Looking for new children reads every process of the machine, so it is done twice a second only."""
SAME_START_SECONDS = 2.0
_QUIET_OPENMP = {"OMP_WAIT_POLICY": "passive"}
"""Threads that wait by spinning starve each other on busy cores: a boosting of 0.3 s took 2 s and more."""


@dataclass(frozen=True)
class Limits:
    """Bound one training.

    Attributes:
        memory_bytes: Memory of the process and all its children together, without mapped files; None for no bound.
        seconds: Time from start to end; None for no bound.
        threads: Threads that numeric libraries may use in it; None for all cores.
    """

    memory_bytes: int | None = None
    seconds: float | None = None
    threads: int | None = None


@dataclass(frozen=True)
class ProcessOutcome:
    """How a bounded process ended.

    Attributes:
        ending: ``exited`` by itself, or killed because of a bound or a stop.
        exit_code: The exit code; negative is the number of the signal that ended it.
        seconds: How long it ran.
        peak_memory_bytes: The largest memory seen, children included, looked at about 20 times a second.
    """

    ending: Literal["exited", "out_of_memory", "timed_out", "stopped"]
    exit_code: int
    seconds: float
    peak_memory_bytes: int


def run_in_process(
    arguments: Sequence[str],
    folder: Path,
    *,
    limits: Limits,
    environment: Mapping[str, str],
    on_tick: Callable[[], None],
) -> ProcessOutcome:
    """Run ``python <arguments>`` in its own process group and watch it to its end.

    Its output goes to ``log.txt`` in the folder. A file named ``stop`` in the folder ends it. Whatever happens here, an
    interrupt or an error of a callback included, the whole group is dead when this returns or raises; when this process
    is killed, the child sees its standard input end and kills its group.

    Args:
        arguments: What follows ``python`` on its command line.
        folder: The working folder of the run, existing.
        limits: The bounds.
        environment: Variables added to this process's own.
        on_tick: Called about 20 times a second, and once after the end.
    """
    started = time.monotonic()
    with (folder / LOG_NAME).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own arguments
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**_QUIET_OPENMP, **os.environ, **environment},  # handed on: the child sees what this process sees
            start_new_session=True,
        )
    ending: Literal["exited", "out_of_memory", "timed_out", "stopped"] = "exited"
    peak = 0
    try:
        watched = psutil.Process(process.pid)
        members, looks = [watched], 0
        while not _ended_within(process.pid, TICK_SECONDS):
            if looks % LOOKS_PER_SCAN == 0:
                members = [watched, *watched.children(recursive=True)]
            looks += 1
            peak = max(peak, memory := memory_bytes(members))
            if limits.memory_bytes is not None and memory > limits.memory_bytes:
                ending = "out_of_memory"
            elif limits.seconds is not None and time.monotonic() - started > limits.seconds:
                ending = "timed_out"
            elif (folder / STOP_NAME).exists():
                ending = "stopped"
            if ending != "exited":
                break
            on_tick()
    except psutil.NoSuchProcess:
        pass  # it ended between two looks
    finally:
        kill_group(process.pid)  # itself, or the children that it left behind; it is not collected yet
        exit_code = process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    seconds = time.monotonic() - started
    on_tick()
    return ProcessOutcome(ending, exit_code, seconds, peak)


def memory_bytes(members: Sequence[psutil.Process]) -> int:
    """Return the memory of some processes together: resident pages that no file backs.

    Pages of memory-mapped files (the training set, libraries) belong to the system's cache and are not counted.
    Processes that end meanwhile count nothing.
    """
    total = 0
    for member in members:
        with contextlib.suppress(psutil.Error):
            memory = member.memory_info()
            total += memory.rss - getattr(memory, "shared", 0)
    return total


def kill_group(process_id: int) -> None:
    """Kill a process group that may be gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)


def identity_of(process_id: int) -> tuple[int, float] | None:
    """Return a process's id and start time, which together name it for good; None when it is gone."""
    try:
        return process_id, psutil.Process(process_id).create_time()
    except psutil.Error:
        return None


def is_alive(process_id: int, started: float) -> bool:
    """Say whether a process known by its id and start time still runs; the system's start times wobble by a second."""
    found = identity_of(process_id)
    return found is not None and abs(found[1] - started) < SAME_START_SECONDS


def _ended_within(process_id: int, seconds: float) -> bool:
    """Wait for the end without collecting the process, so that its id stays its own until its group is dead."""
    if hasattr(os, "pidfd_open"):  # Linux tells of the end at once; elsewhere the wait below is a pause
        handle = os.pidfd_open(process_id)
        try:
            watch = select.poll()
            watch.register(handle, select.POLLIN)
            watch.poll(seconds * 1000)
        finally:
            os.close(handle)
    elif not _is_waitable(process_id):
        time.sleep(seconds)
    return _is_waitable(process_id)


def _is_waitable(process_id: int) -> bool:
    return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
