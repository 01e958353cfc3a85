"""One ingest of a dataset: read what is new, judge it, commit it exactly once.

The order of what becomes durable, which a kill at any moment leaves in one of these states::

    1 staged      all rows are judged and lie in the stage folder           -> forgotten, read again
    2 pending     facts name the ingest, its units and its numbers         -> completed from the stage
    3 quarantined the quarantine's commit, under the ingest's number       -> completed; the number adds it once
    4 committed   the good rows' commit, under the same number             -> completed
    5 recorded    facts say done and move the high-water mark, in one      -> done; only now is the snapshot visible
      transaction

Where the stage is gone (another machine) an ingest before 4 is abandoned, its quarantined rows are deleted, and its
units are read again; one after 4 is recorded from facts.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import StoreBusyError
from loopwright.core.hashing import digest_json
from loopwright.core.ref import Ref
from loopwright.core.storage.duck import connect, quote_name, quote_text
from loopwright.data.column import SYSTEM_COLUMNS
from loopwright.data.history import History, latest_rows
from loopwright.data.judging import Judging, refused_rows
from loopwright.data.plan import Known
from loopwright.data.records import datasets, ingests, source_units
from loopwright.data.snapshot import IngestReport
from loopwright.data.stage import Stage, good_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from loopwright.core.storage.stores import Stores
    from loopwright.data.dataset import Dataset
    from loopwright.data.judging import Staged
    from loopwright.data.plan import Plan

COMMIT_ROWS = 131_072


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

    def recover(self) -> IngestReport | None:
        """Complete, or abandon, an ingest that died; None where there is none."""
        with self._stores.facts.read() as connection:
            row = connection.execute(
                sa.select(ingests)
                .where(ingests.c.dataset == self._dataset.name, ingests.c.status == "pending")
                .order_by(ingests.c.number)
            ).first()
        if row is None:
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
        if not plan.units and not plan.records and not plan.refused:
            return IngestReport(
                self._dataset.name, snapshot=before, warnings=tuple(plan.warnings), waiting=plan.waiting
            )
        now = self._stores.clock.now()
        judging = Judging(self._stores, self._dataset, self.stage, now, is_first=before is None)
        with connect(temp_folder=self.stage.folder / "spill") as con:
            latest_sql = None
            if before is not None and (self._dataset.key or self._dataset.contract.uniques()):
                self._stores.tables.attach(con, "stored_rows", self._table, version=before.version)
                latest_sql = latest_rows("stored_rows", self._dataset.key)
            staged = judging.run(plan, latest_sql, con)
        self._on_stage("staged")
        seconds = self._stores.clock.monotonic() - started
        identity, number, manifest, report = self._pend(plan, staged, now, seconds)
        self._on_stage("pending")
        return self._commit(identity, number, manifest, report)

    def _pend(
        self, plan: Plan, staged: Staged, now: datetime, seconds: float
    ) -> tuple[str, int, dict[str, object], dict[str, object]]:
        """Fix the ingest: the manifest in the stage, then one row in facts."""
        dataset, before = self._dataset, self._history.latest(self._dataset.name)
        identity = self._stores.ids.new()
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
            "records": [asdict(one) for one in staged.records],
        }
        manifest: dict[str, object] = {
            "id": identity,
            "columns": staged.columns,
            "refused": staged.refused,
            "now": now.isoformat(),
            "rows_accepted": staged.rows_accepted,
        }
        self.stage.write_manifest(manifest)
        with self._stores.facts.write() as connection:
            number = 1 + (
                connection.execute(
                    sa.select(sa.func.max(ingests.c.number)).where(ingests.c.dataset == dataset.name)
                ).scalar()
                or 0
            )
            other = connection.execute(
                sa.select(ingests.c.id).where(ingests.c.dataset == dataset.name, ingests.c.status == "pending")
            ).first()
            if other is not None:
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
        return identity, number, manifest, report

    def _commit(
        self, identity: str, number: int, manifest: Mapping[str, object], report: Mapping[str, object]
    ) -> IngestReport:
        """Commit the staged rows; what is committed already under this number is not committed again."""
        transaction = (self._application, number)
        metadata = {"ingest_id": identity}
        refused = {str(k): str(v) for k, v in _mapping(manifest["refused"]).items()}
        arrived = str(manifest["now"])
        with connect(threads=1, temp_folder=self.stage.folder / "spill") as con:  # one thread keeps the rows' order
            bad = self._bad_rows(refused)
            if bad is not None:
                query = f"SELECT *, '{arrived}'::TIMESTAMPTZ AS _arrived_at, '{identity}' AS _ingest_id FROM ({bad})"
                if refused:
                    con.register("refused", refused_rows(refused))
                reader = con.sql(query).to_arrow_reader(COMMIT_ROWS)
                self._stores.tables.append(self._quarantine, reader, transaction=transaction, metadata=metadata)
            self._on_stage("quarantined")
            version = None
            if manifest["rows_accepted"]:
                moment = f"'{arrived}'::TIMESTAMPTZ"
                if self._dataset.arrival_time is not None:
                    moment = f"{quote_name(self._dataset.arrival_time)}::TIMESTAMPTZ"
                columns = [str(name) for name in _list(manifest["columns"])]
                query = good_rows(self.stage, columns, refused=list(refused), arrived=moment, ingest_id=identity)
                reader = con.sql(query).to_arrow_reader(COMMIT_ROWS)
                version = self._stores.tables.append(self._table, reader, transaction=transaction, metadata=metadata)
        self._on_stage("committed")
        return self._record(identity, report, version)

    def _bad_rows(self, refused: Mapping[str, str]) -> str | None:
        queries = []
        if self.stage.parts["bad"]:
            listed = ", ".join(quote_text(name) for name in refused)
            outside = f" WHERE _source NOT IN ({listed})" if refused else ""
            queries.append(f"SELECT _source, _source_row, reasons, raw FROM ({self.stage.scan('bad')}){outside}")
        if refused:
            queries.append("SELECT _source, _source_row, reasons, raw FROM refused")
        return " UNION ALL ".join(queries) or None

    def _record(self, identity: str, report: Mapping[str, object], version: int | None) -> IngestReport:
        """Say done and move the high-water mark, in one transaction; then the snapshot is visible."""
        stores, name = self._stores, self._dataset.name
        before = self._history.latest(name)
        records = [Known(**one) for one in _list(report["records"])]  # type: ignore[arg-type]
        kept = {key: value for key, value in report.items() if key != "records"}
        values: dict[str, object] = {"status": "done", "finished_at": stores.clock.now(), "report": kept}
        values["version"] = version if version is not None else (before.version if before else None)
        if version is not None:
            schema = stores.tables.schema(self._table, version)
            values["schema_digest"] = digest_json(
                [[one.name, str(one.type)] for one in schema if one.name not in SYSTEM_COLUMNS]
            )
        with stores.facts.write() as connection:
            connection.execute(ingests.update().where(ingests.c.id == identity).values(values))
            self._record_units(connection, identity, records)
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
        return report_of(name, kept, self._history.latest(name))

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
