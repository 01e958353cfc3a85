"""One ingest per dataset at a time on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import TurnInProgressError
from loopwright.core.storage.file_lock import FileLock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


def dataset_lock(folder: Path, dataset: str, *, wait: bool) -> AbstractContextManager[None]:
    """Hold the dataset's lock while a block runs; ``wait`` for it, or refuse at once.

    Between machines the ingest's number decides: only one of two ingests can record it.

    Raises:
        TurnInProgressError: If another ingest holds it and ``wait`` is False, on entering; it names the process.
    """

    def refusal(holder: str) -> TurnInProgressError:
        return TurnInProgressError(
            f"Dataset '{dataset}' is being ingested by process {holder}.", hint="Wait for it, then run again."
        )

    return FileLock(folder / f"ingest-{dataset}.lock").hold(refusal=None if wait else refusal)
