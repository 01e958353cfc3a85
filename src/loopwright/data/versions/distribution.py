"""The distribution of a column in two snapshots, from one sample of both, and how far apart the two are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.statistics.binning import freeze_numeric
from loopwright.core.statistics.distance import js_distance, psi
from loopwright.core.storage.duck import quote_name, to_arrow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TOP = 5
_CATEGORIES = 50
_BINS = 10  # of equal counts in the older snapshot, as the index is commonly computed
_NUMBERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT",
    "DOUBLE", "DECIMAL",
}  # fmt: skip


@dataclass(frozen=True)
class ColumnSummary:
    """One column in one snapshot, from the sampled rows.

    ``mean`` is for numbers and truth values, ``quantiles`` (at 5, 25, 50, 75 and 95 %) for numbers, ``top`` (value,
    rows) for the others.
    """

    null_share: float
    mean: float | None
    top: tuple[tuple[str, int], ...]
    quantiles: tuple[float, ...] = ()


class Distributions:
    """Both snapshots' columns.

    Args:
        con: A connection.
        columns: The columns.
        parts: The rows, or a sample of them, that both have (``same``), only the older (``gone``) and only the newer
            (``came``): SQL that ``con`` can run.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, columns: Sequence[str], parts: Mapping[str, str]) -> None:
        listed = ", ".join(quote_name(name) for name in columns) or "1"
        every = [f"SELECT {listed}, '{part}' AS __part FROM ({rows})" for part, rows in parts.items()]
        table = to_arrow(con.sql(" UNION ALL ".join(every)))
        part = table["__part"]
        self._before = table.filter(pc.not_equal(part, "came"))
        self._after = table.filter(pc.not_equal(part, "gone"))
        self.rows = max(self._before.num_rows, self._after.num_rows)

    def before(self, name: str, kind: str) -> ColumnSummary:
        """Summarize a column of the older snapshot."""
        return _summary(self._before[name], kind)

    def after(self, name: str, kind: str) -> ColumnSummary:
        """Summarize a column of the newer snapshot."""
        return _summary(self._after[name], kind)

    def distance(self, name: str, kind: str) -> tuple[float | None, float | None]:
        """Return the population stability index and the Jensen-Shannon distance of a column."""
        old, new = self._before[name], self._after[name]
        if not len(old) or not len(new):
            return None, None
        if _is_number(kind) or pa.types.is_temporal(old.type):
            values = _numbers(old)
            known = values[np.isfinite(values)]
            if not len(known):
                return None, None
            bins = freeze_numeric(known, bins=_BINS)
            counts = bins.count(values), bins.count(_numbers(new))
        elif _has_texts(old):
            counts = _category_counts(old, new)
        else:
            return None, None
        return float(psi(*counts)), float(js_distance(*counts))


def _summary(values: pa.ChunkedArray, kind: str) -> ColumnSummary:
    nulls = values.null_count / len(values) if len(values) else 0.0
    known = values.drop_null()
    if _is_number(kind):
        numbers = _numbers(known)
        finite = numbers[np.isfinite(numbers)]
        if not len(finite):
            return ColumnSummary(nulls, None, ())
        quantiles = tuple(float(one) for one in np.quantile(finite, QUANTILES))
        return ColumnSummary(nulls, float(finite.mean()), (), quantiles)
    mean = None
    if pa.types.is_boolean(values.type) and len(known):
        mean = float(pc.mean(known.cast(pa.float64())).as_py())
    return ColumnSummary(nulls, mean, _top(known) if _has_texts(values) and mean is None else ())


def _category_counts(
    old: pa.ChunkedArray, new: pa.ChunkedArray
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Count both on the most frequent values of the older, all others together, and nulls."""
    counted = pc.value_counts(old.drop_null().combine_chunks())
    most = np.argsort(-np.asarray(counted.field(1)), kind="stable")[:_CATEGORIES]
    kept = counted.field(0).take(pa.array(most))
    found = []
    for values in (old, new):
        places = pc.fill_null(pc.index_in(values.drop_null(), value_set=kept), len(kept)).to_numpy()
        found.append(np.append(np.bincount(places, minlength=len(kept) + 1), values.null_count))
    return found[0], found[1]


def _top(values: pa.ChunkedArray) -> tuple[tuple[str, int], ...]:
    counted = pc.value_counts(values.cast(pa.string()).combine_chunks())
    table = pa.table({"value": counted.field(0), "n": counted.field(1)})
    first = table.take(pc.select_k_unstable(table, _TOP, [("n", "descending"), ("value", "ascending")]))
    return tuple(zip(first["value"].to_pylist(), first["n"].to_pylist(), strict=True))


def _numbers(values: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _has_texts(values: pa.ChunkedArray) -> bool:
    kind = values.type
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_number(kind: str) -> bool:
    return kind.split("(", maxsplit=1)[0] in _NUMBERS
