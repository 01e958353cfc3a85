"""One ingest per dataset at a time on this machine: a file lock that ends with its process, however it ends."""

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
def dataset_lock(folder: Path, dataset: str, *, wait: bool) -> Iterator[None]:
    """Hold the dataset's lock for the block; ``wait`` for it, or refuse at once.

    The kernel gives the lock back when the process dies. Between machines the ingest's number decides: only one of two
    ingests can record it.

    Raises:
        TurnInProgressError: If another ingest holds it and ``wait`` is False; the message names its process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"ingest-{dataset}.lock"
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise TurnInProgressError(
                f"Dataset '{dataset}' is being ingested by process {owner}.", hint="Wait for it, then run again."
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
