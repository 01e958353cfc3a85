"""What was made from erased rows and is not the lake's to change: training sets, models, online values, sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.core.ref import Ref
from loopwright.core.storage.duck import connect, quote_name, quote_text
from loopwright.data.versions.erasure import Remainder, digest_sql

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import sqlalchemy as sa

    from loopwright.core.storage.stores import Stores

_CLOSE = {
    "training_set": "archive the models made of it, then: loopwright gc --keep 0d",
    "model": "train it again (loopwright run), then archive this version: loopwright models archive {id}",
    "run": "goes with its model",
    "view": "loopwright features materialize {id}",
}


def remainders(
    stores: Stores, request: sa.Row[Any], versions: Sequence[int], *, closed: Collection[Ref] = ()
) -> tuple[Remainder, ...]:
    """List what still has, or was computed from, the rows that a request erases from some snapshots.

    Args:
        stores: Where everything is.
        request: The request as it is on record.
        versions: The snapshots that had the rows.
        closed: What was made from them and has them no more.
    """
    dataset = request.dataset
    found: dict[tuple[str, str], Remainder] = {}
    for version in versions:
        for edge in stores.lineage.descendants(Ref("snapshot", f"{dataset}@{version}"), depth=4):
            close = _CLOSE.get(edge.target.kind)
            if close is not None and edge.target.kind != "run" and edge.target not in closed:
                ref = edge.target
                found[ref.kind, ref.id] = Remainder(ref.kind, ref.id, close.replace("{id}", ref.id))
    for table, rows in _other_tables(stores, dataset, request).items():
        kind, _, name = table.partition("/")
        if kind in {"datasets", "quarantine"}:
            close = f"loopwright data erase {name} --key {request.key_column}"
        else:
            close = "it goes when the table's retention ends; see [retention] in loopwright.toml"
        found["table", table] = Remainder("table", f"{table}: {rows} rows", close)
    return tuple(found.values())


def _other_tables(stores: Stores, dataset: str, request: sa.Row[Any]) -> dict[str, int]:
    """Count the rows of other tables, as they are now, that have the key in a column or a JSON field of its name."""
    listed = ", ".join(f"'{digest}'" for digest in request.key_digests)
    path = quote_text('$."' + request.key_column.replace('"', '\\"') + '"')
    found = {}
    for table in stores.tables.tables():
        if table in {f"datasets/{dataset}", f"quarantine/{dataset}"} or table.startswith("payloads/"):
            continue
        names = stores.tables.schema(table).names
        cells = [f"{quote_name(request.key_column)}::VARCHAR"] if request.key_column in names else []
        cells += [f"json_extract_string({name}, {path})" for name in ("raw", "features") if name in names]
        if table.startswith("predictions/") and "key" in names:
            cells.append("key")
        if not cells:
            continue
        where = " OR ".join(f"{digest_sql(request.salt, cell)} IN ({listed})" for cell in cells)
        with connect() as con:
            stores.tables.attach(con, "asked", table)
            count = int(con.execute(f"SELECT count(*) FROM asked WHERE {where}").fetchall()[0][0])
        if count:
            found[table] = count
    return found
