"""Rows in versioned tables: every commit is a version, and every version stays readable until it is vacuumed.

Written with delta-rs, read with DuckDB over the version's list of Parquet files, which runs at raw-Parquet speed.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import PostCommitHookProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from loopwright.core.clock import SystemClock
from loopwright.core.errors import SettingsError, StoreBusyError, StoreError, UnknownNameError
from loopwright.core.storage.columns import as_stored, parquet_properties, restored, to_storable
from loopwright.core.storage.commits import TableVersion, commit_note, read_commit
from loopwright.core.storage.duck import borrowed, quote_name, to_arrow
from loopwright.core.storage.location import Location
from loopwright.core.storage.spool import spooled
from loopwright.core.storage.table_append import TableAppend
from loopwright.core.storage.table_changes import TableChange, TableSpan
from loopwright.core.storage.table_compaction import TableCompaction, unobserved
from loopwright.core.storage.table_errors import committing, reading
from loopwright.core.storage.table_files import names_below
from loopwright.core.storage.table_handle import TableHandle
from loopwright.core.storage.table_mirror import TableMirror
from loopwright.core.storage.table_name import check_name
from loopwright.core.storage.table_snapshots import TableSnapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import duckdb
    from deltalake import CommitProperties, DeltaTable

    from loopwright.core.clock import Clock
    from loopwright.core.storage.table_files import TableFiles

__all__ = ["TableStore", "TableVersion"]

_IMPOSSIBLE = set("[]^|%\\\\")  # delta-rs cannot open a folder with these in its name


class TableStore:
    """Keep rows in versioned tables named by paths such as ``datasets/orders``.

    A version is whole or not there: a process killed while it writes leaves at most a file that nothing names. Appends
    from several processes all land, one after the other. Threads may share one store; a forked child must open its own.

    Args:
        url: a folder or an object-store URL; tables lie below ``tables/`` there.
        cache: a folder for copies of a remote store's files; by default a temporary one of this process.
        clock: where commit times come from.
        options: settings for the object store, by delta-rs' names.
    """

    def __init__(
        self,
        url: str | Path,
        *,
        clock: Clock | None = None,
        options: Mapping[str, str] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.location = Location.parse(url).child("tables")
        if self.location.folder is not None and (odd := set(self.location.url) & _IMPOSSIBLE):
            raise SettingsError(
                f"Tables cannot lie in '{self.location.url}': its name has {' '.join(sorted(odd))}.",
                hint="Choose a folder without such signs for the store.",
            )
        self._mirror = TableMirror(self.location, cache) if self.location.folder is None else None
        self._folder = self._mirror.folder if self._mirror else Path(self.location.url)
        self._clock = clock or SystemClock()
        self._options = dict(options or {})
        self._handles: dict[str, TableHandle] = {}
        self._snapshots = TableSnapshots(self._folder)
        self._lock = threading.Lock()

    def append(
        self,
        table: str,
        data: pa.Table | pa.RecordBatchReader,
        *,
        transaction: tuple[str, int] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Add rows in one commit and return its version; the first append creates the table as version 1.

        New columns are added to the table; columns the rows lack are null for them. Columns are brought into the
        table's types, as ``loopwright.core.storage.columns`` says.

        Args:
            table: the table's name.
            data: the rows. A reader is taken batch by batch, so that more rows than fit in memory can be added.
            transaction: ``(application, number)``. If the application's last number is not below ``number``, nothing is
                added and the version that holds it is returned, whoever asks and however many ask at once.
            metadata: texts kept with the commit.

        Raises:
            DeclarationError: a column's values do not fit the table's type, or no table can hold its type.
            StoreFullError: no space is left; the table is unchanged.
        """
        handle = self._handle(table)

        def write() -> int:  # calls nothing of its own name: a ring of references would keep the rows in memory
            while True:
                if (version := self._local(table, handle).append(rows, transaction, metadata)) is not None:
                    return version
                if (delta := handle.current()) is not None:
                    break
                handle.create(to_storable(rows, table=table, existing=None).schema, self._commit())
            if transaction is not None:
                done = delta.transaction_version(transaction[0])
                if done is not None and done >= transaction[1]:
                    return handle.version_of(transaction)
            storable = to_storable(rows, table=table, existing=restored(pa.schema(delta.schema().to_arrow())))
            write_deltalake(
                delta,
                storable,
                mode="append",
                schema_mode="merge",
                writer_properties=parquet_properties(storable.schema),
                commit_properties=self._commit(transaction, metadata),
                post_commithook_properties=_KEEP_LOGS,
            )
            return delta.version()

        if isinstance(data, pa.RecordBatchReader):
            streamed = self._stream_in(table, handle, data, transaction, metadata)
            if streamed is not None:
                return streamed
        with spooled(data) as rows:
            return handle.committed(f"append to table '{table}'", write)

    def transaction(self, table: str, app_id: str) -> int | None:
        """Return the last number the application committed to the table, or None (also when there is no table)."""
        handle = self._handle(table)
        with handle.lock, committing(f"open table '{table}'"):
            found = handle.state() or handle.current()
            return None if found is None else found.transaction_version(app_id)

    def exists(self, table: str) -> bool:
        """Tell whether the table has been written."""
        handle = self._handle(table)
        with handle.lock, committing(f"open table '{table}'"):
            return handle.state() is not None or handle.current() is not None

    def tables(self) -> list[str]:
        """List the tables, by name."""
        with committing("list the tables"):
            return sorted(names_below(self.location))

    def version(self, table: str) -> int:
        """Return the table's newest version.

        Raises:
            UnknownNameError: there is no such table.
        """
        return self._snapshot(table, None).version

    def versions(self, table: str, *, limit: int | None = None) -> list[TableVersion]:
        """List the table's commits, oldest first; with a limit, the newest ``limit`` of them."""
        handle = self._handle(table)
        with handle.lock, committing(f"read the history of table '{table}'"):
            history = self._required(table, handle).history(limit)
        return [read_commit(entry) for entry in reversed(history)]

    def schema(self, table: str, version: int | None = None) -> pa.Schema:
        """Return the columns of a version."""
        return self._snapshot(table, version).schema

    def count(self, table: str, version: int | None = None) -> int:
        """Return the number of rows of a version, without reading them."""
        return self._snapshot(table, version).rows

    def read(
        self, table: str, *, version: int | None = None, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.Table:
        """Read a version into memory.

        Args:
            table: the table's name.
            version: the version to read; the newest by default.
            columns: the columns to read, in this order; all by default.
            where: a DuckDB condition over any of the table's columns, such as ``"distance_km > 3 AND city = 'Graz'"``.

        Raises:
            UnknownNameError: there is no such table, version or column.
        """
        snapshot = self._snapshot(table, version)
        for name in columns or ():
            if name not in snapshot.schema.names:
                raise UnknownNameError("column", name, snapshot.schema.names, where=f"in table '{table}'")
        chosen = list(columns) if columns is not None else snapshot.schema.names
        with borrowed() as con, reading(table, where):
            self.attach(con, "snapshot", table, version=snapshot.version)
            listed = ", ".join(quote_name(name) for name in chosen)
            relation = con.sql(f"SELECT {listed} FROM snapshot" + (f" WHERE {where}" if where else ""))
            rows = to_arrow(relation)
        return rows.cast(pa.schema([snapshot.schema.field(name) for name in chosen]))

    def span(self, table: str, after: int = 0) -> TableSpan:
        """Return what came to a table since a version; a table that nobody wrote yet is at version 0."""
        return TableSpan(table, after, self.version(table) if self.exists(table) else 0)

    def added_sql(self, span: TableSpan, *, key: Sequence[str] = ()) -> str | None:
        """Return a DuckDB SELECT of the rows that the later version of a span has and the earlier one had not.

        Rows that were only written again, by a compaction or a deletion of others, are not among them; rows that came
        and went within the span are not either.

        Args:
            span: the two versions; the later one must exist unless the span is empty.
            key: columns whose values no two rows share. Without them whole rows are compared, which takes longer.

        Returns:
            None where no row can have come, which costs no reading of rows.

        Raises:
            StoreError: a version is no list of plain Parquet files.
        """
        if span.empty:
            return None
        if (files := self._handle(span.table).appended(span)) is not None:
            return replace(self._plain(span.table, span.until), files=files).select() if files else None
        return self.change(span).select_added(key)

    def change(self, span: TableSpan, *, with_same: bool = False) -> TableChange:
        """Compare the two versions of a span by their files, which are then on this machine, the same ones if asked.

        Raises:
            StoreError: a version is no list of plain Parquet files.
        """
        change = TableChange.between(self._plain(span.table, span.after), self._plain(span.table, span.until))
        if self._mirror is not None:
            same = change.same.files if with_same else ()
            self._mirror.fetch((*change.came.files, *change.gone.files, *same))
        return change

    def scan_sql(self, table: str, version: int | None = None) -> str:
        """Return a DuckDB SELECT that gives the version's rows, in exact types.

        It names the version's files, so that the same text gives the same rows until those files are vacuumed.

        Raises:
            StoreError: the version is no list of plain Parquet files (another writer's); use ``attach``.
        """
        return self._select(self._plain(table, version))

    def files(self, table: str, version: int | None = None, *, here: bool = True) -> tuple[str, ...]:
        """Name the Parquet files of a plain version: as paths on this machine, or else as the store has them (URLs)."""
        return self._plain(table, version).named(self.location.url, self._mirror, here=here)

    def stream(self, table: str, version: int | None = None) -> pa.RecordBatchReader:
        """Stream a version's rows through delta-rs itself: slower, and right for every table and place."""
        snapshot = self._snapshot(table, version)
        with committing(f"read table '{table}'"):
            reader = pa.RecordBatchReader.from_stream(self._handle(table).open(snapshot.version).scan())

        def batches() -> Iterator[pa.RecordBatch]:
            with reading(table):
                for batch in reader:
                    yield as_stored(batch, snapshot.schema)

        return pa.RecordBatchReader.from_batches(snapshot.schema, batches())

    def attach(self, con: duckdb.DuckDBPyConnection, name: str, table: str, *, version: int | None = None) -> None:
        """Give a version's rows a name in a DuckDB connection, the fastest right way."""
        snapshot = self._snapshot(table, version)
        if snapshot.plain:
            with reading(table):
                con.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS {self._select(snapshot)}")
        else:
            con.register(name, self.stream(table, snapshot.version).read_all())

    def delete(self, table: str, where: str) -> int:
        """Remove the rows for which the condition (SQL over the table's columns) holds, in one commit; say how many."""
        handle = self._handle(table)

        def remove() -> int:
            result = self._required(table, handle).delete(
                where, commit_properties=self._commit(), post_commithook_properties=_KEEP_LOGS
            )
            return int(result["num_deleted_rows"] or 0)

        return handle.committed(f"delete from table '{table}'", remove)

    def compact(self, table: str) -> int:
        """Merge small files into large ones, in one commit, and return how many files went; rows stay the same."""
        handle = self._handle(table)

        def merge() -> int:
            result = self._required(table, handle).optimize.compact(
                commit_properties=self._commit(), post_commithook_properties=_KEEP_LOGS
            )
            return int(result["numFilesRemoved"])

        return handle.committed(f"compact table '{table}'", merge)

    def tidy(self, table: str, *, is_final: bool = False, on_stage: Callable[[str], None] = unobserved) -> int:
        """Merge small files of a local table in one short step, and return how many went; see ``TableCompaction``."""
        handle = self._handle(table)
        with handle.lock, committing(f"compact table '{table}'"):
            return TableCompaction(handle, self._folder / table, self._clock, on_stage).step(is_final=is_final)

    def vacuum(self, table: str, keep: timedelta, *, dry_run: bool) -> list[str]:
        """Remove the files no version younger than ``keep`` needs, and return their names; older versions go with them.

        Files that a killed writer left are among them. ``keep`` is rounded up to hours and must exceed the longest
        write, or files of a commit under way are removed.
        """
        hours = -(-keep // timedelta(hours=1))
        handle = self._handle(table)
        with handle.lock, committing(f"vacuum table '{table}'"):
            return self._required(table, handle).vacuum(
                retention_hours=hours,
                dry_run=dry_run,
                enforce_retention_duration=False,
                full=True,
                post_commithook_properties=_KEEP_LOGS,
            )

    def forget(self, table: str) -> None:
        """Look at a table anew when it is asked for next: something was done to it that its log does not tell."""
        self._handle(table).forget()
        if self._mirror is not None:
            self._mirror.drop(table)
        self._snapshots.forget(table)

    def checkpoint(self, table: str) -> None:
        """Sum a table's log up in one file, so that opening it stays quick."""
        handle = self._handle(table)
        with handle.lock:
            handle.checkpoint()

    def _stream_in(
        self,
        table: str,
        handle: TableHandle,
        data: pa.RecordBatchReader,
        transaction: tuple[str, int] | None,
        metadata: Mapping[str, str] | None,
    ) -> int | None:
        """Append a stream without keeping it, which can be tried once; None where that cannot be, and none was read."""
        with handle.lock, committing(f"append to table '{table}'"):
            if handle.state() is None and handle.current() is None:
                empty = to_storable(data.schema.empty_table(), table=table, existing=None)
                handle.create(empty.schema, self._commit())
            try:
                return self._local(table, handle).append(data, transaction, metadata)
            except CommitFailedError as error:
                handle.forget()
                raise StoreBusyError(f"Table '{table}' changed under an append.", hint="Try again.") from error

    def _local(self, table: str, handle: TableHandle) -> TableAppend:
        return TableAppend(handle, self._folder / table, self._clock)

    def _handle(self, table: str) -> TableHandle:
        check_name(table)
        with self._lock:
            return self._handles.setdefault(table, TableHandle(self.location.child(table), self._options))

    def _required(self, table: str, handle: TableHandle) -> DeltaTable:
        delta = handle.current()
        if delta is None:
            raise UnknownNameError("table", table, self.tables())
        return delta

    def _snapshot(self, table: str, version: int | None) -> TableFiles:
        handle = self._handle(table)
        return self._snapshots.of(table, version, handle, lambda: self._required(table, handle))

    def _plain(self, table: str, version: int | None) -> TableFiles:
        snapshot = self._snapshot(table, version)
        if not snapshot.plain and snapshot.rows:
            raise StoreError(
                f"Table '{table}' is not a list of plain Parquet files.", hint="Read it with TableStore.attach."
            )
        return snapshot

    def _select(self, snapshot: TableFiles) -> str:
        if self._mirror is not None:
            self._mirror.fetch(snapshot.files)
        return snapshot.select()

    def _commit(
        self, transaction: tuple[str, int] | None = None, metadata: Mapping[str, str] | None = None
    ) -> CommitProperties:
        return commit_note(self._clock.now(), transaction=transaction, metadata=metadata)


_KEEP_LOGS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
