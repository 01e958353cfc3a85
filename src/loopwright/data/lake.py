"""The lake: ingests datasets, and hands out their snapshots, quarantine and rows.

A walk::

    lake = Lake(stores)
    report = lake.ingest(orders)  # what was read, accepted, quarantined and why
    snapshot = lake.snapshot("orders")  # or version=3, or at=a moment
    table = lake.read(snapshot, columns=["minutes"], where="distance_km > 3")
    lake.row("orders", "order_id", 17)  # the file and row it came from
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import LoopwrightError, UsageError
from loopwright.core.storage.columns import duck_type
from loopwright.core.storage.duck import connect, quote_name, to_arrow
from loopwright.core.storage.table_changes import TableSpan
from loopwright.core.storage.table_errors import reading
from loopwright.data.ingest.check import check_dataset
from loopwright.data.ingest.ingest import Ingest, report_of
from loopwright.data.ingest.lock import dataset_lock
from loopwright.data.ingest.pushing import PushedBatch, Pushing
from loopwright.data.ingest.records import ingests, source_marks, source_units
from loopwright.data.ingest.text import text_ref
from loopwright.data.quarantine.repair import Repair
from loopwright.data.quarantine.replay import Replay, ReplayRecord, ReplayReport, replays
from loopwright.data.quarantine.view import QuarantineView
from loopwright.data.sources.plan import Known
from loopwright.data.sources.push import PushSource
from loopwright.data.sources.reader import Reading
from loopwright.data.sources.readers import reader_of
from loopwright.data.versions.diff import SAMPLE_ROWS, SnapshotDiff, diff_snapshots
from loopwright.data.versions.erase import Eraser
from loopwright.data.versions.erasure import Erasure, erasures_on_record
from loopwright.data.versions.export import export_rows
from loopwright.data.versions.history import History, declared_columns, latest_rows
from loopwright.data.versions.hold import Holds
from loopwright.data.versions.retention import Retention
from loopwright.data.versions.snapshot import IngestReport, RowOrigin, Snapshot
from loopwright.data.versions.tag import Tag, Tags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from loopwright.core.storage.stores import Stores
    from loopwright.data.dataset import Dataset
    from loopwright.data.quality.report import CheckReport
    from loopwright.data.sources.frame import Frame


def _unobserved(stage: str) -> None:
    del stage


class Lake:
    """All datasets of a workspace.

    Args:
        stores: The workspace's stores.
        on_stage: Told each stage of an ingest as it is reached (see :mod:`loopwright.data.ingest.ingest`).
    """

    def __init__(self, stores: Stores, *, on_stage: Callable[[str], None] = _unobserved) -> None:
        self._stores = stores
        self._on_stage = on_stage
        self._history = History(stores)

    def ingest(self, dataset: Dataset) -> IngestReport:
        """Bring in what is new at the dataset's source, exactly once, and complete an ingest that died.

        Returns:
            What was done. Where nothing was new, zero rows and the snapshot that stands.

        Raises:
            SourceError: If the source is missing or cannot be opened; nothing was stored.
            ContractError: If the contract cannot be checked against the data.
            IngestStoppedError: If a check with ``on_failure="stop"`` failed; nothing was stored.
            TurnInProgressError: If another process ingests the same dataset.
        """
        waits = isinstance(dataset.source, PushSource)
        with dataset_lock(self._stores.local / "locks", dataset.name, wait=waits):
            Eraser(self._stores, dataset.name).complete()
            ingest = Ingest(self._stores, dataset, self._on_stage)
            recovered = ingest.recover()
            ingest.stage.begin()
            reading = self._reading(dataset, ingest.stage.folder)
            report = ingest.run(reader_of(dataset.source).plan(dataset.source, reading))
        return report if recovered is None else _sum(recovered, report)

    def push(self, dataset: Dataset, rows: Frame, *, batch_id: str | None = None) -> IngestReport:
        """Add rows that are handed over; after return they are durable.

        The same ``batch_id`` again adds nothing and returns the first report, so a caller that got no answer may
        repeat. Pushes to one dataset wait for each other.

        Raises:
            SourceError: If the rows are no table, or ``batch_id`` was used for other rows.
        """
        (answer,) = self.push_many(dataset, [PushedBatch(rows, batch_id)])
        if isinstance(answer, LoopwrightError):
            raise answer
        return answer

    def push_many(self, dataset: Dataset, batches: Sequence[PushedBatch]) -> list[IngestReport | LoopwrightError]:
        """Add batches that wait together, in their order, with as few commits as they allow.

        Returns:
            What :meth:`push` would say of each: its report, or the error that it would raise.

        Raises:
            StoreError: If the stores cannot take them now.
        """
        with dataset_lock(self._stores.local / "locks", dataset.name, wait=True):
            Eraser(self._stores, dataset.name).complete()
            ingest = Ingest(self._stores, dataset, self._on_stage)
            ingest.recover()
            ingest.stage.begin()
            return Pushing(self._stores, dataset, ingest).take(batches)

    def compact(self, name: str) -> int:
        """Merge the small files of a dataset and its quarantine; return how many went. No row and no snapshot changes.

        Ingests and pushes do so by themselves, a little each time, and may come between the steps of this.
        """
        merged = 0
        for table in (f"datasets/{name}", f"quarantine/{name}"):
            while self._stores.tables.exists(table):
                with dataset_lock(self._stores.local / "locks", name, wait=True):
                    went = self._stores.tables.tidy(table, is_final=True, on_stage=self._on_stage)
                merged += went
                if not went:
                    break
        return merged

    def has_new(self, dataset: Dataset) -> bool:
        """Tell whether an ingest would find something, by listing only; rows in memory are compared by content."""
        with self._stores.facts.read() as connection:
            pending = connection.execute(
                sa.select(ingests.c.id).where(ingests.c.dataset == dataset.name, ingests.c.status == "pending")
            ).first()
        if pending is not None:
            return True
        folder = self._stores.local / "ingest" / dataset.name
        return reader_of(dataset.source).has_new(dataset.source, self._reading(dataset, folder))

    def names(self) -> list[str]:
        """Return the datasets that have a snapshot."""
        return [name for name in self._history.names() if self._history.latest(name) is not None]

    def snapshot(
        self, name: str, *, version: int | None = None, at: datetime | None = None, tag: str | None = None
    ) -> Snapshot:
        """Return the newest snapshot, the one of a version or a tag, or the one that was the newest at a moment.

        The name may say which itself: ``orders@3``, ``orders@2026-01-05``, ``orders@tag``.

        Raises:
            UnknownNameError: If there is none.
        """
        return self._history.snapshot(name, version=version, at=at, tag=tag)

    @property
    def tags(self) -> Tags:
        """Names of snapshots; see :mod:`loopwright.data.versions.tag`."""
        return Tags(self._stores.facts, self._stores.clock)

    @property
    def holds(self) -> Holds:
        """What must not be removed; see :mod:`loopwright.data.versions.hold`."""
        return Holds(self._stores.facts, self._stores.clock)

    def tag(self, name: str, tag: str, *, by: str, reason: str = "", immutable: bool = False) -> Tag:
        """Name a snapshot (``orders``, ``orders@3``, …): it stays readable until the tag moves or is removed."""
        snapshot = self.snapshot(name)
        return self.tags.set(snapshot.dataset, tag, snapshot.version, by=by, reason=reason, immutable=immutable)

    def history(self, name: str) -> list[Snapshot]:
        """Return the snapshots of a dataset, the newest first."""
        return self._history.snapshots(name)

    def ingests(self, name: str, *, limit: int = 100) -> list[IngestReport]:
        """Return what the last ingests did, the newest first."""
        snapshots = {one.ingest_id: one for one in self.history(name)}
        query = (
            sa.select(ingests)
            .where(ingests.c.dataset == name, ingests.c.status == "done")
            .order_by(ingests.c.number.desc())
            .limit(limit)
        )
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        return [report_of(name, row.report, snapshots.get(row.id)) for row in rows]

    def scan_sql(self, snapshot: Snapshot) -> str:
        """Return a DuckDB SELECT that gives the snapshot's rows, system columns included."""
        self._history.require_files(snapshot)
        scan = self._stores.tables.scan_sql(f"datasets/{snapshot.dataset}", snapshot.version)
        return latest_rows(f"({scan})", snapshot.latest_by) if snapshot.latest_by else scan

    def attach(self, con: duckdb.DuckDBPyConnection, name: str, snapshot: Snapshot) -> None:
        """Give the snapshot's rows a name in a DuckDB connection; works for every kind of store."""
        self._history.require_files(snapshot)
        self._stores.tables.attach(con, f"{name} stored", f"datasets/{snapshot.dataset}", version=snapshot.version)
        rows = latest_rows(quote_name(f"{name} stored"), snapshot.latest_by)
        con.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS {rows}")

    def read(
        self,
        snapshot: Snapshot | str,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Read a snapshot into memory: ``columns`` in their order (all by default), rows that match ``where`` (SQL).

        Rows come in the order of their ingests; where keys were superseded, within one by source and row.
        """
        snapshot = self.snapshot(snapshot) if isinstance(snapshot, str) else snapshot
        table = f"datasets/{snapshot.dataset}"
        if not snapshot.latest_by and limit is None:
            self._history.require_files(snapshot)
            return self._stores.tables.read(table, version=snapshot.version, columns=columns, where=where)
        listed = "*" if columns is None else ", ".join(quote_name(name) for name in columns)
        query = f"SELECT {listed} FROM snapshot" + (f" WHERE {where}" if where else "")
        query += " ORDER BY _ingest_id, _source, _source_row" if snapshot.latest_by else ""
        with connect() as con, reading(table, where):
            self.attach(con, "snapshot", snapshot)
            return to_arrow(con.sql(query if limit is None else f"{query} LIMIT {limit}"))

    def diff(self, older: Snapshot | str, newer: Snapshot | str, *, sample_rows: int = SAMPLE_ROWS) -> SnapshotDiff:
        """Compare two snapshots of one dataset: columns, rows by key, and each column's distribution.

        ``sample_rows`` of each are behind the distributions; 0 leaves them out.
        """
        older, newer = (self.snapshot(one) if isinstance(one, str) else one for one in (older, newer))
        if older.dataset != newer.dataset:
            raise UsageError(f"{older.ref} and {newer.ref} are snapshots of different datasets.")
        for one in (older, newer):
            self._history.require_files(one)
        key = [str(name) for name in _texts(self._history.declaration(older.dataset)["key"])]
        tables, name = self._stores.tables, f"datasets/{older.dataset}"
        first, last = sorted((older.version, newer.version))
        change = tables.change(TableSpan(name, first, last), with_same=True)
        if older.version > newer.version:
            change = replace(change, came=change.gone, gone=change.came)
        schemas = (tables.schema(name, one.version) for one in (older, newer))
        before, after = ({field.name: duck_type(field.type) for field in schema} for schema in schemas)
        spill = self._stores.local / "tmp"
        spill.mkdir(parents=True, exist_ok=True)
        with connect(temp_folder=spill / "diff") as con:
            return diff_snapshots(con, older, newer, change, key, types=(before, after), sample_rows=sample_rows)

    def export(self, snapshot: Snapshot | str, target: Path) -> int:
        """Write a snapshot's rows for other tools; see :mod:`loopwright.data.versions.export`."""
        snapshot = self.snapshot(snapshot) if isinstance(snapshot, str) else snapshot
        with connect() as con:
            self.attach(con, "exported", snapshot)
            return export_rows(con, "exported", target)

    def erase(
        self, name: str, key_column: str, values: Sequence[object], *, reason: str, by: str, forever: bool = False
    ) -> Erasure:
        """Erase the rows of some keys from every snapshot, the quarantine and the payloads; the request stays known.

        See :mod:`loopwright.data.versions.erase`. ``forever`` keeps the keys out of later ingests too.
        """
        with dataset_lock(self._stores.local / "locks", name, wait=True):
            eraser = Eraser(self._stores, name, self._on_stage)
            eraser.complete()
            return eraser.erase(key_column, values, reason=reason, by=by, forever=forever)

    def erasures(self, name: str | None = None) -> list[Erasure]:
        """Return the erasures on record, the newest first."""
        return erasures_on_record(self._stores.facts, name)

    def quarantine(self, name: str) -> QuarantineView:
        """Return the quarantine of a dataset."""
        return QuarantineView(self._stores, name)

    def check(self, dataset: Dataset, data: Frame | str | Path | None = None) -> CheckReport:
        """Check a file, files or a table by a dataset's contract, or without any the newest snapshot; store nothing.

        Raises:
            ContractError: If the contract cannot be checked against the data.
            SourceError: If there is no data, or it cannot be read.
            UnknownNameError: If there is neither data nor a snapshot.
        """
        return check_dataset(self._stores, dataset, data)

    def replay(self, dataset: Dataset, repair: Repair | None = None, *, by: str) -> ReplayReport:
        """Put rows of the quarantine through the contract again; see :mod:`loopwright.data.quarantine.replay`."""
        with dataset_lock(self._stores.local / "locks", dataset.name, wait=True):
            return Replay(self._stores, dataset, self._on_stage).run(repair or Repair(), by=by)

    def replays(self, name: str) -> list[ReplayRecord]:
        """Return the replays of a dataset's quarantine, the newest first."""
        return replays(self._stores, name)

    @property
    def retention(self) -> Retention:
        """What nothing needs any more; see :mod:`loopwright.data.versions.retention`."""
        return Retention(self._stores, self._history)

    def row(self, name: str, key_column: str, key: object, *, version: int | None = None) -> RowOrigin | None:
        """Find a row by a column's value, and say which file it came from, when, and by which ingest.

        A text column is found by its text, and given as text.
        """
        snapshot = self.snapshot(name, version=version)
        name = snapshot.dataset
        texts = declared_columns(self._history.declaration(name), "text")
        if key_column in texts:
            key = text_ref(str(key))
        with connect() as con:
            self.attach(con, "snapshot", snapshot)
            query = f"SELECT * FROM snapshot WHERE {quote_name(key_column)}::VARCHAR = $key::VARCHAR LIMIT 1"
            found = to_arrow(con.sql(query, params={"key": str(key)})).to_pylist()
        if not found:
            return None
        row = found[0]
        source, number = row.pop("_source"), row.pop("_source_row")
        arrived_at, ingest_id = row.pop("_arrived_at"), row.pop("_ingest_id")
        for column in texts:
            if row.get(column) is not None:
                row[column] = self._stores.payloads.get(row[column]).decode()
        made = next((one for one in self.history(name) if one.ingest_id == ingest_id), snapshot)
        return RowOrigin(name, source, number, arrived_at, ingest_id, made, row)

    def _known(self, name: str) -> dict[str, Known]:
        c = source_units.c
        query = sa.select(c.name, c.digest, c.size, c.modified_ns, c.rows, c.state).where(c.dataset == name)
        with self._stores.facts.read() as connection:
            return {row[0]: Known(*row) for row in connection.execute(query)}

    def _marks(self, name: str) -> dict[str, object]:
        query = sa.select(source_marks.c.part, source_marks.c.position).where(source_marks.c.dataset == name)
        with self._stores.facts.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def _reading(self, dataset: Dataset, folder: Path) -> Reading:
        return Reading(
            project=self._stores.settings.project,
            folder=folder,
            known=self._known(dataset.name),
            marks=self._marks(dataset.name),
            has_key=bool(dataset.key or dataset.contract.uniques()),
            now=self._stores.clock.now(),
            events=self._stores.events,
            connections=self._stores.settings.sources,
            clock=self._stores.clock,
        )


def _sum(first: IngestReport, second: IngestReport) -> IngestReport:
    """Add the report of a completed ingest to the one after it."""
    reasons = {
        label: first.reasons.get(label, 0) + second.reasons.get(label, 0)
        for label in sorted({*first.reasons, *second.reasons})
    }
    return replace(
        second,
        rows_read=first.rows_read + second.rows_read,
        rows_accepted=first.rows_accepted + second.rows_accepted,
        rows_quarantined=first.rows_quarantined + second.rows_quarantined,
        rows_duplicate=first.rows_duplicate + second.rows_duplicate,
        reasons=reasons,
        units=first.units + second.units,
        seconds=first.seconds + second.seconds,
        warnings=(*first.warnings, *second.warnings),
        refused=first.refused | second.refused,
    )


def _texts(value: object) -> list[object]:
    return value if isinstance(value, list) else []
