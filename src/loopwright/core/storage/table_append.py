"""Appends to a table in a local folder: a Parquet file beside the others, and one line in the table's log.

The order, which a kill at any moment cuts off: the file is written and put on the disk; then the commit that names it
is, in one step. A file that no commit names is as if it were not there, until a vacuum takes it away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
from deltalake.exceptions import CommitFailedError

from loopwright.core.storage.columns import to_storable
from loopwright.core.storage.commits import note_texts
from loopwright.core.storage.parquet import ParquetFiles, is_flat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loopwright.core.clock import Clock
    from loopwright.core.storage.parquet import ParquetFile
    from loopwright.core.storage.table_handle import TableHandle


class TableAppend:
    """Append to one table; hold the handle's lock.

    Args:
        handle: the open table.
        folder: the table's folder.
        clock: where commit times come from.
    """

    def __init__(self, handle: TableHandle, folder: Path, clock: Clock) -> None:
        self._handle = handle
        self._folder = folder
        self._clock = clock

    def append(
        self,
        rows: pa.Table | pa.RecordBatchReader,
        transaction: tuple[str, int] | None,
        metadata: Mapping[str, str] | None,
    ) -> int | None:
        """Write rows and commit them; None where delta-rs has to: new or nested columns, no table yet, another place.

        Rows of a stream are written as they come; where None is returned none was taken.

        Raises:
            CommitFailedError: the table's columns changed meanwhile.
        """
        state = self._handle.state()
        if state is None:
            return None
        schema = to_storable(rows.schema.empty_table(), table=self._folder.name, existing=state.schema).schema
        if not is_flat(schema) or not set(schema.names) <= set(state.schema.names):
            return None
        if (done := self._done(transaction)) is not None:
            return done
        writer = ParquetFiles(self._folder, f"part-{state.version + 1:010d}-{uuid4()}", schema)
        try:
            for part in (rows,) if isinstance(rows, pa.Table) else map(_table, rows):
                writer.write(to_storable(part, table=self._folder.name, existing=state.schema))
            files = writer.close()
        except BaseException:  # also where no space is left: half a file would keep taking it
            writer.abandon()
            raise
        try:
            return self._commit(files, [file.path.name for file in files], transaction, metadata)
        except CommitFailedError:  # which says that nothing was committed; after another error one cannot know
            writer.abandon()
            raise

    def _done(self, transaction: tuple[str, int] | None) -> int | None:
        """Return the version that holds the transaction, if one does."""
        state = self._handle.state()
        if transaction is None or state is None:
            return None
        number = state.transaction_version(transaction[0])
        return self._handle.version_of(transaction) if number is not None and number >= transaction[1] else None

    def _commit(
        self,
        files: Sequence[ParquetFile],
        names: Sequence[str],
        transaction: tuple[str, int] | None,
        metadata: Mapping[str, str] | None,
    ) -> int | None:
        now = self._clock.now()
        note = note_texts(now, transaction=transaction, metadata=metadata)
        at_ms = int(now.timestamp() * 1000)
        version = self._handle.append_files(files, names, at_ms=at_ms, note=note, transaction=transaction)
        return self._done(transaction) if version is None else version


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])
