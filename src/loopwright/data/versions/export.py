"""A snapshot's rows for tools that know nothing of this package.

A dataset is a Delta table under ``tables/datasets/<name>`` of the store, and any Delta reader opens it. Where a dataset
is upserted, the table holds every row that ever counted, and the newest of each key is the one that does: ordered by
``_arrived_at``, ``_ingest_id``, ``_source``, ``_source_row``, the last. An export holds those only, without the system
columns; texts and images stay references.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from deltalake import write_deltalake

from loopwright.core.errors import UsageError
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.contract.column import SYSTEM_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    import pyarrow as pa

_BATCH_ROWS = 131_072


def export_rows(con: duckdb.DuckDBPyConnection, view: str, target: Path) -> int:
    """Write a view's rows to a new Delta table in a folder, or to a ``.parquet`` or ``.csv`` file; return how many.

    Raises:
        UsageError: If the target exists already, or its ending names another format.
    """
    if target.suffix.lower() not in {".parquet", ".csv", ".delta"} and target.suffix[1:].isalpha():
        hint = "Name a .parquet or a .csv file, or a folder for a Delta table."
        raise UsageError(f"'{target.name}' would be a {target.suffix} file, which no export writes.", hint=hint)
    if target.exists():
        raise UsageError(f"'{target}' is there already.", hint="Name a folder or file that is not.")
    names = [str(row[0]) for row in con.execute(f"SELECT column_name FROM (DESCRIBE {view})").fetchall()]
    listed = ", ".join(quote_name(name) for name in names if name not in SYSTEM_COLUMNS)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix in {".parquet", ".csv"}:
        part = target.with_name(f".{target.name}.part")
        form = "FORMAT parquet, COMPRESSION zstd" if target.suffix == ".parquet" else "FORMAT csv, HEADER"
        con.execute(f"COPY (SELECT {listed} FROM {view}) TO {quote_text(str(part))} ({form})")
        part.replace(target)
    else:
        rows = con.sql(f"SELECT {listed} FROM {view}").to_arrow_reader(_BATCH_ROWS)
        write_deltalake(str(target), cast("pa.RecordBatchReader", rows), mode="error")
    return int(con.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0])
