"""One open table of this process: brought up to its newest version, created once, and changed under a lock."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from loopwright.core.errors import StoreBusyError
from loopwright.core.storage.columns import restored
from loopwright.core.storage.commits import read_commit
from loopwright.core.storage.table_appends import appended_files
from loopwright.core.storage.table_errors import committing
from loopwright.core.storage.table_state import LocalLog, TableState, append_actions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from deltalake import CommitProperties

    from loopwright.core.storage.location import Location
    from loopwright.core.storage.parquet import ParquetFile
    from loopwright.core.storage.table_changes import TableSpan
    from loopwright.core.storage.table_state import Action

_FOREVER = "interval 36500 days"  # a version disappears by vacuum, never by itself
_ATTEMPTS = 40  # commits that lost against 40 others in a row are refused
_CHECKPOINT_COMMITS = 100  # as delta-rs does: what opens the table reads at most so many commits beside a checkpoint


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
        self._log = None if place.folder is None else LocalLog(place.folder)
        self._state: TableState | None = None

    def state(self) -> TableState | None:
        """Follow the table to its newest version by its log; None where that cannot be done, or there is no table.

        That is so in an object store, and with tables of others that ask for more.
        """
        if self._log is None:
            return None
        if self._state is None or not self._state.follow(self._log):
            self._state, delta = None, self.current()
            if delta is not None:
                self._state = TableState.of(delta, restored(pa.schema(delta.schema().to_arrow())), self._log)
        return self._state

    def forget(self) -> None:
        """Open the table anew when it is needed next."""
        with self.lock:
            self._table = self._state = None

    def append_files(
        self,
        files: Sequence[ParquetFile],
        names: Sequence[str],
        *,
        at_ms: int,
        note: Mapping[str, str],
        transaction: tuple[str, int] | None,
    ) -> int | None:
        """Commit files that lie in the table's folder, through its log, and return the version.

        Returns:
            None where the transaction is committed already, by somebody who was faster.

        Raises:
            CommitFailedError: the table's columns changed, or it can no longer be followed.
        """
        schema = None if self._state is None else self._state.schema
        for _ in range(_ATTEMPTS):
            state = self.state()
            if self._log is None or state is None or state.schema != schema:
                break
            after = state.newest_ms()
            actions = append_actions(files, names, at_ms=at_ms, after_ms=after, note=note, transaction=transaction)
            done = None if transaction is None else state.transaction_version(transaction[0])
            if transaction is not None and done is not None and done >= transaction[1]:
                return None
            if self._log.write(state.version + 1, actions):
                state.take(actions)
                if state.version % _CHECKPOINT_COMMITS == 0:
                    self.checkpoint()
                return state.version
        raise CommitFailedError(f"The table '{self._place.url}' changed under a commit.")

    def replace_files(self, names: Collection[str], actions: Callable[[], list[Action]]) -> int | None:
        """Commit that files were replaced, and return the version; None where one of them is no longer there."""
        for _ in range(_ATTEMPTS):
            state = self.state()
            if self._log is None or state is None or any(name not in state.files for name in names):
                return None
            written = actions()
            if self._log.write(state.version + 1, written):
                state.take(written)
                if state.version % _CHECKPOINT_COMMITS == 0:
                    self.checkpoint()
                return state.version
        return None

    def appended(self, span: TableSpan) -> tuple[Path, ...] | None:
        """Return the files that appends brought, none where commits only merged; None where the log cannot tell."""
        with self.lock, committing(f"open table '{span.table}'"):
            state = self.state()
            if state is None or self._place.folder is None:
                return None
            if state.same_since <= span.after and span.until <= state.version:
                return ()
            return appended_files(self._place.folder, span)

    def version_of(self, transaction: tuple[str, int]) -> int:
        """Find the version that committed a transaction; the newest one where its commit names a later number."""
        delta = self.current() or self.open(None)
        for newest in (32, 1024, None):  # most repeats are recent, and a long history takes long to read
            for entry in delta.history(newest):
                if (commit := read_commit(entry)).transaction == transaction:
                    return commit.version
        return delta.version()

    def checkpoint(self) -> None:
        """Sum the log up in one file, so that opening the table stays quick; where that fails, it is only slower."""
        with suppress(DeltaError, OSError):
            if (delta := self.current()) is not None:
                delta.create_checkpoint()

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
                    self._table = self._state = None
        raise StoreBusyError(
            f"Could not {doing}: it changed under {_ATTEMPTS} attempts.", hint="Try again, with fewer writers."
        )
