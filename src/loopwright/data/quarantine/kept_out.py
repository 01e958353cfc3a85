"""Which rows of a quarantine's table are in the quarantine: the SQL for it, and sweeping out the others.

Rows leave the quarantine by a replay. The replay's commit holds, beside the rows that still fail, one mark for every
row that it took: its source and row, the ingest that had kept it out, and no content. Marks and rows come with one
commit under the replay's number, so that a row is either in the quarantine or was replayed, and never both. A mark
counts when its replay is done; until then nothing has changed for a reader. Later :func:`sweep` deletes the rows, and
then the marks that mark nothing any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa

from loopwright.core.storage.duck import connect, quote_name, quote_text
from loopwright.data.ingest.records import ingests
from loopwright.data.quality.judge import REASONS_TYPE

if TYPE_CHECKING:
    import duckdb

    from loopwright.core.storage.stores import Stores

MARK = "replayed"
SWEPT_ROWS = 10_000  # of one sweep by their numbers, so that the condition that names them stays short
# The same after a replay that a row did not pass: the row keeps its source, its number and its first arrival.
_ID = "left(sha256(_source || '/' || _source_row || '/' || epoch_us(_arrived_at)), 16)"
_SAME = "mark._source = kept._source AND mark._source_row = kept._source_row AND mark.kept_by = kept._ingest_id"


def attach_kept_out(con: duckdb.DuckDBPyConnection, stores: Stores, dataset: str, *, name: str = "kept_out") -> bool:
    """Make the view ``name`` over the rows that are in the quarantine now, with an ``id``; False where none ever was.

    What an ingest that is under way, or died, would put there is not in it yet.
    """
    table = f"quarantine/{dataset}"
    if not stores.tables.exists(table):
        return False
    query = sa.select(ingests.c.id).where(ingests.c.dataset == dataset, ingests.c.status == "pending")
    with stores.facts.read() as connection:
        pending = [quote_text(found) for found in connection.execute(query).scalars()]
    done = f"_ingest_id NOT IN ({', '.join(pending)})" if pending else "true"
    stores.tables.attach(con, f"{name} stored", table)
    stored = quote_name(f"{name} stored")
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS "
        f"WITH mark AS (SELECT _source, _source_row, reasons[1].value AS kept_by FROM {stored} "
        f"WHERE raw IS NULL AND {done}) "
        f"SELECT *, {_ID} AS id FROM {stored} AS kept WHERE raw IS NOT NULL AND {done} "
        f"AND NOT EXISTS (SELECT 1 FROM mark WHERE {_SAME})"
    )
    return True


def marks(taken: pa.Table) -> pa.Table:
    """Return the marks of rows that are taken out, given their ``_ingest_id``, ``_source`` and ``_source_row``."""
    reasons = [[{"check": MARK, "column": "", "value": one}] for one in taken["_ingest_id"].to_pylist()]
    return pa.table(
        {
            "_source": taken["_source"],
            "_source_row": taken["_source_row"],
            "reasons": pa.array(reasons, REASONS_TYPE),
            "raw": pa.nulls(taken.num_rows, pa.string()),
        }
    )


def sweep(stores: Stores, dataset: str) -> int:
    """Delete rows that were replayed, then marks that mark nothing any more, and return how many rows went.

    Killed at any moment, it leaves what a later one ends. The rows that one ingest kept out of one source go together
    where all of them were replayed, else by their numbers; where these are more than :data:`SWEPT_ROWS` they stay for a
    later sweep, and readers do not see them.
    """
    table = f"quarantine/{dataset}"
    if not stores.tables.exists(table):
        return 0
    with stores.facts.read() as connection:
        query = sa.select(ingests.c.id).where(ingests.c.dataset == dataset, ingests.c.status == "done")
        finished = pa.table({"id": pa.array(connection.execute(query).scalars().all(), pa.string())})
    conditions: list[str] = []
    left = SWEPT_ROWS
    for kept_by, source, marked, held in _replayed(stores, table, finished):
        where = f"_ingest_id = {quote_text(kept_by)} AND _source = {quote_text(source)} AND raw IS NOT NULL"
        if len(marked) == held:
            conditions.append(f"({where})")
        elif len(marked) <= left:
            left -= len(marked)
            conditions.append(f"({where} AND _source_row IN ({', '.join(map(str, marked))}))")
    gone = stores.tables.delete(table, " OR ".join(conditions)) if conditions else 0
    for replay in _spent(stores, table, finished):
        stores.tables.delete(table, f"_ingest_id = {quote_text(replay)} AND raw IS NULL")
    return gone


def _replayed(stores: Stores, table: str, finished: pa.Table) -> list[tuple[str, str, list[int], int]]:
    """Return the replayed rows that are still stored: kept out by which ingest, of which source, rows, how many."""
    with connect() as con:
        stores.tables.attach(con, "stored", table)
        con.register("finished", finished)
        return con.execute(
            "WITH mark AS (SELECT DISTINCT reasons[1].value AS kept_by, _source, _source_row FROM stored "
            "WHERE raw IS NULL AND _ingest_id IN (SELECT id FROM finished)), "
            "kept AS (SELECT DISTINCT _ingest_id AS kept_by, _source, _source_row FROM stored WHERE raw IS NOT NULL) "
            "SELECT kept_by, _source, list(kept._source_row) FILTER (mark._source_row IS NOT NULL) AS marked, "
            "count(*) FROM kept LEFT JOIN mark USING (kept_by, _source, _source_row) GROUP BY kept_by, _source "
            "HAVING marked IS NOT NULL ORDER BY len(marked), kept_by, _source"
        ).fetchall()


def _spent(stores: Stores, table: str, finished: pa.Table) -> list[str]:
    """Return the replays none of whose marks has a row any more."""
    with connect() as con:
        stores.tables.attach(con, "stored", table)
        con.register("finished", finished)
        found = con.execute(
            "WITH mark AS (SELECT _ingest_id AS replay, reasons[1].value AS kept_by, _source, _source_row FROM stored "
            "WHERE raw IS NULL AND _ingest_id IN (SELECT id FROM finished)) "
            "SELECT replay FROM mark LEFT JOIN (SELECT _ingest_id AS kept_by, _source, _source_row, true AS there "
            "FROM stored WHERE raw IS NOT NULL) USING (kept_by, _source, _source_row) "
            "GROUP BY replay HAVING count(there) = 0 ORDER BY replay"
        ).fetchall()
    return [row[0] for row in found]
