"""Judges a large text file in one streaming query: DuckDB reads it, reads its values and finds what is suspect.

Rows in which nothing could be wrong leave the query in their types. The others come with their texts, and the
:class:`~loopwright.data.quality.judge.Judge` says what is wrong with them, or nothing. So what is found is what the
judge finds batch by batch; only who reads the file differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.data.quality.judge import Judge, Judged, empty_bad
from loopwright.data.sources.csv_scan import texts_sql
from loopwright.data.sources.unit import ROW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopwright.data.sources.csv_scan import CsvScan

_BATCH_ROWS = 122_880
_SOURCE = "_source"
_UNORDERED = ("join", "aggregate", "window", "hash_group", "union")


class UnscannableError(Exception):
    """DuckDB cannot take the file apart, or not as the careful reader would."""


def scanned(
    judge: Judge, scan: CsvScan, first: pa.Table, source: str, con: duckdb.DuckDBPyConnection
) -> Iterator[tuple[Judged, int]]:
    """Judge a file, batch by batch in its order, each with the number of its last row.

    Args:
        judge: Who judges.
        scan: The file.
        first: Its first rows as the careful reader gives them, from which types are inferred.
        source: What the rows carry as ``_source``.
        con: A connection for the query alone.

    Raises:
        UnscannableError: As above. What was given before is to be forgotten: other threads may have gone on.
    """
    names = [name for name in first.column_names if name not in (_SOURCE, ROW) and not name.startswith("__")]
    if scan.has(b'"'):
        raise UnscannableError("a quote, after which only a careful reader knows where a field ends")
    listed = ", ".join(texts_sql(name, index) for index, name in enumerate(names))
    relation = f"SELECT {listed} FROM {scan.relation(len(names))}"
    columns, query = judge.streaming_query(first, relation, has_underscores=scan.has(b"_"))
    position = 0
    for batch in _fetched(con, query):
        rows = pa.Table.from_batches([batch])
        total, start = rows.num_rows, 0
        numbers = np.arange(position, position + total, dtype=np.int64)
        if position < scan.skip:
            start = min(scan.skip - position, total)
            rows, numbers = rows.slice(start), numbers[start:]
        position += total
        yield _judged(judge, rows, numbers, columns, names, source), position - 1
    if scan.has_changed():
        raise UnscannableError("the file changed while it was read")


def _fetched(con: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    try:
        # A list of values as a join would lose the order of the rows, from which their numbers are known.
        con.execute("SET TimeZone = 'UTC'; SET disabled_optimizers = 'in_clause'")
        plan = str(con.execute(f"EXPLAIN {query}").fetchall()[0][1])
        if any(operator in plan.lower() for operator in _UNORDERED):
            raise UnscannableError("a plan that does not keep the order of the rows")
        yield from con.sql(query).to_arrow_reader(_BATCH_ROWS)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise UnscannableError(str(error).split("\n", 1)[0]) from error


def _judged(
    judge: Judge,
    rows: pa.Table,
    numbers: np.ndarray[tuple[int], np.dtype[np.int64]],
    columns: Sequence[str],
    names: Sequence[str],
    source: str,
) -> Judged:
    good = rows.select(list(columns))
    good = good.append_column(_SOURCE, pa.repeat(pa.scalar(source), len(numbers)))
    good = good.append_column(ROW, pa.array(numbers))
    suspects = rows["__suspect"]
    if not pc.any(suspects).as_py():
        return Judged(good, empty_bad(), {}, {}, {})
    texts = rows["__texts"].filter(suspects).combine_chunks().flatten()
    raw = pa.table([texts[place :: len(names)] for place in range(len(names))], names=list(names))
    mask = suspects.to_numpy()
    raw = raw.append_column(_SOURCE, pa.repeat(pa.scalar(source), raw.num_rows))
    raw = raw.append_column(ROW, pa.array(numbers[mask]))
    judged = judge.judge(raw, is_text=True)
    clear = good.filter(pc.invert(suspects))
    if judged.good.num_rows == 0:
        return Judged(clear, judged.bad, judged.failures, judged.warned, judged.stopped)
    both = pa.concat_tables([clear, judged.good.select(good.column_names).cast(good.schema)])
    order = np.argsort(both[ROW].to_numpy(), kind="stable")
    return Judged(both.take(pa.array(order)), judged.bad, judged.failures, judged.warned, judged.stopped)
