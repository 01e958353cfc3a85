"""Measures a profile with DuckDB: one pass for the summaries, one for the counts.

The second pass needs the cut points that the first gives: it counts every column on its frozen bins and on bins of
equal width, per bucket of time, and the buckets add up to the whole. Both stream; what is kept grows with the columns
and not with the rows. Where a table is larger than :data:`EXACT_ROWS`, quantiles come from a t-digest (T. Dunning,
O. Ertl, Computing extremely accurate quantiles using t-digests, 2019) and distinct values from HyperLogLog (P. Flajolet
et al., 2007); the counts on the bins are always exact.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.core.errors import UsageError
from loopwright.core.statistics.binning import CategoryBins, NumericBins
from loopwright.core.storage.duck import quote_name
from loopwright.data.contract.contract import require_known
from loopwright.data.quality.profile import ColumnProfile, Histogram, Numbers, Profile, Texts
from loopwright.data.quality.profile_columns import CELL_CHARACTERS, WHOLE_TYPES, Read, described
from loopwright.data.quality.profile_counts import Counting
from loopwright.data.quality.profile_pairs import associations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from loopwright.core.statistics.binning import Bins

EXACT_ROWS = 500_000
BINS = 20
BARS = 30
TOP = 50
SHARES = tuple(round(i / BINS, 4) for i in range(BINS + 1))
_SHOWN = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def measure(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    name: str,
    *,
    key: Sequence[str] = (),
    time_column: str | None = None,
    payloads: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    like: Profile | None = None,
    with_pairs: bool = True,
    seed: int = 0,
) -> Profile:
    """Measure the rows of a relation (the name of a view or table, quoted as SQL needs it).

    Args:
        con: Where the relation lives.
        relation: SQL that may follow FROM.
        name: What the profile is called.
        key: Columns that should identify a row.
        time_column: Cuts the rows into buckets; by default the first column of times whose values differ.
        payloads: Columns that hold references to stored bytes or texts, which have no distribution of their own.
        leave_out: Columns to pass over.
        like: A profile whose bins are used again, so that the two can be compared.
        with_pairs: Whether to measure associations on a sample.
        seed: Of the sample.

    Raises:
        ContractError: If ``key`` or ``time_column`` names an unknown column.
        UsageError: If the relation has no columns, or ``time_column`` holds no times.
    """
    columns = [one for one in described(con, relation, payloads) if one.name not in leave_out]
    if not columns:
        raise UsageError(f"{name} has no columns to profile.")
    known = [one.name for one in columns]
    require_known([*key, *([time_column] if time_column else [])], known, f"The profile of {name}")
    rows = int(con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])
    estimated = rows > EXACT_ROWS
    summaries = _summaries(con, relation, columns, exact=not estimated)
    before = {one.name: one for one in like.columns} if like else {}
    found = [_summarised(one, summaries[one.name], rows, exact=not estimated) for one in columns]
    found = [
        _with_bins(read, one, summaries[read.name], before.get(read.name))
        for read, one in zip(columns, found, strict=True)
    ]
    clock = _clock(columns, found, time_column, name)
    if rows:
        counting = Counting(con, relation, columns, clock)
        found, time_edges, rows_by_time = counting.run(found)
    else:
        time_edges, rows_by_time = (), ()
    pairs, sampled = associations(con, relation, found, rows, seed) if with_pairs and rows else ((), 0)
    if clock is not None and rows:
        found = counting.with_order(found, pairs)
    return Profile(
        name=name,
        rows=rows,
        columns=tuple(found),
        is_estimated=estimated,
        key=tuple(key),
        duplicate_keys=_duplicates(con, relation, key) if key else None,
        duplicate_rows=_duplicates(con, relation, known) if not estimated else None,
        time_column=clock.name if clock else None,
        time_edges=time_edges,
        rows_by_time=rows_by_time,
        pairs=pairs,
        sampled_rows=sampled,
    )


def _summaries(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[Read], *, exact: bool
) -> dict[str, dict[str, Any]]:
    listed: list[tuple[str, str, str]] = []
    for one in columns:
        value = one.value
        asked = {
            "filled": f"count({value})",
            "distinct": f"count(DISTINCT {value})" if exact else f"approx_count_distinct({value})",
        }
        if one.kind in {"number", "time"}:
            cuts = f"[{', '.join(map(str, sorted({*SHARES, *_SHOWN})))}]"
            quantile = f"quantile_disc({one.number}, {cuts})" if exact else f"approx_quantile({one.number}, {cuts})"
            asked |= {"low": f"min({one.number})", "high": f"max({one.number})", "cuts": quantile}
        if one.kind == "number":
            asked |= {
                "mean": f"avg({one.number})",
                "std": f"stddev_samp({one.number})",
                "finite": f"count({one.number})",
                "zeros": f"count(*) FILTER ({one.number} = 0)",
                "negatives": f"count(*) FILTER ({one.number} < 0)",
            }
        if one.kind == "time":
            quoted = quote_name(one.name)
            asked |= {"first": f"min({quoted})::VARCHAR", "last": f"max({quoted})::VARCHAR"}
        if one.kind == "text":
            quoted, trimmed = f"{quote_name(one.name)}::VARCHAR", f"trim({quote_name(one.name)}::VARCHAR)"
            asked |= {
                "first": f"left(min({quoted}), {CELL_CHARACTERS})",
                "last": f"left(max({quoted}), {CELL_CHARACTERS})",
                "short": f"min(length({quoted}))",
                "long": f"max(length({quoted}))",
                "length": f"avg(length({quoted}))",
                "blank": f"count(*) FILTER ({trimmed} = '')",
                "numeric": f"count(TRY_CAST({trimmed} AS DOUBLE)) FILTER ({trimmed} <> '')",
                "temporal": f"count(TRY_CAST({trimmed} AS TIMESTAMPTZ)) FILTER ({trimmed} <> '')",
                "top": f"approx_top_k({one.text}, {TOP})",
            }
        if one.kind == "bool":
            asked |= {"high": f"max({one.number})", "low": f"min({one.number})"}
        listed += [(one.name, label, sql) for label, sql in asked.items()]
    row = con.execute(f"SELECT {', '.join(sql for _, _, sql in listed)} FROM {relation}").fetchall()[0]
    found: dict[str, dict[str, Any]] = {one.name: {} for one in columns}
    for (name, label, _), value in zip(listed, row, strict=True):
        found[name][label] = value
    return found


def _summarised(one: Read, found: Mapping[str, Any], rows: int, *, exact: bool) -> ColumnProfile:
    filled = int(found["filled"])
    made = ColumnProfile(
        name=one.name,
        type=one.type,
        kind=one.kind,
        rows=rows,
        nulls=rows - filled,
        distinct=min(int(found["distinct"]), filled),
        is_distinct_exact=exact,
    )
    if one.kind == "number" and found["low"] is not None:
        shares = sorted({*SHARES, *_SHOWN})
        cuts = dict(zip(shares, map(float, found["cuts"]), strict=True))
        low, high = float(found["low"]), float(found["high"])
        numbers = Numbers(
            minimum=low,
            maximum=high,
            mean=float(found["mean"]),
            std=None if found["std"] is None else float(found["std"]),
            zeros=int(found["zeros"]),
            negatives=int(found["negatives"]),
            infinite=filled - int(found["finite"]),
            quantiles=tuple((share, cuts[share]) for share in _SHOWN),
        )
        return replace(made, numbers=numbers, minimum=_plain(low), maximum=_plain(high))
    if one.kind in {"time", "text"}:
        first, last = found["first"], found["last"]
        made = replace(made, minimum=_text(first), maximum=_text(last))
    if one.kind == "bool" and found["low"] is not None:
        made = replace(made, minimum=str(found["low"] == 1.0).lower(), maximum=str(found["high"] == 1.0).lower())
    if one.kind == "text" and filled:
        texts = Texts(
            shortest=int(found["short"]),
            longest=int(found["long"]),
            mean_length=float(found["length"]),
            blank=int(found["blank"]),
            numeric=int(found["numeric"]),
            temporal=int(found["temporal"]),
        )
        made = replace(made, texts=texts)
    return made


def _with_bins(read: Read, one: ColumnProfile, found: Mapping[str, Any], before: ColumnProfile | None) -> ColumnProfile:
    """Freeze the bins: those of ``before`` where the kinds agree, else cut from this column's own quantiles."""
    bins: Bins | None = None
    histogram = None
    if one.kind in {"number", "time"} and found.get("low") is not None:
        low, high = float(found["low"]), float(found["high"])
        cuts = [float(cut) for cut in found["cuts"]]
        # Between the true ends: an estimate of a quantile may lie beyond them.
        edges = np.unique(np.clip(np.asarray([low, *cuts, high]), low, high))
        bins = NumericBins(tuple(edges.tolist()))
        histogram = Histogram(_bars(low, high, whole=_is_whole(read)), ())
    elif one.kind == "text" and one.filled:
        bins = CategoryBins(tuple(dict.fromkeys(str(value) for value in found["top"])))
    elif one.kind == "bool" and one.filled:
        bins = CategoryBins(("false", "true"))
    if before is not None and before.bins is not None and before.kind == one.kind:
        bins = before.bins
    return replace(one, bins=bins, histogram=histogram)


