"""One ingest of a dataset: read what is new, judge it, commit it exactly once.

The order of what becomes durable, which a kill at any moment leaves in one of these states::

    1 staged      all rows are judged and lie in the stage                 -> forgotten, read again
    2 pending     facts name the ingest, its units and its numbers         -> completed from the stage
    3 quarantined the quarantine's commit, under the ingest's number       -> completed; the number adds it once
    4 committed   the good rows' commit, under the same number             -> completed
    5 recorded    facts say done and move the high-water mark, in one      -> done; only now is the snapshot visible
      transaction

Where the stage is gone (it was in memory, or on another machine) an ingest before 4 is abandoned, its quarantined rows
are deleted, and its units are read again; one after 4 is recorded from facts.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa

from loopwright.core.errors import StoreBusyError, StoreError
from loopwright.core.hashing import digest_json
from loopwright.core.ref import Ref
from loopwright.core.storage.duck import borrowed, connect
from loopwright.data.contract.column import SYSTEM_COLUMNS
from loopwright.data.ingest.batch_counts import count_batches
from loopwright.data.ingest.judging import Judging, refused_rows
from loopwright.data.ingest.records import datasets, ingests, source_marks, source_units
from loopwright.data.ingest.settling import looks_at_others
from loopwright.data.ingest.stage import Stage, with_system_columns
from loopwright.data.sources.plan import Known
from loopwright.data.versions.history import History, latest_rows
from loopwright.data.versions.snapshot import IngestReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.dataset import Dataset
    from loopwright.data.ingest.judging import Staged
    from loopwright.data.ingest.known_keys import KnownKeys
    from loopwright.data.sources.plan import Plan
    from loopwright.data.versions.snapshot import Snapshot

_SMALL_BYTES = 8 << 20
_SMALL_ROWS = 2_000_000  # of the dataset, where they are read
_ENGINE_BYTES = 640 << 20  # beyond which a large ingest spills into the stage


class Ingest:
    """Ingests one dataset. The caller holds the dataset's lock.

    Args:
        stores: Where everything goes.
        dataset: The declaration.
        on_stage: Called with ``planned``, ``staged``, ``pending``, ``quarantined``, ``committed`` and ``recorded`` as
            each is reached.
    """

    def __init__(self, stores: Stores, dataset: Dataset, on_stage: Callable[[str], None]) -> None:
        self._stores = stores
        self._dataset = dataset
        self._on_stage = on_stage
        self._history = History(stores)
        self._table = f"datasets/{dataset.name}"
        self._quarantine = f"quarantine/{dataset.name}"
        self._application = f"ingest:{dataset.name}"
        self.stage = Stage(stores.local / "ingest" / dataset.name)
        self.note: dict[str, object] = {}  # goes on record with the report: why this ingest was made

    def recover(self) -> IngestReport | None:
        """Complete, or abandon, an ingest that died; None where there is none."""
        with self._stores.facts.read() as connection:
            row = connection.execute(
                sa.select(ingests)
                .where(ingests.c.dataset == self._dataset.name)
                .order_by(ingests.c.number.desc())  # no ingest begins while one is pending: it is the newest
                .limit(1)
            ).first()
        if row is None or row.status != "pending":
            return None
        manifest = self.stage.read_manifest()
        if manifest is not None and manifest.get("id") == row.id:
            return self._commit(row.id, row.number, manifest, row.report)
        if (self._stores.tables.transaction(self._table, self._application) or -1) >= row.number:
            return self._record(row.id, row.report, self._version_of(row.id))
        self._abandon(row.id)
        return None

    def run(self, plan: Plan) -> IngestReport:
        """Judge and commit what the plan names."""
        started = self._stores.clock.monotonic()
        self._on_stage("planned")
        before = self._history.latest(self._dataset.name)
        if plan.is_empty:
            return IngestReport(
                self._dataset.name, snapshot=before, warnings=tuple(plan.warnings), waiting=plan.waiting
            )
        now, identity = self._stores.clock.now(), self._stores.ids.new()
        declared = None if before is None else self._history.declaration(self._dataset.name)
        judging = self._judging(identity, now, declared)
        with self._engine(plan, before) as con:
            known = None
            if before and declared and (self._dataset.key or self._dataset.contract.uniques()):
                is_single = not before.latest_by and declared["key"] == list(self._dataset.key)
                known = functools.partial(self._stored_sql, con, before, () if is_single else self._dataset.key)
            staged = judging.run(plan, known, con)
        self._on_stage("staged")
        seconds = self._stores.clock.monotonic() - started
        number, manifest, report = self._pend(identity, plan, staged, before, now, seconds)
        self._on_stage("pending")
        done = self._commit(identity, number, manifest, report, judging.keys)
        plan.settled()
        return done

    def _stored_sql(self, con: duckdb.DuckDBPyConnection, before: Snapshot, key: Sequence[str]) -> str:
        self._stores.tables.attach(con, "stored_rows", self._table, version=before.version)
        return latest_rows("stored_rows", key)

    def _judging(self, identity: str, now: datetime, declared: Mapping[str, object] | None) -> Judging:
        return Judging(self._stores, self._dataset, self.stage, ingest_id=identity, now=now, declared=declared)

    def _engine(self, plan: Plan, before: Snapshot | None) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Return the engine that stays open for a small ingest, and one that spills into the stage for others."""
        size = sum(unit.size_bytes for unit in plan.units)
        reads_stored = before is not None and (before.latest_by or looks_at_others(self._dataset.contract))
        if size <= _SMALL_BYTES and not (before and reads_stored and before.rows > _SMALL_ROWS):
            return borrowed()
        return connect(temp_folder=self.stage.folder / "spill", memory_limit_bytes=_ENGINE_BYTES)

    def _pend(
        self, identity: str, plan: Plan, staged: Staged, before: Snapshot | None, now: datetime, seconds: float
    ) -> tuple[int, dict[str, object], dict[str, object]]:
        """Fix the ingest: the manifest in the stage, then one row in facts."""
        dataset = self._dataset
        report: dict[str, object] = {
            "rows_read": staged.rows_read,
            "rows_accepted": staged.rows_accepted,
            "rows_quarantined": staged.rows_quarantined,
            "rows_duplicate": staged.rows_duplicate,
            "reasons": staged.reasons,
            "units": len(plan.units),
            "seconds": seconds,
            "warnings": staged.warnings,
            "refused": staged.refused,
            "waiting": plan.waiting,
            "records": [vars(one) for one in staged.records],
            "marks": dict(plan.marks()),
            **self.note,
        }
        if plan.counts_batches:
            report["batches"] = count_batches(self.stage, plan.records)
        manifest: dict[str, object] = {
            "id": identity,
            "refused": staged.refused,
            "now": now.isoformat(),
            "rows_accepted": staged.rows_accepted,
        }
        self.stage.write_manifest(manifest)
        with self._stores.facts.write() as connection:
            newest = connection.execute(
                sa.select(ingests.c.number, ingests.c.status)
                .where(ingests.c.dataset == dataset.name)
                .order_by(ingests.c.number.desc())
                .limit(1)
            ).first()
            number = 1 if newest is None else newest.number + 1
            if newest is not None and newest.status == "pending":
                raise StoreBusyError(
                    f"Dataset '{dataset.name}' has an ingest under way on another machine.", hint="Run again later."
                )
            connection.execute(
                ingests.insert().values(
                    id=identity,
                    dataset=dataset.name,
                    number=number,
                    status="pending",
                    staged=str(self.stage.folder),
                    started_at=now,
                    total_rows=(before.rows if before else 0) + staged.rows_accepted - staged.superseding,
                    has_superseded=bool(staged.superseding or (before and before.latest_by)),
                    schema_digest=before.schema_digest if before else "",
                    contract_digest=dataset.contract.digest,
                    rows_accepted=staged.rows_accepted,
                    rows_quarantined=staged.rows_quarantined,
                    report=report,
                )
            )
        return number, manifest, report

    def _commit(
        self,
        identity: str,
        number: int,
        manifest: Mapping[str, object],
        report: Mapping[str, object],
        keys: KnownKeys | None = None,
    ) -> IngestReport:
        """Commit the staged rows; what is committed already under this number is not committed again."""
        transaction = (self._application, number)
        metadata = {"ingest_id": identity}
        tables = self._stores.tables
        bad = self._bad_rows(manifest)
        if bad is not None:
            tables.append(self._quarantine, bad, transaction=transaction, metadata=metadata)
        self._on_stage("quarantined")
        version = None
        good = self.stage.rows("good", without=list(_mapping(manifest["refused"])))
        if manifest["rows_accepted"] and good is not None:
            version = tables.append(self._table, good, transaction=transaction, metadata=metadata)
        self._on_stage("committed")
        if keys is not None and version is not None:
            keys.remember(version)
        return self._record(identity, report, version)

    def _bad_rows(self, manifest: Mapping[str, object]) -> pa.Table | pa.RecordBatchReader | None:
        """Return the rows for the quarantine; of a file that was refused as a whole, one row that says why."""
        refused = {name: str(reason) for name, reason in _mapping(manifest["refused"]).items()}
        bad = self.stage.rows("bad", without=list(refused))
        if not refused:
            return bad
        now = datetime.fromisoformat(str(manifest["now"]))
        own = with_system_columns(refused_rows(refused), arrived=now, ingest_id=str(manifest["id"]))
        if bad is None:
            return own
        others = bad.to_batches() if isinstance(bad, pa.Table) else bad
        return pa.RecordBatchReader.from_batches(own.schema, itertools.chain(others, own.to_batches()))

    def _record(self, identity: str, report: Mapping[str, object], version: int | None) -> IngestReport:
        """Say done and move the high-water mark, in one transaction; then the snapshot is visible."""
        stores, name = self._stores, self._dataset.name
        records = [Known(**one) for one in _list(report["records"])]  # type: ignore[arg-type]
        kept = {key: value for key, value in report.items() if key not in {"records", "marks"}}
        values: dict[str, object] = {"status": "done", "finished_at": stores.clock.now(), "report": kept}
        if version is None:
            before = self._history.latest(name)
            values["version"] = before.version if before else None
        else:
            values["version"] = version
            schema = stores.tables.schema(self._table, version)
            values["schema_digest"] = digest_json(
                [[one.name, str(one.type)] for one in schema if one.name not in SYSTEM_COLUMNS]
            )
        with stores.facts.write() as connection:
            connection.execute(ingests.update().where(ingests.c.id == identity).values(values))
            self._record_units(connection, identity, records)
            for part, position in _mapping(report.get("marks")).items():
                mark = {"dataset": name, "part": part, "position": position, "ingest_id": identity}
                stores.facts.upsert(connection, source_marks, mark)
            declaration = self._dataset.describe()
            stores.facts.upsert(
                connection,
                datasets,
                {
                    "name": name,
                    "digest": self._dataset.digest,
                    "declaration": declaration,
                    "description": self._dataset.description,
                    "updated_at": stores.clock.now(),
                },
            )
            if version is not None:
                ref = Ref("snapshot", f"{name}@{version}")
                stores.lineage.link(Ref("dataset", name), ref, "version", connection=connection)
                stores.lineage.link(Ref("ingest", identity), ref, "ingested", connection=connection)
        self._on_stage("recorded")
        self.stage.remove()
        self._tidy(has_quarantined=bool(report["rows_quarantined"] or report["refused"]))
        return report_of(name, kept, self._history.latest(name))

    def _tidy(self, *, has_quarantined: bool) -> None:
        """Merge small files a little; the rows are in, whatever comes of it."""
        for table in (self._table, self._quarantine) if has_quarantined else (self._table,):
            with contextlib.suppress(StoreError):
                self._stores.tables.tidy(table, on_stage=self._on_stage)

    def _record_units(self, connection: sa.Connection, identity: str, records: list[Known]) -> None:
        rows = [
            {
                "dataset": self._dataset.name,
                "name": one.name,
                "digest": one.digest,
                "size": one.size_bytes,
                "modified_ns": one.modified_ns,
                "rows": one.rows,
                "state": one.state,
                "ingest_id": identity,
            }
            for one in records
        ]
        if not rows:
            return
        connection.execute(
            source_units.delete().where(
                source_units.c.dataset == self._dataset.name, source_units.c.name == sa.bindparam("unit_name")
            ),
            [{"unit_name": one.name} for one in records],
        )
        connection.execute(source_units.insert(), rows)

    def _version_of(self, identity: str) -> int | None:
        versions = self._stores.tables.versions(self._table)
        return next((one.version for one in versions if one.metadata.get("ingest_id") == identity), None)

    def _abandon(self, identity: str) -> None:
        if self._stores.tables.exists(self._quarantine):
            self._stores.tables.delete(self._quarantine, f"_ingest_id = '{identity}'")
        with self._stores.facts.write() as connection:
            connection.execute(
                ingests.update()
                .where(ingests.c.id == identity)
                .values(status="abandoned", finished_at=self._stores.clock.now())
            )


def report_of(name: str, values: Mapping[str, object], snapshot: object) -> IngestReport:
    """Read a report as facts keep it."""
    chosen = {key: value for key, value in values.items() if key in IngestReport.__dataclass_fields__}
    report = IngestReport(name, **chosen)  # type: ignore[arg-type]
    return replace(report, snapshot=snapshot, warnings=tuple(report.warnings))  # type: ignore[arg-type]


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []
