"""Erasing rows by key: from the newest snapshot and every older one, from the quarantine, and their payloads.

Snapshots keep their versions and stay readable, without the rows. The order of what becomes durable, which a kill at
any moment leaves in one of these states::

    1 asked      the request, with digests of the keys          -> nothing changed; planned again
    2 planned    the files, the snapshots' new numbers of rows  -> carried out again; each step finds what is left
    3 replaced   each file without the rows, under its name
    4 settled    the table's log no longer speaks of their values
    5 quarantined, 6 payloads: the same for what was kept out, and for bytes that nothing else refers to
    7 recorded   numbers of rows and the report, in one transaction; done, unless other rooms have to erase too

A request that died is completed before the next ingest, erasure or collection of the dataset, from digests alone.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.errors import StoreError, UsageError
from loopwright.core.ref import Ref
from loopwright.core.storage.duck import connect, joined_sql
from loopwright.core.storage.hash_runs import remove_runs
from loopwright.core.storage.payload_refs import REF_PATTERN, referred
from loopwright.core.storage.table_purge import TablePurge, purge_rows
from loopwright.core.storage.trash import Trash
from loopwright.data.ingest.records import ingests
from loopwright.data.versions.erasure import (
    Erasure,
    ErasureReport,
    erasures,
    key_digest,
    read_erasure,
)
from loopwright.data.versions.erasure_plan import ErasurePlan, rows_lost
from loopwright.data.versions.erasure_rows import LINE_ID, ErasedRows, canonical
from loopwright.data.versions.history import History
from loopwright.data.versions.hold import Holds, holds_against_erasing, refused_by
from loopwright.data.versions.remainder import remainders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.versions.erasure import Remainder

_ORDER = ("_arrived_at", "_ingest_id", "_source", "_source_row")
_SALT_BYTES = 16


class Eraser:
    """Erases rows of one dataset. The caller holds the dataset's lock.

    Args:
        stores: Where everything is.
        dataset: The dataset's name.
        on_stage: Called with ``asked``, ``planned``, ``replaced``, ``settled``, ``quarantined``, ``payloads`` and
            ``recorded`` as each is reached, and with ``file`` after each replaced file.
    """

    def __init__(self, stores: Stores, dataset: str, on_stage: Callable[[str], None] = lambda _: None) -> None:
        self._stores = stores
        self._dataset = dataset
        self._on_stage = on_stage
        self._history = History(stores)
        self._asked: tuple[object, ...] = ()
        self._table = f"datasets/{dataset}"
        self._quarantine = f"quarantine/{dataset}"

    def erase(
        self,
        key_column: str,
        values: Sequence[object],
        *,
        reason: str,
        by: str,
        forever: bool = False,
        elsewhere: Mapping[str, Sequence[str]] | None = None,
    ) -> Erasure:
        """Ask for an erasure, and carry it out.

        Args:
            key_column: The column that says whose rows they are.
            values: The keys.
            reason: Why.
            by: Who asks.
            forever: Keep the keys out of later ingests too.
            elsewhere: Given where other rooms erase too: columns whose values in the rows they need to know, by a name
                of theirs. The request is then done when they say so, with :meth:`finish`.

        Raises:
            UsageError: If there is no value, person or reason, or a value is none of the column's type.
            UnknownNameError: If there is no such dataset or column.
            RefusedError: If a hold is on the dataset or on one of its snapshots.
            StoreError: If an ingest died and was not completed yet.
        """
        if not values or not reason.strip() or not by.strip():
            raise UsageError("An erasure needs at least one value, a person and a reason; the last two stay on record.")
        declaration = self._history.declaration(self._dataset)
        holds = Holds(self._stores.facts, self._stores.clock)
        if held := holds_against_erasing(self._stores.lineage, holds, self._dataset):
            raise refused_by(held, f"Erasing rows of '{self._dataset}'")
        self._require_rest()
        texts = [canonical(self._stores, self._dataset, key_column, value, declaration) for value in values]
        self._asked = tuple(values)
        columns = {name: list(listed) for name, listed in (elsewhere or {}).items()}
        salt = self._stores.ids.salt(_SALT_BYTES)
        identity = self._stores.ids.new()
        with self._stores.facts.write() as connection:
            connection.execute(
                erasures.insert().values(
                    id=identity,
                    dataset=self._dataset,
                    key_column=key_column,
                    salt=salt,
                    key_digests=sorted({key_digest(salt, text) for text in texts}),
                    forever=forever,
                    reason=reason,
                    asked_by=by,
                    asked_at=self._stores.clock.now(),
                    status="asked",
                    plan={"elsewhere": elsewhere is not None, "columns": columns},
                    report={},
                )
            )
        self._on_stage("asked")
        self.complete()
        return self.find(identity)

    def complete(self) -> list[str]:
        """Carry out what was asked and is not erased from the lake, oldest first, and return the requests' ids."""
        query = (
            sa.select(erasures)
            .where(erasures.c.dataset == self._dataset, erasures.c.status.in_(["asked", "planned"]))
            .order_by(erasures.c.asked_at, erasures.c.id)
        )
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            self._carry_out(row)
        return [row.id for row in rows]

    def _carry_out(self, row: sa.Row[Any]) -> None:
        scratch = self._stores.local / "erase" / self._dataset
        shutil.rmtree(scratch, ignore_errors=True)  # copies that a killed one had
        scratch.mkdir(parents=True)
        rows = ErasedRows.of(self._stores, row)
        with connect(temp_folder=scratch / "spill") as con:
            plan = ErasurePlan(**row.plan) if row.status == "planned" else self._plan(con, row, rows, scratch)
            if self._stores.tables.exists(self._table):
                self._purge(con, self._table, rows.stored, scratch, keyed=True)
            remove_runs(self._stores.local / "index" / self._dataset)  # the hashes of keys
            self._on_stage("settled")
            if self._stores.tables.exists(self._quarantine):
                self._purge(con, self._quarantine, rows.kept_out(plan.lines), scratch)
            self._on_stage("quarantined")
            below = [f"tables/{self._table}/", f"tables/{self._quarantine}/"]
            Trash(self._stores).forget([*below, *(f"blobs/{name[:2]}/{name[2:]}" for name in plan.shards)])
            dropped = self._drop_payloads(con, plan, scratch)
            self._on_stage("payloads")
        shutil.rmtree(scratch, ignore_errors=True)
        self._record(row, plan, dropped)
        self._on_stage("recorded")

    def _plan(self, con: duckdb.DuckDBPyConnection, row: sa.Row[Any], rows: ErasedRows, scratch: Path) -> ErasurePlan:
        """Find what is to go, and fix it on record before anything does."""
        self._require_rest()
        plan = ErasurePlan(**row.plan)
        if self._stores.tables.exists(self._table):
            purge = TablePurge(con, self._stores.tables, self._table, scratch)
            key, order = self._superseding()
            plan.stored_rows = purge.doom(rows.stored, key=key, order=order)
            if plan.stored_rows:
                plan.files = sorted(purge.by_file())
                plan.refs = sorted(purge.texts(REF_PATTERN))
                plan.found = self._values(purge, plan, row.salt)
                lost, holding = rows_lost(purge, key)
                self._count(plan, lost, holding)
        if self._stores.tables.exists(self._quarantine):
            purge = TablePurge(con, self._stores.tables, self._quarantine, scratch)
            purge.doom(rows.as_text(self._asked))
            plan.lines = sorted(purge.values(LINE_ID))
            purge = TablePurge(con, self._stores.tables, self._quarantine, scratch)
            purge.doom(rows.kept_out(plan.lines))
            plan.quarantine_files = sorted(purge.by_file())
            plan.refs = sorted({*plan.refs, *purge.texts(REF_PATTERN)})
            current = set(purge.log.current())
            plan.quarantined_rows = sum(count for name, count in purge.by_file().items() if name in current)
        if plan.refs:
            shards = self._stores.payloads.shards()
            plan.shards = sorted(name for name, inside in shards.items() if not inside.keys().isdisjoint(plan.refs))
        with self._stores.facts.write() as connection:
            change = erasures.update().where(erasures.c.id == row.id).values(status="planned", plan=asdict(plan))
            connection.execute(change)
        self._on_stage("planned")
        return plan

    def _values(self, purge: TablePurge, plan: ErasurePlan, salt: str) -> dict[str, list[str]]:
        """Return the digests of the rows' keys, as training sets and predictions have them, and of what was asked."""
        if not plan.elsewhere:
            return {}
        key = self.key
        own = {"": joined_sql(key) if key else "_source || '#' || _source_row::VARCHAR"}
        asked = own | {name: joined_sql(columns) for name, columns in plan.columns.items()}
        return {name: sorted(key_digest(salt, text) for text in purge.values(sql)) for name, sql in asked.items()}

    @property
    def key(self) -> tuple[str, ...]:
        """The dataset's key columns."""
        declared = self._history.declaration(self._dataset)["key"]
        return tuple(str(name) for name in declared) if isinstance(declared, list) else ()

    def _count(self, plan: ErasurePlan, lost: dict[int, int], holding: set[int]) -> None:
        """Work out how many rows each snapshot has afterwards, in absolute numbers: doing it twice is doing it once."""
        snapshots = self._history.snapshots(self._dataset)
        plan.totals = {str(one.version): one.rows - lost.get(one.version, 0) for one in snapshots}
        plan.totals = {version: rows for version, rows in plan.totals.items() if lost.get(int(version))}
        plan.versions = sorted(one.version for one in snapshots if one.version in holding)
        plan.rows = lost.get(snapshots[0].version, 0) if snapshots else 0

    def _purge(
        self, con: duckdb.DuckDBPyConnection, table: str, condition: str, scratch: Path, *, keyed: bool = False
    ) -> None:
        key, order = self._superseding() if keyed else ((), ())
        purge_rows(
            con,
            self._stores.tables,
            table,
            condition,
            scratch,
            key=key,
            order=order,
            on_file=lambda _: self._on_stage("file"),
            on_replaced=lambda: self._on_stage("replaced"),
        )

    def _drop_payloads(self, con: duckdb.DuckDBPyConnection, plan: ErasurePlan, scratch: Path) -> int:
        if not plan.refs:
            return 0
        there = set(plan.refs) - set(self._stores.payloads.missing(plan.refs))
        unused = set(plan.refs) - referred(con, self._stores.tables, plan.refs, scratch)
        self._stores.payloads.drop(sorted(unused & there))
        named = self._stores.payloads.shards()
        for shard in plan.shards:
            if shard not in named:
                self._stores.blobs.delete(shard)
        return len(unused)

    def _record(self, row: sa.Row[Any], plan: ErasurePlan, payloads: int) -> None:
        report = ErasureReport(
            rows=plan.rows,
            stored_rows=plan.stored_rows,
            files=len(plan.files) + len(plan.quarantine_files),
            snapshots=len(plan.versions),
            quarantined_rows=plan.quarantined_rows,
            payloads=payloads,
        )
        status = "erased" if plan.elsewhere else "done"
        if status == "done":
            report = replace(report, remains=remainders(self._stores, row, plan.versions))
        with self._stores.facts.write() as connection:
            for number, total in plan.totals.items():
                connection.execute(
                    ingests.update()
                    .where(ingests.c.dataset == self._dataset, ingests.c.version == int(number))
                    .values(total_rows=total)
                )
            kept = asdict(replace(plan, files=[], quarantine_files=[], refs=[], shards=[], totals={}, lines=[]))
            done: dict[str, object] = {"status": status, "plan": kept, "report": asdict(report)}
            if status == "done":
                done |= {"plan": {}, "finished_at": self._stores.clock.now()}
            connection.execute(erasures.update().where(erasures.c.id == row.id).values(done))
            for version in plan.versions:
                ref = Ref("snapshot", f"{self._dataset}@{version}")
                self._stores.lineage.link(Ref("erasure", row.id), ref, "erased rows of", connection=connection)

    def elsewhere(self) -> list[sa.Row[Any]]:
        """Return the requests that are erased from the lake and not yet done, as they are on record."""
        query = sa.select(erasures).where(erasures.c.dataset == self._dataset, erasures.c.status == "erased")
        with self._stores.facts.read() as connection:
            return list(connection.execute(query.order_by(erasures.c.asked_at, erasures.c.id)).all())

    def note_blobs(self, row: sa.Row[Any], blobs: Sequence[str]) -> None:
        """Keep on record what another room is about to replace, until it is deleted."""
        with self._stores.facts.write() as connection:
            plan = dict(connection.execute(sa.select(erasures.c.plan).where(erasures.c.id == row.id)).scalar_one())
            plan["blobs"] = sorted({*plan.get("blobs", ()), *blobs})
            connection.execute(erasures.update().where(erasures.c.id == row.id).values(plan=plan))

    def finish(self, row: sa.Row[Any], remains: Sequence[Remainder], **counts: int) -> None:
        """Say that the other rooms are done, with what the attempt that came to the end erased."""
        with self._stores.facts.write() as connection:
            report = dict(connection.execute(sa.select(erasures.c.report).where(erasures.c.id == row.id)).scalar_one())
            report |= counts | {"remains": [asdict(one) for one in remains]}
            done = {"status": "done", "plan": {}, "report": report, "finished_at": self._stores.clock.now()}
            connection.execute(erasures.update().where(erasures.c.id == row.id).values(done))

    def _superseding(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the key and the order of its rows where a key may be stored more than once."""
        with self._stores.facts.read() as connection:
            query = sa.select(ingests.c.id).where(ingests.c.dataset == self._dataset, ingests.c.has_superseded)
            several = connection.execute(query.limit(1)).first() is not None
        key = self.key
        return (key, _ORDER) if several and key else ((), ())

    def _require_rest(self) -> None:
        with self._stores.facts.read() as connection:
            pending = connection.execute(
                sa.select(ingests.c.id).where(ingests.c.dataset == self._dataset, ingests.c.status == "pending")
            ).first()
        if pending is not None:
            raise StoreError(
                f"An ingest of '{self._dataset}' died and is not completed, so what it brings is not known yet.",
                hint=f"Complete it first: loopwright data ingest {self._dataset}",
            )

    def find(self, identity: str) -> Erasure:
        """Return a request as it stands."""
        with self._stores.facts.read() as connection:
            return read_erasure(connection.execute(sa.select(erasures).where(erasures.c.id == identity)).one())
