"""One turn at a time on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import TurnInProgressError
from loopwright.core.storage.file_lock import FileLock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


def turn_lock(path: Path) -> AbstractContextManager[None]:
    """Hold the lock while a block runs.

    Raises:
        TurnInProgressError: If another process holds it, on entering.
    """
    return FileLock(path).hold(refusal=_refusal)


def is_turning(path: Path) -> bool:
    """Say whether a process holds the lock now; asking never makes a turn that begins meanwhile believe so."""
    return FileLock(path).is_held()


def _refusal(holder: str) -> TurnInProgressError:
    return TurnInProgressError(
        f"Process {holder} is turning this loop.", hint="Wait for it to finish; `loopwright status` shows its steps."
    )
