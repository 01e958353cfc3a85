"""What must be computed anew of a view when its datasets have grown.

Where every row of a view depends only on rows of its own entity (``loopwright.features.reach`` proves it from the
expression), the entities to compute are those of the rows that came, and, where a dataset keeps the newest row of a key
only, those of the rows that these replaced. Each is computed from all of its history, so that late rows land where they
belong. Where it cannot be proven, or rows were removed, everything is computed, and the reason is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import ibis
import pyarrow as pa

from loopwright.core.errors import LoopwrightError, UnknownNameError
from loopwright.core.storage.duck import connect, quote_name, to_arrow
from loopwright.core.storage.table_changes import TableSpan
from loopwright.features.engine import Only

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.compiled_view import CompiledView
    from loopwright.features.engine import Inputs
    from loopwright.features.reach import Path


@dataclass(frozen=True)
class Change:
    """What is to be computed.

    Attributes:
        only: The entities; None for all.
        because: Where it is all: why.
    """

    only: Only | None
    because: str = ""


def schemas_of(inputs: Inputs) -> dict[str, ibis.Schema]:
    """Return the columns of each snapshot, without reading a row."""
    tables = inputs.stores.tables
    return {
        name: ibis.Schema.from_pyarrow(tables.schema(f"datasets/{name}", snapshot.version))
        for name, snapshot in inputs.snapshots.items()
    }


def local_key(compiled: CompiledView) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the entity columns to which the view's rows are local, and how each is carried; nothing if none is."""
    found: dict[str, Path] = {}
    for column in compiled.view.entity:
        path = next((path for path in compiled.reach.paths if column in path.columns), None)
        if path is not None:
            found[column] = path
    return tuple(found), tuple(found.values())


def change_since(inputs: Inputs, compiled: CompiledView, before: Mapping[str, int], pending: pa.Table | None) -> Change:
    """Return what to compute so that a view is as new as the snapshots.

    Args:
        inputs: The snapshots now.
        compiled: The view.
        before: By dataset, the version that was computed last.
        pending: Entities to compute in any case, by the columns of ``local_key``; None where they are not known.
    """
    key, paths = local_key(compiled)
    if not key:
        what = "its rows depend on more than their own entity" if compiled.view.entity else "it has no entity"
        return Change(None, what)
    if pending is None:
        return Change(None, "more entities than are remembered wait for values")
    columns: dict[str, tuple[str, ...]] = {}
    found: list[pa.Table] = [pending] if pending.num_rows else []
    with connect(temp_folder=inputs.stores.local / "tmp") as desk:
        for name, snapshot in inputs.snapshots.items():
            if any(name not in path.read for path in paths):
                if any(name in path.read for path in paths) or snapshot.version != before.get(name):
                    return Change(None, f"'{name}' is not read by the same key")
                continue
            columns[name] = tuple(path.read[name] for path in paths)
            old = _earlier(inputs, name, before.get(name))
            if old is None:
                return Change(None, f"the rows of '{name}' that were computed last are gone")
            sql = _touched_sql(inputs, desk, old, snapshot, columns[name])
            if sql is None:
                return Change(None, f"rows of '{name}' were removed")
            if sql:
                pairs = zip(columns[name], key, strict=True)
                renamed = ", ".join(f"{quote_name(column)} AS {quote_name(to)}" for column, to in pairs)
                found.append(to_arrow(desk.sql(f"SELECT DISTINCT {renamed} FROM ({sql})")))
        keys = _together(desk, key, found)
    return Change(Only(keys, columns))


def as_keys(key: tuple[str, ...], values: object) -> pa.Table | None:
    """Return remembered entities as a table, or None where they were too many to remember."""
    if values is None:
        return None
    rows = cast("list[list[object]]", values)
    return pa.table({name: pa.array([row[place] for row in rows]) for place, name in enumerate(key)})


def to_values(keys: pa.Table, limit: int) -> list[list[object]] | None:
    """Return entities as JSON values, or None where there are more than ``limit``, or of a type that JSON has not."""
    plain = all(
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind) for kind in keys.schema.types
    )
    return [list(row.values()) for row in keys.to_pylist()] if plain and keys.num_rows <= limit else None


def _earlier(inputs: Inputs, name: str, version: int | None) -> Snapshot | None:
    if version is None:
        return None
    try:
        return inputs.lake.snapshot(name, version=version)
    except UnknownNameError:
        return None


def _touched_sql(
    inputs: Inputs, desk: duckdb.DuckDBPyConnection, old: Snapshot, new: Snapshot, columns: tuple[str, ...]
) -> str | None:
    """Return a SELECT of the key columns of what came or was replaced; "" for nothing; None if rows were removed."""
    tables, table = inputs.stores.tables, f"datasets/{new.dataset}"
    if old.version == new.version:
        return ""
    if old.version > new.version:
        return None
    try:
        added = tables.added_sql(TableSpan(table, old.version, new.version))
    except LoopwrightError:
        return None
    stored_before, stored_now = tables.count(table, old.version), tables.count(table, new.version)
    if added is None:
        return "" if stored_before == stored_now else None
    came = quote_name(f"{new.dataset} came")
    desk.execute(f"CREATE OR REPLACE TEMP TABLE {came} AS {added}")
    if stored_before + _count(desk, came) != stored_now:
        return None
    chosen = ", ".join(quote_name(column) for column in columns)
    sql = f"SELECT {chosen} FROM {came}"
    replaced = new.latest_by or old.latest_by
    if replaced:
        before = f"{new.dataset} before"
        inputs.lake.attach(desk, before, old)
        same = " AND ".join(f"b.{quote_name(name)} = c.{quote_name(name)}" for name in replaced)
        listed = ", ".join(f"b.{quote_name(column)}" for column in columns)
        sql += f" UNION ALL SELECT {listed} FROM {quote_name(before)} AS b SEMI JOIN {came} AS c ON {same}"
    return sql


def _count(desk: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(desk.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def _together(desk: duckdb.DuckDBPyConnection, key: tuple[str, ...], found: list[pa.Table]) -> pa.Table:
    names = ", ".join(quote_name(name) for name in key)
    present = " AND ".join(f"{quote_name(name)} IS NOT NULL" for name in key)
    if not found:
        return pa.table({name: pa.array([], pa.int64()) for name in key})
    for place, table in enumerate(found):
        desk.register(f"__found_{place}__", table)
    together = " UNION ALL ".join(f"SELECT {names} FROM __found_{place}__" for place in range(len(found)))
    return to_arrow(desk.sql(f"SELECT DISTINCT {names} FROM ({together}) WHERE {present}"))
