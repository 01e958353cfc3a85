"""Takes the answers to erased rows out of the tables of scores, and names the folders that hold others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.storage.duck import connect, quote_name
from loopwright.core.storage.table_purge import purge_rows
from loopwright.serving.scoring.destination import Folder, LakeTable, destination_from
from loopwright.serving.scoring.job_store import JobStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopwright.core.storage.stores import Stores


def erase_scores(
    stores: Stores, model: str, key_column: str, by_column: Callable[[str], str], by_key: str, scratch: Path
) -> tuple[int, list[Folder]]:
    """Erase a model's scores of some rows from every version of its tables; done again, it is completed.

    Args:
        stores: The stores.
        model: The model.
        key_column: The column that says whose rows they are.
        by_column: Writes the condition on a text expression over that column, in DuckDB SQL.
        by_key: The condition on the column ``key`` of the tables of rejects.
        scratch: A folder for copies.

    Returns:
        How many rows went, and the folders of files that jobs wrote, which nobody but their owner can search.
    """
    jobs = JobStore(stores).latest(model, limit=1_000_000)
    places = [destination_from(job.request["destination"]) for job in jobs]
    rows = 0
    for place in dict.fromkeys(one for one in places if isinstance(one, LakeTable)):
        for table in (place.table, place.rejects):
            if not stores.tables.exists(table):
                continue
            names = stores.tables.schema(table).names
            conditions = [by_column(f"{quote_name(key_column)}::VARCHAR")] if key_column in names else []
            conditions += [by_key] if table == place.rejects else []
            if conditions:
                with connect() as con:
                    rows += purge_rows(con, stores.tables, table, " OR ".join(conditions), scratch)
    return rows, list(dict.fromkeys(one for one in places if isinstance(one, Folder)))
