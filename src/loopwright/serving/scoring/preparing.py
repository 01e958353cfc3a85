"""From a source to Parquet files that are read in parts: which files, which columns, and what they held.

Parquet files and plain snapshots are read where they lie. Everything else is staged: text formats, queries, snapshots
of which only the newest row of a key counts, and rows to which views are joined.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow.parquet as pq

from loopwright.core.errors import SourceError, StoreError, UnknownNameError, UsageError
from loopwright.core.hashing import digest_json
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.sources.files import FORMATS, PAYLOADS, files, format_of
from loopwright.data.sources.here import Here
from loopwright.data.sources.listing import list_files
from loopwright.data.sources.plan import nothing_there
from loopwright.data.sources.reader import Reading
from loopwright.data.sources.readers import reader_of
from loopwright.data.sources.sql import sql
from loopwright.data.sources.tabular import read_file
from loopwright.data.sources.unit import INSIDE, ROW, UnreadableUnitError
from loopwright.data.versions.history import History
from loopwright.features.engine import Inputs
from loopwright.features.engines import open_engine
from loopwright.serving.scoring.source import DatasetRows, FileRows, QueryRows
from loopwright.serving.scoring.staging import RowFile, Staging

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.sources.listing import Listed
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.training_spec import TrainingSetSpec
    from loopwright.serving.scoring.job import ScoreJob
    from loopwright.serving.scoring.source import ScoreSource

SOURCE = "_source"
MOST_GROUP_ROWS = 1 << 20
"""Rows of a group beyond which a Parquet file is staged: a part of it would read all before it in vain."""
_ROWS = "rows to score"
_PLACE, _MOMENT = "__place__", "__moment__"


@dataclass(frozen=True)
class Prepared:
    """Where the rows lie.

    Attributes:
        files: In the order of their rows.
        content: A digest of what the source held.
        names: The columns that some file has.
        stored: Whether the values are as a dataset stores them.
        joined: Features of views among the columns.
        key: The columns that name a row by declaration.
        event_time: The column with the moment a row speaks of, by declaration.
    """

    files: list[RowFile]
    content: str
    names: frozenset[str]
    stored: bool = False
    joined: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    event_time: str | None = None


@dataclass
class Preparing:
    """Prepares the rows of jobs.

    Args:
        stores: The stores.
        lake: The datasets.
        definition: How the model's training set was made; None where that was not kept.
        uses_views: Whether the model takes features of views.
    """

    stores: Stores
    lake: Lake
    definition: TrainingSetSpec | None
    uses_views: bool
    warnings: list[str] = field(default_factory=list)

    def content(self, source: ScoreSource) -> tuple[str, dict[str, int]]:
        """Return what names the rows that a source has now, and the snapshots to read; "" where reading alone tells.

        Raises:
            SourceError: If there is nothing.
            UnknownNameError: If there is no such dataset or snapshot.
        """
        match source:
            case DatasetRows():
                snapshots = self._snapshots(source)
                return digest_json(snapshots), snapshots
            case FileRows():
                listed = self._listed(source)
                return digest_json([[one.name, one.size_bytes, one.modified_ns] for one in listed]), {}
            case QueryRows():
                return "", {}

    def rows(self, job: ScoreJob, source: ScoreSource, folder: Path) -> Prepared:
        """Bring the rows of a job where workers can read them in parts."""
        match source:
            case DatasetRows():
                return self._dataset(job, source, folder)
            case FileRows():
                return self._files(job, source, folder)
            case QueryRows():
                return self._query(job, source, folder)

    def _snapshots(self, source: DatasetRows) -> dict[str, int]:
        scored = self.lake.snapshot(source.name)
        found = {scored.dataset: scored.version}
        if self.uses_views:
            if self.definition is None:
                raise UsageError(
                    f"The views of this version are not on record with it, and rows of '{scored.dataset}' need them.",
                    hint="Train it again, or score files that have the features' entities.",
                )
            others = {one.name for view in self.definition.views for one in view.datasets}
            found |= {name: self.lake.snapshot(name).version for name in sorted(others - {scored.dataset})}
        return found

    def _dataset(self, job: ScoreJob, source: DatasetRows, folder: Path) -> Prepared:
        name = next(iter(job.snapshots))
        snapshot = self.lake.snapshot(name, version=job.snapshots[name])
        declaration = History(self.stores).declaration(name)
        key = tuple(str(one) for one in cast("Sequence[object]", declaration.get("key") or ()))
        event_time = cast("str | None", declaration.get("event_time"))
        if self.uses_views:
            found, joined = self._joined(job, source, snapshot, folder, event_time)
        else:
            found, joined = self._snapshot(snapshot, folder), ()
        found = self._split(found, folder)
        return Prepared(found, job.content, _names(found), stored=True, joined=joined, key=key, event_time=event_time)

    def _snapshot(self, snapshot: Snapshot, folder: Path) -> list[RowFile]:
        if not snapshot.latest_by:
            with contextlib.suppress(StoreError):  # no list of plain Parquet files
                named = self.stores.tables.files(f"datasets/{snapshot.dataset}", snapshot.version)
                return [RowFile(Path(one), snapshot.ref.id) for one in named]
        staging = Staging(folder)
        engine = open_engine(self.stores.settings)
        with engine.open(Inputs(self.stores, self.lake, {snapshot.dataset: snapshot})) as session:
            reader = session.desk.sql(f"SELECT * FROM {quote_name(snapshot.dataset)}").to_arrow_reader(65_536)
            _stage(staging, reader, snapshot.ref.id)
        return staging.close()

    def _joined(
        self, job: ScoreJob, source: DatasetRows, snapshot: Snapshot, folder: Path, event_time: str | None
    ) -> tuple[list[RowFile], tuple[str, ...]]:
        """Join the model's views to the rows, as known at the moment of the job or at each row's event time."""
        spec = cast("TrainingSetSpec", self.definition)
        moment = f"TIMESTAMPTZ {quote_text(job.at.isoformat())}"
        if source.moment == "event_time":
            if event_time is None:
                raise UsageError(f"'{snapshot.dataset}' declares no event time.", hint="Join as of the scoring.")
            moment = f"{quote_name(event_time)}::TIMESTAMPTZ"
        snapshots = {name: self.lake.snapshot(name, version=version) for name, version in job.snapshots.items()}
        staging = Staging(folder)
        with open_engine(self.stores.settings).open(Inputs(self.stores, self.lake, snapshots)) as session:
            given = session.desk.sql(f"DESCRIBE {quote_name(snapshot.dataset)}").fetchall()
            columns = [str(name) for name, *_ in given]
            for view in spec.views:
                for entity in view.matched_on:
                    if entity not in columns:
                        raise UnknownNameError("column", entity, columns, where=f"in '{snapshot.dataset}'")
            session.desk.execute(
                f"CREATE OR REPLACE TEMP TABLE {quote_name(_ROWS)} AS SELECT *, {moment} AS {_MOMENT}, "
                f"row_number() OVER () AS {_PLACE} FROM {quote_name(snapshot.dataset)}"
            )
            views = [session.compute(view, spec.late_labels) for view in spec.views]
            for rows in views:
                self.warnings.extend(rows.warnings)
            joined = tuple(one.name for rows in views for one in rows.fields)
            kept = [name for name in columns if name not in joined]
            batches = session.join(_ROWS, views, time=_MOMENT, columns=kept, order=_PLACE, batch=65_536)
            _stage(staging, batches, snapshot.ref.id)
        return staging.close(), joined

    def _files(self, job: ScoreJob, source: FileRows, folder: Path) -> Prepared:
        listed = self._listed(source)
        here = Here(self.stores.settings.project, folder)
        here.bring(listed)
        found: list[RowFile] = []
        staging = Staging(folder)
        for one in listed:
            path = here.path(one)
            if format_of(one.name) == "parquet":
                _require_parquet(path, one.name)
                found += staging.close()
                staging = Staging(folder / f"after-{len(found):06d}")
                found.append(RowFile(path.absolute(), one.name))
                continue
            try:
                for table in read_file(path, files(one.name)):
                    staging.add(table, one.name)
            except UnreadableUnitError as error:
                raise SourceError(f"{one.name} cannot be read: {error}.", hint="Correct it, and run again.") from error
        found = self._split([*found, *staging.close()], folder)
        return self._usual(found, job.content)

    def _query(self, job: ScoreJob, source: QueryRows, folder: Path) -> Prepared:
        declared = sql(source.url, query=source.query)
        stores = self.stores
        reading = Reading(
            project=stores.settings.project,
            folder=folder / "query",
            known={},
            marks={},
            has_key=True,
            now=job.at,
            events=stores.events,
            connections=stores.settings.sources,
            clock=stores.clock,
        )
        plan = reader_of(declared).plan(declared, reading)
        staging = Staging(folder)
        content = digest_json([])
        for unit in plan.units:
            content = unit.digest
            for table in unit.batches():
                staging.add(table, unit.name)
        found = staging.close()
        return self._usual(found, content)

    def _usual(self, found: list[RowFile], content: str) -> Prepared:
        """Take the key and event time of the dataset that the model learned from, where the rows have them."""
        names = _names(found)
        if self.definition is None:
            return Prepared(found, content, names)
        dataset = self.definition.label.dataset
        has_key = bool(dataset.key) and set(dataset.key) <= names
        event_time = dataset.event_time if dataset.event_time in names else None
        return Prepared(found, content, names, key=dataset.key if has_key else (), event_time=event_time)

    def _listed(self, source: FileRows) -> list[Listed]:
        project = self.stores.settings.project
        listed = list_files(source.pattern, project)
        if not listed:
            raise nothing_there(source.pattern, project)
        for one in listed:
            kind = format_of(one.name)
            if kind is None or kind in PAYLOADS:
                known = ", ".join(name for name in FORMATS if name not in PAYLOADS)
                raise SourceError(f"{one.name} is no table that can be scored.", hint=f"Give files of {known}.")
        return listed

    def _split(self, found: Sequence[RowFile], folder: Path) -> list[RowFile]:
        """Stage Parquet files whose row groups are too large to be read in parts."""
        split: list[RowFile] = []
        for number, one in enumerate(found):
            with pq.ParquetFile(one.path) as file:
                groups = range(file.metadata.num_row_groups)
                if all(file.metadata.row_group(group).num_rows <= MOST_GROUP_ROWS for group in groups):
                    split.append(one)
                    continue
                staging = Staging(folder / f"split-{number:06d}")
                _stage(staging, file.iter_batches(65_536), one.source)
                split += staging.close()
        return split


def _stage(staging: Staging, batches: Iterator[pa.RecordBatch] | pa.RecordBatchReader, source: str) -> None:
    for batch in batches:
        staging.add(_table(batch), source)


def _table(batch: pa.RecordBatch) -> pa.Table:
    table = batch.schema.empty_table().from_batches([batch])
    return table.drop_columns([name for name in (_PLACE, _MOMENT) if name in table.column_names])


def _names(found: Sequence[RowFile]) -> frozenset[str]:
    names: set[str] = set()
    for one in found:
        with pq.ParquetFile(one.path) as file:
            names.update(file.schema_arrow.names)
    return frozenset(names - {*INSIDE, SOURCE, ROW})


def _require_parquet(path: Path, name: str) -> None:
    try:
        with pq.ParquetFile(path):
            return
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0][:200]
        raise SourceError(f"{name} cannot be read: {said}", hint="Correct or remove it, and run again.") from error
