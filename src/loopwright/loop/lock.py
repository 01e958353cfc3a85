"""One turn at a time: a lock that the operating system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from loopwright.core.errors import TurnInProgressError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def turn_lock(path: Path) -> Iterator[None]:
    """Hold the lock while the block runs.

    The lock is the kernel's (``flock``): a killed process leaves none behind, and the file's text is for people only.

    Raises:
        TurnInProgressError: If another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with _asking(path):
            if not _taken(descriptor):
                holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
                raise TurnInProgressError(
                    f"Process {holder} is turning this loop.",
                    hint="Wait for it to finish; `loopwright status` shows its steps.",
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_turning(path: Path) -> bool:
    """Say whether a process holds the lock now; asking never makes a turn that begins meanwhile believe so."""
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        with _asking(path):
            free = _taken(descriptor)
            if free:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            return not free
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _asking(path: Path) -> Iterator[None]:
    """Ask one at a time: whether a lock is held is found out by taking it, for some microseconds."""
    descriptor = os.open(path.with_name(f"{path.name}.asking"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
