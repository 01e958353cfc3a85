"""Reads Delta tables of others by version: their appends are our increments."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from loopwright.core.error_text import short_text
from loopwright.core.errors import SourceError, UnknownNameError
from loopwright.data.sources.delta_log import changes_between, plain_path
from loopwright.data.sources.fetched import refuse_other_ways
from loopwright.data.sources.plan import Plan
from loopwright.data.sources.secret import filled, masked, scrubbed
from loopwright.data.sources.unit import BATCH_ROWS, Unit, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loopwright.data.sources.delta import DeltaSource
    from loopwright.data.sources.reader import Reading

_SHOWN = 5  # operations that a message names


class DeltaReader:
    """Reads the files that were added since the version of the mark."""

    def plan(self, source: DeltaSource, reading: Reading) -> Plan:
        """Plan the appended rows, or the whole version where rows were changed and the dataset has a key.

        Raises:
            SourceError: If there is no table, or rows were changed and the dataset has no key.
        """
        table = _Table(source, reading)
        version, identity = table.newest.version(), str(table.newest.metadata().id)
        mark = reading.marks.get(source.name)
        if not isinstance(mark, dict):
            refuse_other_ways(reading, source.name, source.name)
            return table.plan_whole(version, identity)
        if mark["table"] == identity and mark["version"] == version:
            return Plan()
        reason = None
        if mark["table"] != identity:
            reason = "another table is at its place now"
        elif mark["version"] > version:
            reason = f"it went back from version {mark['version']} to {version}"
        else:
            changes = changes_between(table.files, mark["version"], version)
            if changes.missing is not None:
                reason = f"the commit of version {changes.missing} is no longer in its log"
            elif changes.rewrites:
                shown = ", ".join(f"{operation} in version {number}" for number, operation in changes.rewrites[:_SHOWN])
                reason = f"rows were changed or removed: {shown}" + (", …" if len(changes.rewrites) > _SHOWN else "")
        if reason is None:
            return table.plan_added(changes.added, changes.size_bytes, version, identity)
        if not reading.has_key:
            raise SourceError(
                f"{source.name} at {masked(source.url)}: {reason}, and the dataset has no key to compare by.",
                hint="Give the dataset key= and on_duplicate='upsert', or read into a dataset of another name.",
            )
        plan = table.plan_whole(version, identity)
        plan.warnings.append(f"{source.name}: {reason}; the whole of version {version} is compared by key.")
        return plan

    def has_new(self, source: DeltaSource, reading: Reading) -> bool:
        """Compare the table's newest version with the mark."""
        newest = _Table(source, reading).newest
        return reading.marks.get(source.name) != {"table": str(newest.metadata().id), "version": newest.version()}


class _Table:
    """One table, at its newest version and earlier ones."""

    def __init__(self, source: DeltaSource, reading: Reading) -> None:
        self._source = source
        self._url = source.url if "://" in source.url else str(reading.project / source.url)
        self._options = {name: filled(value, reading.connections) for name, value in source.options}
        self.newest = self._at(None)

    @property
    def files(self) -> fs.FileSystem:
        """The table's folder."""
        return fs.PyFileSystem(DeltaStorageHandler(self._url, self._options or None))

    def plan_whole(self, version: int, identity: str) -> Plan:
        """Plan every row of a version."""
        with self._told():
            actions = pa.table(self._at(version).get_add_actions(flatten=True))
            size = sum(actions["size_bytes"].to_pylist())
        return self._plan({version: None}, size, version, identity)

    def plan_added(self, added: Mapping[str, int], size_bytes: int, version: int, identity: str) -> Plan:
        """Plan the rows of some files, each read at the version given with it."""
        wanted: dict[int, set[str] | None] = defaultdict(set)
        for path, readable in added.items():
            wanted[readable].add(path)  # type: ignore[union-attr]
        return self._plan(wanted, size_bytes, version, identity)

    def _plan(self, wanted: Mapping[int, set[str] | None], size: int, version: int, identity: str) -> Plan:
        read: list[bool] = []

        def batches() -> Iterator[pa.Table]:
            first = 0
            with self._told():
                for number in sorted(wanted):
                    for batch in self._batches(number, wanted[number]):
                        yield numbered(pa.Table.from_batches([batch]), first)
                        first += batch.num_rows
            read.append(True)

        mark = {self._source.name: {"table": identity, "version": version}}
        unit = Unit(f"{self._source.name}@{version}", "", size, 0, batches, is_recorded=False)
        return Plan(units=[unit], marks=lambda: mark if read else {})

    def _batches(self, version: int, paths: set[str] | None) -> Iterator[pa.RecordBatch]:
        from pyarrow import dataset as datasets  # noqa: PLC0415 - slow to import: it loads pandas

        whole = self._at(version).to_pyarrow_dataset()
        columns = list(self._source.columns) or whole.schema.names
        for name in columns:
            if name not in whole.schema.names:
                unknown = UnknownNameError("column", name, whole.schema.names, where=f"in {self._source.name}")
                raise SourceError(unknown.message, hint=unknown.hint)
        found = {plain_path(one.path): one for one in whole.get_fragments()}
        chosen = sorted(found if paths is None else paths)
        gone = next((path for path in chosen if path not in found), None)
        if gone is not None:
            raise FileNotFoundError(f"version {version} has no file {gone}")
        some = datasets.FileSystemDataset(
            [found[path] for path in chosen], whole.schema, whole.format, whole.filesystem
        )
        for batch in some.to_batches(columns=columns, batch_size=BATCH_ROWS):
            if batch.num_rows:
                yield batch

    def _at(self, version: int | None) -> DeltaTable:
        with self._told():
            return DeltaTable(self._url, version=version, storage_options=self._options or None)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        where = f"{self._source.name} at {masked(self._source.url)}"
        try:
            yield
        except TableNotFoundError:
            raise SourceError(f"{where}: there is no Delta table.", hint="Correct the URL, or restore it.") from None
        except FileNotFoundError as error:
            raise SourceError(
                f"{where}: a file of the version that is read is gone ({short_text(error)}).",
                hint="It was vacuumed; run again to read the newest version, and keep files longer than ingests take.",
            ) from None
        except (DeltaError, OSError, pa.ArrowException, ValueError) as error:
            said = scrubbed(short_text(error), self._options.values())
            raise SourceError(f"{where}: {said}.", hint="Run again when the table can be read.") from None
