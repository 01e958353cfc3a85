"""A lock among the processes of this machine that the operating system takes back when its holder dies.

The lock is the kernel's (``flock``): a killed process leaves none behind, and the file's text, the number of the last
process that held it, is for people only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopwright.core.errors import LoopwrightError


class FileLock:
    """Let one process at a time do something; the file and its folder are made when they are needed.

    Args:
        path: the file to lock, which stays when the lock is given back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def hold(self, *, refusal: Callable[[str], LoopwrightError] | None = None) -> Iterator[None]:
        """Hold the lock while the block runs, after waiting for whoever holds it.

        Args:
            refusal: makes the error to raise, instead of waiting, from the number of the process that holds it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if refusal is None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            else:
                with self._asking():
                    if not _taken(descriptor):
                        raise refusal(os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def is_held(self) -> bool:
        """Say whether a process holds the lock now; asking never makes one that begins meanwhile believe so."""
        if not self._path.exists():
            return False
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            with self._asking():
                free = _taken(descriptor)
                if free:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                return not free
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask one at a time: whether a lock is held is found out by taking it, for some microseconds."""
        descriptor = os.open(
            self._path.with_name(f"{self._path.name}.asking"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
        )
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
