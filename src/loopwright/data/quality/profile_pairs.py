"""How strongly columns go together, pair by pair, on a bounded sample of rows.

Numbers and times: Pearson's and Spearman's correlation, over the rows that have both. Texts and truth values of few
values: Cramér's V with the bias correction of W. Bergsma, A bias-correction for Cramér's V and Tschuprow's T, Journal
of the Korean Statistical Society 42 (2013).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.storage.duck import quote_name
from loopwright.data.quality.profile import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    from numpy.typing import ArrayLike, NDArray

    from loopwright.data.quality.profile import ColumnProfile

SAMPLE_ROWS = 20_000
MOST_COLUMNS = 40
MOST_VALUES = 50
_FEWEST_ROWS = 20


def associations(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[ColumnProfile], rows: int, seed: int
) -> tuple[tuple[Pair, ...], int]:
    """Return the pairs, the strongest first, and how many rows were looked at."""
    varied = [one for one in columns if not one.is_constant and one.filled]
    numbers = [one.name for one in varied if one.kind in {"number", "time"}][:MOST_COLUMNS]
    categories = [one.name for one in varied if one.kind in {"text", "bool"} and one.distinct <= MOST_VALUES]
    categories = categories[:MOST_COLUMNS]
    if len(numbers) < 2 and len(categories) < 2:
        return (), 0
    listed = ", ".join(quote_name(name) for name in (*numbers, *categories))
    sample = f"USING SAMPLE reservoir({SAMPLE_ROWS} ROWS) REPEATABLE ({seed})" if rows > SAMPLE_ROWS else ""
    con.execute(f"CREATE OR REPLACE TEMP TABLE __sample AS SELECT {listed} FROM {relation} {sample}")
    times = {one.name for one in varied if one.kind == "time"}
    values = [_number(name, time=name in times) for name in numbers] + [
        f"{quote_name(name)}::VARCHAR AS {quote_name(name)}" for name in categories
    ]
    found = con.execute(f"SELECT {', '.join(values)} FROM __sample").fetchnumpy()
    con.execute("DROP TABLE __sample")
    pairs = list(_numeric({name: _floats(np.ma.asarray(found[name])) for name in numbers}))
    codes = {name: _codes(np.ma.asarray(found[name])) for name in categories}
    for first, second in itertools.combinations(categories, 2):
        strength = cramers_v(codes[first], codes[second])
        if strength is not None:
            pairs.append(Pair(first, second, "cramers_v", round(strength, 6)))
    pairs.sort(key=lambda pair: (-abs(pair.value), pair.first, pair.second, pair.measure))
    return tuple(pairs), min(rows, SAMPLE_ROWS)


def cramers_v(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return the bias-corrected Cramér's V of two columns of codes (-1 is missing), or None where one is constant.

    >>> round(cramers_v([0, 1] * 50, [0, 1] * 50), 3)
    1.0
    """
    a, b = np.asarray(first), np.asarray(second)
    both = (a >= 0) & (b >= 0)
    rows = int(both.sum())
    if rows < _FEWEST_ROWS:
        return None
    _, a = np.unique(a[both], return_inverse=True)
    _, b = np.unique(b[both], return_inverse=True)
    high, wide = int(a.max()) + 1, int(b.max()) + 1
    if high < 2 or wide < 2:
        return None
    table = np.bincount(a * wide + b, minlength=high * wide).reshape(high, wide).astype(np.float64)
    expected = table.sum(axis=1, keepdims=True) @ table.sum(axis=0, keepdims=True) / rows
    phi = float(((table - expected) ** 2 / expected).sum()) / rows
    corrected = max(0.0, phi - (high - 1) * (wide - 1) / (rows - 1))
    tall, broad = high - (high - 1) ** 2 / (rows - 1), wide - (wide - 1) ** 2 / (rows - 1)
    return float(np.sqrt(corrected / max(min(tall, broad) - 1, 1e-12)).clip(0.0, 1.0))


def _numeric(columns: dict[str, NDArray[np.float64]]) -> list[Pair]:
    from scipy import stats  # noqa: PLC0415 - slow to import, and every ingest loads this file

    ranks: dict[str, NDArray[np.float64]] = {}
    whole = {name: bool(np.isfinite(values).all()) for name, values in columns.items()}
    pairs = []
    for name, values in columns.items():
        if whole[name]:
            ranks[name] = stats.rankdata(values)
    for first, second in itertools.combinations(columns, 2):
        x, y = columns[first], columns[second]
        if whole[first] and whole[second]:
            u, v = ranks[first], ranks[second]
        else:
            both = np.isfinite(x) & np.isfinite(y)
            x, y = x[both], y[both]
            if len(x) < _FEWEST_ROWS:
                continue
            u, v = stats.rankdata(x), stats.rankdata(y)
        for measure, a, b in (("pearson", x, y), ("spearman", u, v)):
            value = _correlation(a, b)
            if value is not None:
                pairs.append(Pair(first, second, measure, round(value, 6)))  # type: ignore[arg-type]
    return pairs


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    if len(a) < _FEWEST_ROWS:
        return None
    x, y = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    if not np.isfinite(scale) or scale == 0.0:
        return None
    return float(np.clip((x @ y) / scale, -1.0, 1.0))


def _number(name: str, *, time: bool) -> str:
    quoted = quote_name(name)
    return f"epoch({quoted}::TIMESTAMP) AS {quoted}" if time else f"{quoted}::DOUBLE AS {quoted}"


def _floats(values: NDArray[np.generic]) -> NDArray[np.float64]:
    masked = np.ma.asarray(values, dtype=np.float64)
    filled: NDArray[np.float64] = np.ma.filled(masked, np.nan)
    filled[~np.isfinite(filled)] = np.nan
    return filled


def _codes(values: NDArray[np.generic]) -> NDArray[np.int64]:
    mask = np.ma.getmaskarray(values)
    texts = np.asarray(np.ma.filled(values, ""), dtype=object).astype(str)
    codes = np.unique(texts, return_inverse=True)[1].astype(np.int64)
    codes[mask] = -1
    return codes
