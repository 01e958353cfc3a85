"""Puts rows of the quarantine through the contract again, as it is now, and in where they pass.

A replay is an ingest whose source is the quarantine, and exactly as safe: what becomes durable in which order, and what
a kill leaves, is written in :mod:`loopwright.data.ingest.ingest`. The commit to the quarantine holds the rows that
still fail and a mark for every row that was taken (:mod:`loopwright.data.quarantine.kept_out`), so that rows leave it
and come into the dataset when the replay is recorded, all at once. A replay that was killed before is either completed
by the next ingest of the dataset or forgotten.

Rows keep ``_source`` and ``_source_row``. Their ``_arrived_at`` is the moment of the replay, since no training set and
no model could have known them before; the quarantine goes on to say when they came first. In a dataset that takes the
newer row of a key (``upsert``), a row is left alone where one of its key that came later is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from loopwright.core.errors import ContractError
from loopwright.core.storage.duck import connect, quote_name
from loopwright.data.contract.contract import Contract
from loopwright.data.dataset import Dataset
from loopwright.data.ingest.ingest import Ingest, report_of
from loopwright.data.ingest.judging import Judging
from loopwright.data.ingest.records import ingests
from loopwright.data.ingest.stage import Stage, with_system_columns
from loopwright.data.quarantine.kept_out import marks, sweep
from loopwright.data.quarantine.repair import prepare, private_columns, withheld_columns
from loopwright.data.sources.plan import Plan
from loopwright.data.sources.unit import BATCH_ROWS, Unit
from loopwright.data.versions.history import History, latest_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.ingest.judging import Staged
    from loopwright.data.quarantine.repair import Prepared, Repair
    from loopwright.data.versions.snapshot import IngestReport, Snapshot

# Checks of an ingest as a whole say nothing about a few rows that come after it.
_OF_A_WHOLE = frozenset(
    {
        "fresh",
        "row_count",
        "statistic",
        "distinct_values",
        "most_common",
        "column_names",
        "column_count",
        "distribution",
        "volume",
    }
)


@dataclass(frozen=True)
class ReplayReport:
    """What a replay did.

    Attributes:
        rows: Rows that went through the contract.
        accepted: Those that are in the dataset now.
        known: Those that it had already, equal in every value; they left the quarantine too.
        still_out: Those that still fail, with ``reasons``.
        outdated: Rows left alone because a row of their key came later and is stored.
        withheld: Rows left alone because they broke a rule on a sensitive value, which was not kept.
        gone: Rows of the file that are not in the quarantine any more.
        by: Who asked for it.
    """

    dataset: str
    rows: int = 0
    accepted: int = 0
    known: int = 0
    still_out: int = 0
    outdated: int = 0
    withheld: int = 0
    gone: int = 0
    reasons: dict[str, int] | None = None
    snapshot: Snapshot | None = None
    by: str = ""


@dataclass(frozen=True)
class ReplayRecord:
    """A replay on record: who, when, what, and what came of it."""

    ingest_id: str
    by: str
    at: datetime
    repair: dict[str, object]
    first_arrival: str | None
    report: IngestReport


class Replay:
    """Replays rows of one dataset's quarantine. The caller holds the dataset's lock.

    Args:
        stores: Where everything lies.
        dataset: The declaration as it is now.
        on_stage: Told each stage, as an ingest tells it, and ``swept`` at the end.
    """

    def __init__(self, stores: Stores, dataset: Dataset, on_stage: Callable[[str], None]) -> None:
        self._stores = stores
        self._dataset = dataset
        self._on_stage = on_stage

    def run(self, repair: Repair, *, by: str) -> ReplayReport:
        """Repair and replay what is asked for; the same again finds nothing.

        Raises:
            UsageError: If the repair cannot be done; nothing was changed.
            ContractError: If the rows do not fit the contract at all.
            IngestStoppedError: If a check with ``on_failure="stop"`` failed; nothing was changed.
        """
        stores, name = self._stores, self._dataset.name
        first = Ingest(stores, self._dataset, self._on_stage)
        first.recover()
        first.stage.begin()
        with connect(temp_folder=stores.local / "replay" / name) as con:
            prepared = prepare(con, stores, self._dataset, repair, stored=self._attach_stored(con))
            report = None
            if prepared.rows:
                ingest = _ReplayIngest(
                    stores, self._dataset, self._on_stage, _judged_as(self._dataset, repair), prepared
                )
                described = repair.describe(private_columns(self._dataset))
                ingest.note = {"replay": {"by": by, "repair": described, "first_arrival": _first(prepared)}}
                report = ingest.run(Plan(units=[self._unit(con, prepared)]))
        sweep(stores, name)
        self._on_stage("swept")
        done = ReplayReport(
            name,
            outdated=prepared.outdated,
            withheld=prepared.withheld,
            gone=prepared.gone,
            by=by,
            snapshot=History(stores).latest(name),
        )
        if report is None:
            return done
        return replace(
            done,
            rows=report.rows_read,
            accepted=report.rows_accepted,
            known=report.rows_duplicate,
            still_out=report.rows_quarantined,
            reasons=report.reasons,
            snapshot=report.snapshot,
        )

    def _attach_stored(self, con: duckdb.DuckDBPyConnection) -> str | None:
        latest = History(self._stores).latest(self._dataset.name)
        if latest is None:
            return None
        self._stores.tables.attach(con, "dataset_rows", f"datasets/{self._dataset.name}", version=latest.version)
        return latest_rows("dataset_rows", self._dataset.key)

    def _unit(self, con: duckdb.DuckDBPyConnection, prepared: Prepared) -> Unit:
        listed = ", ".join(["_source", "_source_row", *map(quote_name, prepared.columns)])

        def batches() -> Iterator[pa.Table]:
            query = f"SELECT {listed} FROM repaired ORDER BY _source, _source_row"
            for batch in con.sql(query).to_arrow_reader(BATCH_ROWS):
                yield pa.Table.from_batches([batch])

        size = prepared.taken.nbytes
        return Unit(
            f"replay:{self._dataset.name}", "", size, 0, batches, is_text=True, has_header=False, is_recorded=False
        )


def replays(stores: Stores, name: str, *, limit: int = 100) -> list[ReplayRecord]:
    """Return the replays on record, the newest first."""
    query = (
        sa.select(ingests)
        .where(ingests.c.dataset == name, ingests.c.status == "done")
        .order_by(ingests.c.number.desc())
    )
    found = []
    with stores.facts.read() as connection:
        for row in connection.execute(query):
            note = row.report.get("replay")
            if note is not None:
                report = report_of(name, row.report, None)
                found.append(
                    ReplayRecord(row.id, note["by"], row.finished_at, note["repair"], note["first_arrival"], report)
                )
            if len(found) == limit:
                break
    return found


class _ReplayStage(Stage):
    """A stage whose quarantined rows keep the moment of their first arrival."""

    _keys: pa.Array | None = None
    _moments: pa.ChunkedArray | None = None

    def remember(self, taken: pa.Table) -> None:
        """Take the first arrival of each row, by source and row."""
        first = taken.group_by(["_source", "_source_row"]).aggregate([("_arrived_at", "min")])
        self._keys = _row_keys(first)
        self._moments = first["_arrived_at_min"]

    def add_bad(self, rows: pa.Table) -> None:
        """Take quarantined rows."""
        if self._keys is not None and self._moments is not None and rows.num_rows:
            places = pc.index_in(_row_keys(rows), value_set=self._keys)
            moments = self._moments.take(places).cast(rows.schema.field("_arrived_at").type)
            rows = rows.set_column(rows.column_names.index("_arrived_at"), "_arrived_at", moments)
        super().add_bad(rows)


class _ReplayJudging(Judging):
    """Judges repaired rows; what would make a file unreadable is the mistake of whoever repaired them."""

    def run(self, plan: Plan, stored_sql: Callable[[], str] | None, con: duckdb.DuckDBPyConnection) -> Staged:
        """Judge the rows; nothing becomes visible."""
        staged = super().run(plan, stored_sql, con)
        for reason in staged.refused.values():
            raise ContractError(f"The rows cannot be replayed: {reason}.", hint="Nothing was changed.")
        return staged


class _ReplayIngest(Ingest):
    def __init__(
        self,
        stores: Stores,
        dataset: Dataset,
        on_stage: Callable[[str], None],
        judged_as: Dataset,
        prepared: Prepared,
    ) -> None:
        super().__init__(stores, dataset, on_stage)
        self._judged_as = judged_as
        self._taken = prepared.taken
        self._replay_stage = self.stage = _ReplayStage(self.stage.folder)

    def _judging(self, identity: str, now: datetime, declared: Mapping[str, object] | None) -> Judging:
        self._replay_stage.remember(self._taken)
        self.stage.add_bad(with_system_columns(marks(self._taken), arrived=now, ingest_id=identity))
        return _ReplayJudging(self._stores, self._judged_as, self.stage, ingest_id=identity, now=now, declared=declared)


def _judged_as(dataset: Dataset, repair: Repair) -> Dataset:
    """Return the dataset with the contract for rows whose sensitive values were changed before they were kept out.

    A pseudonym, an outline or a gap has passed the checks of its column already, or the row is left alone; it is stored
    as it is. Values that the repair sets are judged, and changed, as those of a source.
    """
    contract = dataset.contract
    hidden = set(withheld_columns(dataset)) - set(repair.changes)
    columns = []
    for item in contract.columns:
        if item.name not in hidden:
            columns.append(item)
        elif item.sensitive == "drop":
            columns.append(replace(item, required=False))
        else:
            columns.append(type(item)(item.name, "string", required=item.required))
    checks = tuple(check for check in contract.checks if check.word not in _OF_A_WHOLE)
    return Dataset(
        dataset.name,
        dataset.source,
        event_time=dataset.event_time,
        arrival_time=dataset.arrival_time,
        key=dataset.key,
        contract=Contract(tuple(columns), checks, contract.strict),
        on_duplicate=dataset.on_duplicate if dataset.key else None,
        description=dataset.description,
    )


def _row_keys(rows: pa.Table) -> pa.Array:
    numbers = rows["_source_row"].cast(pa.string())
    return pc.binary_join_element_wise(numbers, rows["_source"].cast(pa.string()), "|").combine_chunks()


def _first(prepared: Prepared) -> str | None:
    moment = pc.min(prepared.taken["_arrived_at"]).as_py()
    return None if moment is None else moment.isoformat()
