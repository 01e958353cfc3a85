"""One open table of this process: brought up to its newest version, created once, and changed under a lock."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from loopwright.core.errors import StoreBusyError
from loopwright.core.storage.table_errors import committing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa
    from deltalake import CommitProperties

    from loopwright.core.storage.location import Location

_FOREVER = "interval 36500 days"  # a version disappears by vacuum, never by itself
_ATTEMPTS = 40  # commits that lost against 40 others in a row are refused


class TableHandle:
    """Open one table, at any version, and commit to it; hold ``lock`` around ``current`` and ``create``.

    Args:
        place: where the table is.
        options: settings for the object store, by delta-rs' names.
    """

    def __init__(self, place: Location, options: Mapping[str, str]) -> None:
        self.lock = threading.RLock()
        self._place = place
        self._options = dict(options) or None
        self._table: DeltaTable | None = None

    def current(self) -> DeltaTable | None:
        """Bring the open table up to its newest version; None where there is no table."""
        if self._table is not None:
            self._table.update_incremental()
            return self._table
        with suppress(TableNotFoundError):
            self._table = self.open(None)
        return self._table

    def open(self, version: int | None) -> DeltaTable:
        """Open a version, the newest by default."""
        return DeltaTable(self._place.url, version=version, storage_options=self._options)

    def create(self, schema: pa.Schema, note: CommitProperties) -> DeltaTable:
        """Create the empty table as version 0; who comes second finds it there.

        The first rows are a commit of their own because delta-rs checks transactions only against a table that exists.
        """
        note.max_commit_retries = 0  # a creation that lost must not land behind the winner's
        if self._place.folder is not None:
            self._place.folder.mkdir(parents=True, exist_ok=True)
        with suppress(CommitFailedError, DeltaError):  # another process created it first: opening it will tell
            DeltaTable.create(
                self._place.url,
                schema,
                mode="ignore",
                configuration={
                    "delta.logRetentionDuration": _FOREVER,
                    "delta.deletedFileRetentionDuration": _FOREVER,
                    "delta.enableExpiredLogCleanup": "false",
                },
                storage_options=self._options,
                commit_properties=note,
            )
        self._table = self.open(None)
        return self._table

    def committed(self, doing: str, work: Callable[[], int]) -> int:
        """Do the work, and again from the newest version where another commit came in between.

        Raises:
            StoreBusyError: every attempt lost against another writer.
        """
        with self.lock, committing(doing):
            for _ in range(_ATTEMPTS):
                try:
                    return work()
                except CommitFailedError:
                    self._table = None
        raise StoreBusyError(
            f"Could not {doing}: it changed under {_ATTEMPTS} attempts.", hint="Try again, with fewer writers."
        )
