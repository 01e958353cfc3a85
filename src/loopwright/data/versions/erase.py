"""Erasing rows by key: from the newest snapshot and every older one, from the quarantine, and their payloads.

Snapshots keep their versions and stay readable, without the rows. The order of what becomes durable, which a kill at
any moment leaves in one of these states::

    1 asked      the request, with digests of the keys          -> nothing changed; planned again
    2 planned    the files, the snapshots' new numbers of rows  -> carried out again; each step finds what is left
    3 replaced   each file without the rows, under its name
    4 settled    the table's log no longer speaks of their values
    5 quarantined, 6 payloads: the same for what was kept out, and for bytes that nothing else refers to
    7 recorded   numbers of rows, the report, and done, in one transaction

A request that died is completed before the next ingest, erasure or collection of the dataset, from digests alone.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.errors import StoreError, UnknownNameError, UsageError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.core.ref import Ref
from loopwright.core.storage.columns import duck_type
from loopwright.core.storage.duck import connect, quote_name
from loopwright.core.storage.payload_refs import REF_PATTERN, referred
from loopwright.core.storage.table_purge import TablePurge
from loopwright.core.storage.trash import Trash
from loopwright.data.ingest.records import ingests
from loopwright.data.ingest.text import text_ref
from loopwright.data.versions.erasure import (
    Erasure,
    ErasureReport,
    digest_sql,
    erasures,
    key_digest,
    raw_forms,
    read_erasure,
)
from loopwright.data.versions.erasure_plan import ErasurePlan, rows_lost
from loopwright.data.versions.history import History, declared_columns
from loopwright.data.versions.hold import Holds, refused_by
from loopwright.data.versions.remainder import remainders

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import duckdb

    from loopwright.core.storage.stores import Stores

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
        self._table = f"datasets/{dataset}"
        self._quarantine = f"quarantine/{dataset}"

    def erase(
        self, key_column: str, values: Sequence[object], *, reason: str, by: str, forever: bool = False
    ) -> Erasure:
        """Ask for an erasure, and carry it out.

        Raises:
            UsageError: If there is no value, person or reason, or a value is none of the column's type.
            UnknownNameError: If there is no such dataset or column.
            RefusedError: If a hold is on the dataset or on one of its snapshots.
            StoreError: If an ingest died and was not completed yet.
        """
        if not values or not reason.strip() or not by.strip():
            raise UsageError("An erasure needs at least one value, a person and a reason; the last two stay on record.")
        declaration = self._history.declaration(self._dataset)
        if held := Holds(self._stores.facts, self._stores.clock).on_dataset(self._dataset):
            raise refused_by(held, f"Erasing rows of '{self._dataset}'")
        self._require_rest()
        texts = [self._canonical(key_column, value, declaration) for value in values]
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
                    plan={},
                    report={},
                )
            )
        self._on_stage("asked")
        self.complete()
        return self._find(identity)

    def complete(self) -> list[str]:
        """Carry out what was asked and is not done, oldest first, and return the requests' ids."""
        query = (
            sa.select(erasures)
            .where(erasures.c.dataset == self._dataset, erasures.c.status != "done")
            .order_by(erasures.c.asked_at, erasures.c.id)
        )
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            self._carry_out(row)
        return [row.id for row in rows]

    def _carry_out(self, row: sa.Row[Any]) -> None:
        scratch = self._stores.local / "erase" / self._dataset
        scratch.mkdir(parents=True, exist_ok=True)
        with connect(temp_folder=scratch / "spill") as con:
            plan = ErasurePlan(**row.plan) if row.status == "planned" else self._plan(con, row, scratch)
            if self._stores.tables.exists(self._table):
                self._purge(con, self._table, self._condition(row), plan.files, scratch, keyed=True)
            self._on_stage("settled")
            if self._stores.tables.exists(self._quarantine):
                self._purge(con, self._quarantine, self._raw_condition(row), plan.quarantine_files, scratch)
            self._on_stage("quarantined")
            below = [f"tables/{self._table}/", f"tables/{self._quarantine}/"]
            Trash(self._stores).forget([*below, *(f"blobs/{name[:2]}/{name[2:]}" for name in plan.shards)])
            dropped = self._drop_payloads(con, plan, scratch)
            self._on_stage("payloads")
        self._record(row, plan, dropped)
        self._on_stage("recorded")

    def _plan(self, con: duckdb.DuckDBPyConnection, row: sa.Row[Any], scratch: Path) -> ErasurePlan:
        """Find what is to go, and fix it on record before anything does."""
        self._require_rest()
        plan = ErasurePlan()
        if self._stores.tables.exists(self._table):
            purge = TablePurge(con, self._stores.tables, self._table, scratch)
            key, order = self._superseding()
            plan.stored_rows = purge.doom(self._condition(row), key=key, order=order)
            if plan.stored_rows:
                plan.files = sorted(purge.by_file())
                plan.refs = sorted(purge.texts(REF_PATTERN))
                lost, holding = rows_lost(purge, key)
                self._count(plan, lost, holding)
        if self._stores.tables.exists(self._quarantine):
            purge = TablePurge(con, self._stores.tables, self._quarantine, scratch)
            purge.doom(self._raw_condition(row))
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

    def _count(self, plan: ErasurePlan, lost: dict[int, int], holding: set[int]) -> None:
        """Work out how many rows each snapshot has afterwards, in absolute numbers: doing it twice is doing it once."""
        snapshots = self._history.snapshots(self._dataset)
        plan.totals = {str(one.version): one.rows - lost.get(one.version, 0) for one in snapshots}
        plan.totals = {version: rows for version, rows in plan.totals.items() if lost.get(int(version))}
        plan.versions = sorted(one.version for one in snapshots if one.version in holding)
        plan.rows = lost.get(snapshots[0].version, 0) if snapshots else 0

    def _purge(
        self,
        con: duckdb.DuckDBPyConnection,
        table: str,
        condition: str,
        files: list[str],
        scratch: Path,
        *,
        keyed: bool = False,
    ) -> None:
        """Take the rows out, also from files that a compaction under way made of the others meanwhile."""
        key, order = self._superseding() if keyed else ((), ())
        seen: set[str] = set()
        replaced = set(files)
        while True:
            purge = TablePurge(con, self._stores.tables, table, scratch, seen=seen)
            if not purge.names:
                break
            if purge.doom(condition, key=key, order=order):
                replaced.update(purge.by_file())
                purge.remove(lambda _: self._on_stage("file"))
            seen.update(purge.names)
        self._on_stage("replaced")
        if replaced:
            TablePurge(con, self._stores.tables, table, scratch).settle(sorted(replaced))

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
        report = replace(report, remains=remainders(self._stores, self._dataset, row, plan.versions))
        with self._stores.facts.write() as connection:
            for number, total in plan.totals.items():
                connection.execute(
                    ingests.update()
                    .where(ingests.c.dataset == self._dataset, ingests.c.version == int(number))
                    .values(total_rows=total)
                )
            done = {"status": "done", "plan": {}, "report": asdict(report), "finished_at": self._stores.clock.now()}
            connection.execute(erasures.update().where(erasures.c.id == row.id).values(done))
            for version in plan.versions:
                ref = Ref("snapshot", f"{self._dataset}@{version}")
                self._stores.lineage.link(Ref("erasure", row.id), ref, "erased rows of", connection=connection)

    def _superseding(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the key and the order of its rows where a key may be stored more than once."""
        with self._stores.facts.read() as connection:
            query = sa.select(ingests.c.id).where(ingests.c.dataset == self._dataset, ingests.c.has_superseded)
            several = connection.execute(query.limit(1)).first() is not None
        declared = self._history.declaration(self._dataset)["key"]
        key = tuple(str(name) for name in declared) if isinstance(declared, list) else ()
        return (key, _ORDER) if several and key else ((), ())

    def _type(self, column: str) -> str | None:
        if not self._stores.tables.exists(self._table):
            return None
        schema = self._stores.tables.schema(self._table)
        if column not in schema.names:
            raise UnknownNameError("column", column, schema.names, where=f"in dataset '{self._dataset}'")
        return duck_type(schema.field(column).type)

    def _canonical(self, column: str, value: object, declaration: dict[str, object]) -> str:
        """Write a value as the column's text is, so that ``7``, ``"7"`` and ``7.0`` are one key of whole numbers."""
        kind = self._type(column)
        if column in declared_columns(declaration, "text"):
            return text_ref(str(value))
        sensitive = _sensitive(declaration, column)
        if sensitive == "mask":
            raise UsageError(
                f"Column '{column}' of '{self._dataset}' holds outlines, by which no row can be told from another.",
                hint="Erase by another column.",
            )
        if sensitive == "hash":
            return Pseudonyms(self._stores.facts).of(str(value))
        if kind is None:
            return str(value)
        with connect(threads=1) as con:
            query = f"SELECT TRY_CAST($value AS {kind})::VARCHAR"
            found = con.execute(query, {"value": str(value)}).fetchall()[0][0]
        if found is None:
            raise UsageError(f"A value is no {kind}, as column '{column}' of '{self._dataset}' is; nothing was erased.")
        return str(found)

    def _condition(self, row: sa.Row[Any]) -> str:
        return f"{digest_sql(row.salt, f'{quote_name(row.key_column)}::VARCHAR')} IN ({_listed(row)})"

    def _raw_condition(self, row: sa.Row[Any]) -> str:
        """Find quarantined rows, whose cells are as they came."""
        forms = raw_forms(row.key_column, self._type(row.key_column))
        return "(" + " OR ".join(f"{digest_sql(row.salt, form)} IN ({_listed(row)})" for form in forms) + ")"

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

    def _find(self, identity: str) -> Erasure:
        with self._stores.facts.read() as connection:
            return read_erasure(connection.execute(sa.select(erasures).where(erasures.c.id == identity)).one())


def _sensitive(declaration: dict[str, object], column: str) -> object:
    contract = declaration.get("contract")
    columns = contract.get("columns", []) if isinstance(contract, dict) else []
    return next((one.get("sensitive") for one in columns if one["name"] == column), None)


def _listed(row: sa.Row[Any]) -> str:
    return ", ".join(f"'{digest}'" for digest in row.key_digests)
