"""Opens what is to be checked, a file, several, or a table in memory, as a relation of DuckDB.

Parquet files and tables in memory are read where they are. Other formats are read by the same readers as an ingest's,
into a file of Arrow's own form in a folder that the caller gives, which is mapped and not held in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.errors import SourceError
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.quality.reading import plain
from loopwright.data.quality.spelled import INDEX, Relation
from loopwright.data.sources.arrow import to_table
from loopwright.data.sources.files import files
from loopwright.data.sources.listing import is_url, list_files
from loopwright.data.sources.plan import nothing_there, plan_files
from loopwright.data.sources.unit import ROW, UnreadableUnitError

if TYPE_CHECKING:
    import duckdb

    from loopwright.data.sources.frame import Frame

_TABLE = '"table to check"'
_LEAST_TEXT_BYTES = 4


def opened(con: duckdb.DuckDBPyConnection, data: Frame | str | Path, project: Path, folder: Path) -> Relation:
    """Return the rows of ``data``: a path, folder, glob or URL of files, or a table in memory.

    Raises:
        SourceError: If nothing is there, or it cannot be read.
    """
    if not isinstance(data, (str, Path)):
        return _in_memory(con, plain(to_table(data)), is_text=False)
    pattern = str(data)
    if not is_url(pattern):
        listed = [Path(project, one.name) for one in list_files(pattern, project)]
        if not listed:
            raise nothing_there(pattern, project)
        if all(path.suffix in {".parquet", ".pq"} for path in listed):
            return _parquet(listed)
    return _converted(con, pattern, project, folder)


def _parquet(paths: list[Path]) -> Relation:
    kinds: dict[str, pa.DataType] = {}
    parts, headers, first = [], [], 0
    repeating: set[str] | None = None
    for path in paths:
        try:
            read = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path} cannot be read: {str(error).split(chr(10), 1)[0]}.") from error
        with read:
            schema, rows = read.schema_arrow, read.metadata.num_rows
            found = _repeating(read.metadata)
        repeating = found if repeating is None else repeating & found
        headers.append(tuple(schema.names))
        for field in schema:
            kinds.setdefault(field.name, field.type)
        listed = ", ".join(quote_name(name) for name in schema.names)
        number = "file_row_number" if not first else f"file_row_number + {first}"
        parts.append(
            f"SELECT {listed}, {number} AS {INDEX} FROM read_parquet({quote_text(str(path))}, file_row_number = true)"
        )
        first += rows
    return Relation(
        f"({' UNION ALL BY NAME '.join(parts)})",
        kinds,
        headers=tuple(headers),
        rows=first,
        repeating=frozenset(repeating or ()),
    )


def _repeating(metadata: pq.FileMetaData) -> set[str]:
    """Return the columns of texts that are stored by their dictionary: plain ones take 4 bytes for a length alone."""
    if not metadata.num_row_groups:
        return set()
    found = set()
    for index in range(metadata.num_columns):
        parts = [metadata.row_group(group).column(index) for group in range(metadata.num_row_groups)]
        known = all(one.statistics is not None and one.statistics.has_null_count for one in parts)
        if known and parts[0].physical_type == "BYTE_ARRAY":
            values = sum(one.num_values - one.statistics.null_count for one in parts)
            if sum(one.total_uncompressed_size for one in parts) < _LEAST_TEXT_BYTES * values:
                found.add(parts[0].path_in_schema)
    return found


def _in_memory(
    con: duckdb.DuckDBPyConnection,
    table: pa.Table,
    *,
    is_text: bool,
    headers: tuple[tuple[str, ...], ...] = (),
) -> Relation:
    numbers = pa.array(np.arange(table.num_rows, dtype=np.int64))
    con.register("table to check", table.append_column(INDEX, numbers))
    kinds = {field.name: field.type for field in table.schema}
    return Relation(_TABLE, kinds, is_text, headers or (tuple(table.column_names),), table.num_rows)


def _converted(con: duckdb.DuckDBPyConnection, pattern: str, project: Path, folder: Path) -> Relation:
    source = files(pattern)
    plan = plan_files(source, project, {}, has_key=True, folder=folder)
    if plan.refused:
        name, reason = next(iter(plan.refused.items()))
        raise SourceError(f"{name} cannot be read: {reason}.")
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    headers: list[tuple[str, ...]] = []
    writer: pa.ipc.RecordBatchFileWriter | None = None
    schema: pa.Schema | None = None
    is_text = True
    for unit in plan.units:
        is_text = is_text and unit.is_text
        is_first = True
        try:
            for batch in unit.batches():
                rows = plain(batch.drop_columns([name for name in (ROW,) if name in batch.column_names]))
                if is_first:
                    headers.append(tuple(name for name in rows.column_names if not name.startswith("__")))
                    is_first = False
                if rows.schema != schema or writer is None:
                    if writer is not None:
                        writer.close()
                    schema = rows.schema
                    parts.append(folder / f"check-{len(parts):05d}.arrow")
                    writer = pa.ipc.new_file(str(parts[-1]), schema)
                writer.write_table(rows)
        except UnreadableUnitError as error:
            raise SourceError(f"{unit.name} cannot be read: {error}.") from error
    if writer is None:
        raise SourceError(f"{pattern} holds no rows.")
    writer.close()
    tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in parts]
    table = pa.concat_tables(tables, promote_options="permissive")
    return _in_memory(con, table, is_text=is_text, headers=tuple(headers))
