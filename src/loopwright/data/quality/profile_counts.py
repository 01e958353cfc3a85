"""The second pass of a profile: every column counted on its bins, per bucket of time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.core.statistics.binning import CategoryBins, NumericBins
from loopwright.core.statistics.distance import psi_corrected
from loopwright.core.storage.duck import quote_name, quote_text
from loopwright.data.quality.profile import ColumnProfile, Histogram, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb
    from numpy.typing import NDArray

    from loopwright.core.statistics.binning import Bins
    from loopwright.data.quality.profile import Pair
    from loopwright.data.quality.profile_columns import Read

BUCKETS = 48
_ENOUGH = 30  # rows of a bucket below which its distribution says nothing
_FOLLOWS = 0.99  # rank correlation with time from which a column should never fall back
_MARK = "="  # before every text, so that the empty text differs from DuckDB's name for the rest


class Counting:
    """Counts a relation.

    Args:
        con: Where the relation lives.
        relation: SQL that may follow FROM.
        columns: Its columns.
        clock: The column whose buckets cut the rows.
    """

    def __init__(
        self, con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[Read], clock: Read | None
    ) -> None:
        self._con = con
        self._relation = relation
        self._columns = list(columns)
        self._clock = clock

    def run(self, profiles: Sequence[ColumnProfile]) -> tuple[list[ColumnProfile], tuple[float, ...], tuple[int, ...]]:
        """Return the columns with their counts, the edges of the buckets and the rows in each."""
        edges = self._edges(profiles)
        bucket, last = "0", 0
        if self._clock is not None:
            last = len(edges) - 2
            width = (edges[-1] - edges[0]) / (len(edges) - 1)
            moment = self._clock.number
            bucket = f"least(floor(({moment} - {edges[0]!r}) / {width!r}), {last})::INTEGER"
        asked = [_asked(read, one) for read, one in zip(self._columns, profiles, strict=True)]
        listed = [f"{sql} AS c{i}_{label}" for i, part in enumerate(asked) for label, sql in part.items()]
        chosen = ", ".join([f"{bucket} AS bucket", "count(*) AS n", *listed])
        query = f"SELECT {chosen} FROM {self._relation} GROUP BY 1"
        cursor = self._con.execute(query)
        names = [item[0] for item in cursor.description or ()]
        parts = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        buckets = last + 1
        rows = [0] * buckets
        for part in parts:
            if part["bucket"] is not None:
                rows[part["bucket"]] += part["n"]
        made = [_counted(one, i, parts, buckets if self._clock is not None else 0) for i, one in enumerate(profiles)]
        return made, edges, (tuple(rows) if self._clock is not None else ())

    def _edges(self, profiles: Sequence[ColumnProfile]) -> tuple[float, ...]:
        if self._clock is None:
            return ()
        one = next(each for each in profiles if each.name == self._clock.name)
        assert one.histogram is not None  # noqa: S101 - a clock has one
        low, high = one.histogram.edges[0], one.histogram.edges[-1]
        return tuple(np.linspace(low, high, BUCKETS + 1).tolist())

    def with_order(self, profiles: Sequence[ColumnProfile], pairs: Sequence[Pair]) -> list[ColumnProfile]:
        """Count how often the columns that follow the clock fall back, by one sort of the rows."""
        assert self._clock is not None  # noqa: S101 - asked for by the caller
        clock = self._clock.name
        following = {
            (pair.second if pair.first == clock else pair.first)
            for pair in pairs
            if pair.measure == "spearman" and pair.value >= _FOLLOWS and clock in {pair.first, pair.second}
        }
        chosen = [one for one in self._columns if one.name in following]
        if not chosen:
            return list(profiles)
        listed = ", ".join(f"count(*) FILTER ({one.number} < before_{i})" for i, one in enumerate(chosen))
        lags = ", ".join(f"lag({one.number}) OVER w AS before_{i}" for i, one in enumerate(chosen))
        columns = ", ".join(quote_name(one.name) for one in chosen)
        moment = quote_name(clock)
        found = self._con.execute(
            f"SELECT {listed} FROM (SELECT {columns}, {lags} FROM {self._relation} WHERE {moment} IS NOT NULL "
            f"WINDOW w AS (ORDER BY {moment}, {columns}))"
        ).fetchall()[0]
        breaks = {one.name: int(n) for one, n in zip(chosen, found, strict=True)}
        return [replace(one, order_breaks=breaks.get(one.name)) for one in profiles]


def _asked(read: Read, one: ColumnProfile) -> dict[str, str]:
    asked = {"nulls": f"count(*) - count({read.value})"}
    if isinstance(one.bins, NumericBins):
        # DuckDB's bins include their upper edge and ours the lower one, so that both are taken with the sign turned.
        cuts = [*one.bins.edges[:-1], math.nextafter(one.bins.edges[-1], math.inf)]
        if len(one.bins.edges) == 1:
            cuts = [one.bins.edges[0], *cuts]
        asked["bins"] = f"histogram(-({read.number}), {_doubles(-cut for cut in reversed(cuts))})"
        infinite = f"CASE WHEN {read.value} IS NOT NULL AND {read.number} IS NULL"
        asked["below"] = f"count(*) FILTER ({infinite} AND {quote_name(read.name)}::VARCHAR LIKE '-%' THEN true END)"
        asked["above"] = (
            f"count(*) FILTER ({infinite} AND {quote_name(read.name)}::VARCHAR NOT LIKE '-%' THEN true END)"
        )
    if one.histogram is not None:
        asked["bars"] = f"histogram({read.number}, {_doubles(one.histogram.edges)})"
        asked |= {"low": f"min({read.number})", "high": f"max({read.number})", "mean": f"avg({read.number})"}
    if isinstance(one.bins, CategoryBins):
        listed = ", ".join(quote_text(_MARK + value) for value in one.bins.categories)
        asked["cats"] = f"histogram_exact({quote_text(_MARK)} || {read.text}, [{listed}]::VARCHAR[])"
        if one.kind == "bool":
            asked["mean"] = f"avg({read.number})"
    return asked


def _doubles(values: Iterable[float]) -> str:
    """Write numbers as SQL; the number next to the largest one is infinite."""
    listed = (repr(float(value)) if math.isfinite(value) else f"'{value}'::DOUBLE" for value in values)
    return f"[{', '.join(listed)}]::DOUBLE[]"


def _counted(one: ColumnProfile, index: int, parts: Sequence[Mapping[str, Any]], buckets: int) -> ColumnProfile:
    cells = len(one.bins.cells) if one.bins is not None else 0
    by_bucket: NDArray[np.int64] = np.zeros((max(buckets, 1), cells), dtype=np.int64)
    outside: NDArray[np.int64] = np.zeros(cells, dtype=np.int64)
    nulls = [0] * buckets
    means: list[float | None] = [None] * buckets
    constant = [False] * buckets
    bars: NDArray[np.int64] | None = None
    for part in parts:
        got = {label.split("_", 1)[1]: value for label, value in part.items() if label.startswith(f"c{index}_")}
        where = part["bucket"]
        counts = _cells(one.bins, got)
        if one.histogram is not None:
            found = _bars_of(one.histogram, got["bars"])
            bars = found if bars is None else bars + found
        if counts is not None:
            target = outside if where is None else by_bucket[where]
            target += counts
        if buckets and where is not None:
            place = int(where)
            nulls[place] = int(got["nulls"])
            means[place] = got.get("mean")
            same = got.get("low") is not None and got.get("low") == got.get("high")
            constant[place] = bool(same or (counts is not None and _one_value(one.bins, counts)))
    total = by_bucket.sum(axis=0) + outside
    made = replace(one, counts=tuple(int(n) for n in total))
    if one.histogram is not None and bars is not None:
        made = replace(made, histogram=Histogram(one.histogram.edges, tuple(int(n) for n in bars)))
    if isinstance(one.bins, CategoryBins):
        made = _with_top(made, one.bins)
    if buckets:
        psi = tuple(None if one.kind == "time" else _psi(total - by_bucket[i], by_bucket[i]) for i in range(buckets))
        means_found = tuple(None if m is None or one.kind == "time" else float(m) for m in means)
        made = replace(made, timeline=Timeline(tuple(nulls), means_found, tuple(constant), psi))
    return made


def _cells(bins: Bins | None, got: Mapping[str, Any]) -> NDArray[np.int64] | None:
    if bins is None:
        return None
    nulls = int(got["nulls"])
    if isinstance(bins, CategoryBins):
        found: Mapping[str, int] = got["cats"] or {}
        named = [int(found.get(_MARK + value, 0)) for value in bins.categories]
        other = sum(int(n) for n in found.values()) - sum(named)
        return np.asarray([*named, other, nulls], dtype=np.int64)
    turned: Mapping[float, int] = got["bins"] or {}
    above_first = [int(turned[edge]) for edge in sorted(turned)]  # from the highest values to the lowest
    inner = len(bins.cells) - 3
    cells = np.zeros(len(bins.cells), dtype=np.int64)
    if above_first:
        rest = int(turned.get(float("inf"), 0))
        listed = [int(turned[edge]) for edge in sorted(turned) if edge != float("inf")]
        # listed[0] holds what lies at or beyond the highest cut, then come the bins downwards.
        listed += [0] * (inner + 1 - len(listed))
        if len(bins.edges) == 1:
            cells[2], cells[1], cells[0] = listed[0], sum(listed[1:]), rest
        else:
            cells[len(cells) - 2] = listed[0]
            cells[1 : inner + 1] = listed[inner:0:-1]
            cells[0] = rest
    cells[0] += int(got["below"])
    cells[len(cells) - 2] += int(got["above"])
    cells[len(cells) - 1] = nulls
    return cells


def _bars_of(histogram: Histogram, found: Mapping[float, int] | None) -> NDArray[np.int64]:
    """Return counts per bar; the lowest value counts to the first bar."""
    edges = histogram.edges
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    there = found or {}
    for edge, n in there.items():
        place = int(np.searchsorted(np.asarray(edges), edge)) - 1
        counts[min(max(place, 0), len(counts) - 1)] += int(n)
    return counts


def _one_value(bins: Bins | None, counts: NDArray[np.int64]) -> bool:
    if not isinstance(bins, CategoryBins):
        return False
    return int((counts[:-2] > 0).sum()) == 1 and counts[-2] == 0


def _with_top(one: ColumnProfile, bins: CategoryBins) -> ColumnProfile:
    named = sorted(zip(bins.categories, one.counts, strict=False), key=lambda pair: (-pair[1], pair[0]))
    exact = one.counts[-2] == 0  # no value is outside the named ones
    distinct = sum(1 for _, n in named if n) if exact else one.distinct
    top = tuple((value, n) for value, n in named if n)
    return replace(one, top=top, distinct=distinct, is_distinct_exact=exact or one.is_distinct_exact)


def _psi(others: NDArray[np.int64], here: NDArray[np.int64]) -> float | None:
    if here.sum() < _ENOUGH or others.sum() < _ENOUGH:
        return None
    return round(float(psi_corrected(others, here)), 6)