def _bars(low: float, high: float, *, whole: bool) -> tuple[float, ...]:
    """Return edges of equal width; of whole numbers, so that every bar covers as many of them."""
    if high <= low:
        return (low - 0.5, low + 0.5)
    if whole and high - low < 1e15:
        width = -(-(high - low + 1) // BARS)
        count = -(-(high - low + 1) // width)
        return tuple(low - 0.5 + width * i for i in range(int(count) + 1))
    share = np.linspace(0.0, 1.0, BARS + 1)
    return tuple((low * (1.0 - share) + high * share).tolist())  # no difference, which may be too large for a float


def _is_whole(read: Read) -> bool:
    return read.type in WHOLE_TYPES


def _clock(columns: Sequence[Read], found: Sequence[ColumnProfile], wanted: str | None, name: str) -> Read | None:
    for read, one in zip(columns, found, strict=True):
        if wanted in {None, read.name} and read.kind == "time":
            if one.histogram is not None and not one.is_constant:
                return read
            if wanted is not None:
                return None
        if wanted == read.name and read.kind != "time":
            raise UsageError(
                f"The column {wanted!r} of {name} is {read.type} and holds no times.", hint="Name a timestamp column."
            )
    return None


def _duplicates(con: duckdb.DuckDBPyConnection, relation: str, names: Sequence[str]) -> int:
    listed = ", ".join(map(quote_name, names))
    query = f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {relation} GROUP BY {listed} HAVING n > 1)"
    return int(con.execute(query).fetchall()[0][0])


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
