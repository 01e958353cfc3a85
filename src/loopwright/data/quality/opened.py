"""Gives the rows of a table file a name in DuckDB, in the types that an ingest would read them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.errors import SourceError
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.quality.reading import SQL_TYPES, integer_sql, number_sql, plain, present_sql, reading_sql
from loopwright.data.sources.files import files, format_of
from loopwright.data.sources.tabular import is_text_format, read_file
from loopwright.data.sources.unit import DEFECT, INSIDE, UnreadableUnitError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

    from loopwright.data.sources.files import FilesSource

_KINDS = {"whole": "BIGINT", "number": "DOUBLE", "truth": "BOOLEAN", "moment": SQL_TYPES["timestamp"]}


def open_file(con: duckdb.DuckDBPyConnection, name: str, path: Path, folder: Path) -> int:
    """Make the view ``name`` over a file's rows, and return how many of its rows could not be taken apart.

    A Parquet file is read in place. Others are brought into ``folder`` as Parquet first, batch by batch; the values of
    text formats get the narrowest of int, float, bool, timestamp and string that holds them all.

    Raises:
        SourceError: If the file is missing, holds nothing, or cannot be read.
    """
    if not path.is_file():
        raise SourceError(
            f"There is no file {path}.", hint="Give the path of a CSV, Parquet, JSON Lines or Arrow file."
        )
    source = files(str(path))
    if format_of(path.name) == "parquet":
        try:
            con.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS SELECT * FROM {_parquet(path)}")
        except Exception as error:
            raise SourceError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from error
        return 0
    staged = folder / f"{name}.parquet"
    try:
        names, broken = _bring(path, source, staged)
    except UnreadableUnitError as error:
        raise SourceError(f"{path} cannot be read: {error}.", hint="Correct the file and run again.") from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check its permissions."
        ) from error
    if not names:
        raise SourceError(f"{path} holds no rows.", hint="Give a file with a header and rows.")
    con.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(name + ' raw')} AS SELECT * FROM {_parquet(staged)}")
    listed = typed_columns(con, f"{name} raw", is_text=is_text_format(path, source))
    con.execute(f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS {listed}")
    return broken


def typed_columns(con: duckdb.DuckDBPyConnection, name: str, *, is_text: bool) -> str:
    """Return the SELECT that reads a relation's columns in their types, as an ingest without a contract would."""
    described = con.execute(f"DESCRIBE SELECT * FROM {quote_name(name)}").fetchall()
    texts = [row[0] for row in described if row[1] == "VARCHAR"] if is_text else []
    if not texts:
        return f"SELECT * FROM {quote_name(name)}"
    types = _types(con, name, texts)
    inner, outer = [], []
    for index, (column, *_) in enumerate(described):
        quoted = quote_name(column)
        if column not in types or types[column] == "VARCHAR":
            inner.append(quoted)
            outer.append(quoted)
            continue
        reading = reading_sql(quoted, pa.string(), types[column], f"__step_{index}")
        inner += [quoted, *(f"{sql} AS {step}" for step, sql in reading.steps)]
        outer.append(f"{reading.value} AS {quoted}")
    return f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {quote_name(name)})"


def _types(con: duckdb.DuckDBPyConnection, name: str, texts: Sequence[str]) -> dict[str, str]:
    listed = []
    for column in texts:
        quoted = quote_name(column)
        present, text = present_sql(quoted, pa.string(), "BIGINT"), f"trim({quoted})"
        plain_number = f"NOT regexp_matches({text}, '^[+-]?0[0-9]')"
        tests = (
            f"{integer_sql(text)} IS NOT NULL AND {plain_number}",
            f"{number_sql(text)} IS NOT NULL AND {plain_number}",
            f"lower({text}) IN ('true', 'false')",
            f"TRY_CAST({text} AS TIMESTAMPTZ) IS NOT NULL",
        )
        listed += [f"bool_and({fits}) FILTER ({present})" for fits in tests]
    found = con.execute(f"SELECT {', '.join(listed)} FROM {quote_name(name)}").fetchall()[0]
    types = {}
    for index, column in enumerate(texts):
        fits_kinds = dict(zip(_KINDS.values(), found[4 * index : 4 * index + 4], strict=True))
        types[column] = next((kind for kind, fits in fits_kinds.items() if fits), "VARCHAR")
    return types


def _bring(path: Path, source: FilesSource, staged: Path) -> tuple[list[str], int]:
    staged.parent.mkdir(parents=True, exist_ok=True)
    broken = 0
    writer: pq.ParquetWriter | None = None
    parts: list[pa.Table] = []
    try:
        for batch in read_file(path, source):
            rows = batch
            if DEFECT in rows.column_names:
                whole = rows[DEFECT].is_null()
                kept = rows.filter(whole)
                broken += rows.num_rows - kept.num_rows
                rows = kept
            rows = plain(rows.drop_columns([one for one in INSIDE if one in rows.column_names]))
            if writer is None and rows.num_columns:
                writer = pq.ParquetWriter(staged, rows.schema, compression="zstd")
            if writer is not None and rows.schema == writer.schema:
                writer.write_table(rows)
            elif rows.num_columns:
                parts.append(rows)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        return [], broken
    if parts:  # rows of JSON Lines whose columns differ
        together = pa.concat_tables([pq.read_table(staged), *parts], promote_options="permissive")
        pq.write_table(together, staged, compression="zstd")
        return together.column_names, broken
    return writer.schema.names, broken


def _parquet(path: Path) -> str:
    return f"read_parquet({quote_text(str(path))})"
