"""Checks rows against a dataset's contract, with the lake behind it, and stores nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.errors import UnknownNameError
from loopwright.core.storage.duck import quote_name
from loopwright.data.contract.column import SYSTEM_COLUMNS
from loopwright.data.ingest.past import LakePast
from loopwright.data.quality.check_table import check_relation
from loopwright.data.quality.opening import opened
from loopwright.data.quality.row_set import bare
from loopwright.data.quality.spelled import INDEX, Relation
from loopwright.data.versions.history import History, latest_rows

if TYPE_CHECKING:
    import duckdb

    from loopwright.core.storage.stores import Stores
    from loopwright.data.contract.contract import Contract
    from loopwright.data.dataset import Dataset
    from loopwright.data.quality.report import CheckReport
    from loopwright.data.sources.frame import Frame
    from loopwright.data.versions.snapshot import Snapshot


def check_dataset(stores: Stores, dataset: Dataset, data: Frame | str | Path | None) -> CheckReport:
    """Check ``data``, or without any the newest snapshot, by the dataset's contract.

    Raises:
        UnknownNameError: If there is no data and no snapshot.
    """
    history = History(stores)
    newest = history.latest(dataset.name)
    moments = tuple(name for name in (dataset.event_time, dataset.arrival_time) if name)
    contract, stored_rows = dataset.contract, newest.rows if newest else 0
    if data is None:
        if newest is None:
            raise UnknownNameError("dataset with rows", dataset.name, history.names())
        contract, stored_rows = _as_stored(contract), 0
        snapshot = newest

    def table(con: duckdb.DuckDBPyConnection, folder: Path) -> Relation:
        if data is None:
            return _snapshot(con, stores, snapshot)
        return opened(con, data, stores.settings.project, folder)

    shown = str(data) if isinstance(data, (str, Path)) else "the table"
    return check_relation(
        table,
        contract,
        name=newest.ref.id if data is None and newest else f"{shown} as {dataset.name}",
        event_time=dataset.event_time,
        required=(*dataset.key, *moments),
        past=LakePast(stores, dataset.name),
        stored_rows=stored_rows,
        clock=stores.clock,
    )


def _snapshot(con: duckdb.DuckDBPyConnection, stores: Stores, snapshot: Snapshot) -> Relation:
    table = f"datasets/{snapshot.dataset}"
    stores.tables.attach(con, "checked snapshot", table, version=snapshot.version)
    rows = latest_rows('"checked snapshot"', snapshot.latest_by)
    kinds = {
        field.name: field.type
        for field in stores.tables.schema(table, snapshot.version)
        if field.name not in SYSTEM_COLUMNS
    }
    listed = ", ".join(map(quote_name, kinds))
    order = "_arrived_at, _ingest_id, _source, _source_row"
    sql = f"(SELECT {listed}, row_number() OVER (ORDER BY {order}) - 1 AS {INDEX} FROM ({rows}))"
    return Relation(sql, kinds, headers=(tuple(kinds),), rows=snapshot.rows)


def _as_stored(contract: Contract) -> Contract:
    """Leave out what was judged at ingest and is not in the rows: texts, bytes, and values that were hidden."""
    kept = []
    for item in contract.columns:
        if item.sensitive == "drop":
            continue
        kept.append(replace(bare(item), required=item.required) if item.is_payload or item.sensitive else item)
    return replace(contract, columns=tuple(kept))
