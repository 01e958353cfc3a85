"""What an engine makes of single operations: DuckDB's values, or an error that names the operation; never others.

The values come from a table of odd ones (missing, NaN, infinities, zeros of both signs, blanks, letters of several
alphabets, times before 1970 and around the changes of clocks). What they should be is what DuckDB gives on the
session's desk. Subclasses give fixtures ``engine`` and ``stores``.
"""
# ruff: noqa: S101 - assertions are what this module is made of

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pytest

from loopwright.core.errors import FeatureError
from loopwright.core.storage.duck import to_arrow
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.availability import plain_frames
from loopwright.features.engine import Inputs
from loopwright.features.engine_sql import duckdb_sql
from loopwright.features.view import feature_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopwright.core.storage.stores import Stores
    from loopwright.features.engine import EngineSession, FeatureEngine

NAN, INF = math.nan, math.inf
MOMENT = pa.timestamp("us", tz="UTC")
START = datetime(2026, 1, 1, tzinfo=UTC)


def odd_dataset() -> Dataset:
    """Declare the dataset of every case; the columns that are not declared may hold anything."""
    contract = [column("id", "int"), column("t", "timestamp"), column("g", "category")]
    return Dataset("odd", push(), event_time="t", key="id", contract=contract)


def odd_table() -> pa.Table:
    """Make the rows."""
    moments = [
        "2026-01-01T00:00", "2025-12-31T23:59:59.999999", "1969-12-31T23:00:00.000001", None, "2024-02-29T12:30",
        "2026-01-04T00:00", "2026-01-05T00:00", "1999-07-15T03:04:05.678901", "2026-03-29T01:30", "2026-10-25T01:30",
        "1900-01-01T00:00", "2026-12-31T00:00",
    ]  # fmt: skip
    times = [None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC) for text in moments]
    return pa.table(
        {
            "id": range(12),
            "t": pa.array([START + timedelta(minutes=i * i) for i in range(12)], MOMENT),
            "g": ["a", "b", "a", "b"] * 3,
            "x": pa.array([1.5, -2.5, 0.0, -0.0, None, NAN, INF, -INF, 1e300, 0.1, 2.5, 1.005], pa.float64()),
            "y": pa.array([0.0, 0.0, 0.0, 2.0, 1.0, 2.0, 0.0, 3.0, 1e300, None, -0.0, 7.0], pa.float64()),
            "i": pa.array([7, -7, 0, None, 2**53 + 1, -1, 5, 12, 3, -8, 100, 1], pa.int64()),
            "j": pa.array([2, 2, 4, 3, 1, 7, -3, 5, 2, 3, None, -1], pa.int64()),
            "n": pa.array([k % 5 for k in range(12)], pa.int64()),
            "b": [True, False, None] * 4,
            "s": ["Oslo", " Bergen\t", "", "a_b%c", None, "ÆØÅ é", "\n x \r", "12", "-1.5", "x", "abcabc", "日本語"],
            "u": pa.array(times, MOMENT),
            "d": pa.array([None if time is None else time.date() for time in times]),
        }
    )


def _finite(t: ibis.Table) -> Any:  # noqa: ANN401
    return ibis.ifelse(t.x.isnan() | t.x.isinf() | (t.x.abs() > 1e9), 1.25, t.x)


def scalars(t: ibis.Table) -> dict[str, Any]:
    """Name operations on the values of one row."""
    finite, text = _finite(t), t.s
    numbers = {
        "divide": t.x / t.y, "divide_int": t.i / t.j, "divide_zero": t.i / (t.j - t.j), "modulus": t.x % t.y,
        "modulus_int": t.i % t.j.nullif(0), "floor_divide": t.i // t.j.nullif(0),
        "floor_divide_float": finite // t.y.nullif(0), "times": t.x * 0.1, "times_int": t.n * 0.1, "plus": t.i + 0.5,
        "minus": t.i - t.j, "negate": -t.x, "abs": t.x.abs(), "power": finite.clip(-9, 9) ** 2,
        "root": finite.abs() ** 0.5, "reciprocal": t.y**-1, "exp": t.y.exp(), "ceil": finite.ceil(),
        "floor": finite.floor(), "round": finite.round(), "round_2": t.x.round(2), "round_tens": t.x.round(-1),
        "to_int": finite.cast("int64"), "half_to_int": (t.n * 0.5).cast("int64"), "to_int32": finite.cast("int32"),
        "bool_to_int": t.b.cast("int64"), "int_to_bool": t.i.cast("boolean"), "sqrt": t.x.sqrt(), "ln": t.x.ln(),
        "log2": t.x.log2(), "log10": t.x.log10(), "log3": t.x.log(3), "sign": t.x.sign(), "sign_int": t.i.sign(),
        "sin": finite.sin(), "cos": finite.cos(), "tan": (t.x - t.x + t.n).tan(), "asin": t.y.asin(),
        "acos": t.x.acos(), "atan": t.x.atan(), "atan2": t.x.atan2(t.y), "degrees": t.x.degrees(),
        "radians": t.x.radians(), "pi": t.i * ibis.pi, "e": t.i * ibis.e,
    }  # fmt: skip
    logic = {
        "isnull": t.x.isnull(), "notnull": t.x.notnull(), "isnan": t.x.isnan(), "isinf": t.x.isinf(),
        "coalesce": ibis.coalesce(t.x, t.y), "fill": t.x.fill_null(9.0), "nullif": t.x.nullif(0.0), "gt": t.x > t.y,
        "eq": t.x == t.y, "ge": t.x >= t.y, "ne": t.x != t.y, "lt": t.x < t.y, "le": t.x <= t.y,
        "identical": t.x.identical_to(t.y), "between": t.x.between(0, 2), "isin": text.isin(["Oslo", "x"]),
        "notin": t.i.notin([7, 5]), "and": t.b & (t.i > 0), "or": t.b | (t.i > 0), "not": ~t.b,
        "xor": t.b ^ (t.i > 0), "greatest": ibis.greatest(t.x, t.y), "least": ibis.least(t.x, t.y),
        "clip": t.x.clip(0, 2), "cases": ibis.cases((t.x > 1, "big"), (t.x < 0, "small"), else_="other"),
        "ifelse": t.b.ifelse(t.i, t.j), "case_of": text.cases(("Oslo", 1), ("x", 2), else_=0),
    }  # fmt: skip
    texts = {
        "length": text.length(), "upper": text.upper(), "lower": text.lower(), "strip": text.strip(),
        "lstrip": text.lstrip(), "rstrip": text.rstrip(), "substr": text.substr(1, 2), "from": text.substr(2),
        "last": text.right(2), "first": text.left(2), "contains": text.contains("b"), "starts": text.startswith("O"),
        "ends": text.endswith("o"), "like": text.like("a%"), "like_one": text.like("_s%"), "ilike": text.ilike("o%"),
        "concat": text + "-" + t.g, "replace": text.replace("b", "XX"), "find": text.find("b"),
        "repeat": text.repeat(2), "lpad": text.lpad(5, "*"), "rpad": text.rpad(5, "*"),
        "int_text": t.i.cast("string"), "bool_text": t.b.cast("string"), "date_text": t.d.cast("string"),
        "number": ibis.ifelse(text == "-1.5", text, "3e2").cast("float64"),
    }  # fmt: skip
    return numbers | logic | texts | _times(t)


def _times(t: ibis.Table) -> dict[str, Any]:
    found = {
        "year": t.u.year(), "month": t.u.month(), "day": t.u.day(), "hour": t.u.hour(), "minute": t.u.minute(),
        "second": t.u.second(), "millisecond": t.u.millisecond(), "quarter": t.u.quarter(),
        "week": t.u.week_of_year(), "day_of_year": t.u.day_of_year(), "weekday": t.u.day_of_week.index(),
        "weekday_name": t.u.day_of_week.full_name(), "epoch": t.u.epoch_seconds(), "date": t.u.date(),
        "date_year": t.d.year(), "date_weekday": t.d.day_of_week.index(), "plus_h": t.u + ibis.interval(hours=5),
        "minus_d": t.u - ibis.interval(days=3), "plus_month": t.u + ibis.interval(months=1),
        "plus_year": t.u + ibis.interval(years=1), "plus_week": t.u + ibis.interval(weeks=1),
        "plus_us": t.u + ibis.interval(microseconds=7), "plus_n": t.u + t.n.as_interval("h"),
        "date_plus": t.d + ibis.interval(days=40), "date_days": t.t.date().delta(t.d, unit="day"),
        "later": t.u > ibis.timestamp("2025-12-31", timezone="UTC"), "date_later": t.d > ibis.date(2025, 12, 31),
        "last": ibis.greatest(t.t, t.u), "text": t.u.strftime("%Y-%m-%d %H"),
    }  # fmt: skip
    periods = {"year": "Y", "quarter": "Q", "month": "M", "week": "W"}
    found |= {f"date_{name}_start": t.d.truncate(unit) for name, unit in periods.items()}
    periods |= {"day": "D", "hour": "h", "minute": "m", "second": "s"}
    found |= {f"{name}_start": t.u.truncate(unit) for name, unit in periods.items()}
    units = ("year", "month", "week", "day", "hour", "minute", "second")
    return found | {f"delta_{unit}": t.t.delta(t.u, unit=unit) for unit in units}


def windows(t: ibis.Table) -> dict[str, Any]:
    """Name operations over windows: by rows and by time, behind the row and with it."""
    by = {"group_by": "g"}
    frames = {
        "before": ibis.window(**by, order_by="id", preceding=3, following=-1),
        "with": ibis.window(**by, order_by="id", preceding=2, following=0),
        "so_far": ibis.cumulative_window(**by, order_by="id"),
        "minutes": ibis.range_window(**by, order_by="t", preceding=ibis.interval(minutes=40), following=0),
        "hour": ibis.trailing_range_window(ibis.interval(hours=1), order_by="t", group_by="g"),
    }
    finite = _finite(t)
    functions = {
        "mean": finite.mean(), "mean_nan": t.x.mean(), "sum": t.n.sum(), "min": t.x.min(), "max": t.x.max(),
        "count": t.x.count(), "rows": t.count(), "std": t.n.std(), "var": t.n.var(how="pop"),
        "nunique": t.y.nunique(), "median": t.n.median(), "quantile": t.n.quantile(0.3), "any": t.b.any(),
        "all": t.b.all(), "first": t.x.first(), "last": t.s.last(), "argmax": t.s.argmax(t.id),
        "sum_where": t.n.sum(where=t.b), "earliest": t.u.min(),
    }  # fmt: skip
    found = {f"{frame}_{name}": f.over(window) for frame, window in frames.items() for name, f in functions.items()}
    ordered = ibis.window(**by, order_by="id")
    analytic = {
        "lag": t.x.lag(), "lag_2": t.s.lag(2), "lag_default": t.n.lag(1, default=0), "row": ibis.row_number(),
        "percent": ibis.percent_rank(), "cume": ibis.cume_dist(), "nth": t.x.nth(1), "change": t.n - t.n.lag(),
    }  # fmt: skip
    ranks = {
        "nan_last": ibis.rank().over(ibis.window(order_by="x")),
        "descending": ibis.rank().over(ibis.window(order_by=ibis.desc("x"))),
        "null_first": ibis.rank().over(ibis.window(order_by=ibis.asc("x", nulls_first=True))),
        "texts": ibis.dense_rank().over(ibis.window(order_by="s")),
        "ahead": t.n.lead().over(ordered),
    }
    return found | {name: function.over(ordered) for name, function in analytic.items()} | ranks


def groups(t: ibis.Table) -> dict[str, Any]:
    """Name aggregates."""
    finite = _finite(t)
    return {
        "mean": finite.mean(), "mean_nan": t.x.mean(), "mean_int": t.i.mean(), "sum": t.i.sum(), "min": t.x.min(),
        "max": t.x.max(), "first_text": t.s.min(), "last_text": t.s.max(), "max_bool": t.b.max(),
        "count": t.x.count(), "rows": t.count(), "nunique": t.x.nunique(), "nunique_text": t.s.nunique(),
        "some": t.s.nunique(where=t.n > 1), "std": t.n.std(), "std_pop": t.n.std(how="pop"), "var": finite.var(),
        "median": finite.median(), "median_int": t.n.median(), "quantile": finite.quantile(0.25),
        "argmax": t.s.argmax(t.id), "argmin": t.s.argmin(t.id), "any": t.b.any(), "all": t.b.all(),
        "share": t.b.mean(), "sum_bool": t.b.sum(), "sum_where": t.n.sum(where=t.b), "rows_where": t.count(where=t.b),
        "mean_where": t.n.mean(where=t.b), "covariance": t.n.cov(t.id), "latest": t.u.max(),
    }  # fmt: skip


def disputed(t: ibis.Table) -> dict[str, Any]:
    """Name what an engine may refuse, and may not make other values of."""
    return {
        "Mode": t.group_by("g", "t").agg(v=t.n.mode()),
        "TryCast": t.select("g", "t", v=t.s.try_cast("float64")),
        "Hash": t.select("g", "t", v=t.s.hash()),
        "Reverse": t.select("g", "t", v=t.s.reverse()),
        "Levenshtein": t.select("g", "t", v=t.s.levenshtein("Oslo")),
        "Capitalize": t.select("g", "t", v=t.s.capitalize()),
        "RegexExtract": t.select("g", "t", v=t.s.re_extract("(b+)", 1)),
        "StringSQLLike": t.select("g", "t", v=t.s.like("a\\_%")),
        "Strftime": t.select("g", "t", v=t.u.strftime("%A")),
        "Cast": t.select("g", "t", v=t.x.cast("string")),
        "Multiply": t.select("g", "t", v=(t.n / 3).cast("float32") * (t.n / 7).cast("float32")),
        "Add": t.select("g", "t", v=t.n.cast("decimal(9,2)") + 1),
    }


def impossible(t: ibis.Table) -> dict[str, Any]:
    """Name what has no value: an error on every engine."""
    return {
        "whole numbers past 64 bits": (t.i.fill_null(1) + 1) * 2**62 * 4,
        "modulus by zero": t.i % (t.j - t.j),
        "NaN to a whole number": t.x.cast("int64"),
        "infinity to a whole number": (t.x / 0).floor(),
        "text as a number": t.s.cast("float64"),
    }


class EngineOperationsConformance:
    """Subclasses give fixtures ``engine`` and ``stores``."""

    @pytest.fixture
    def session(self, engine: FeatureEngine, stores: Stores) -> Iterator[EngineSession]:
        """Open a session on the odd rows."""
        lake, dataset = Lake(stores), odd_dataset()
        report = lake.push(dataset, odd_table())
        assert report.rows_quarantined == 0, report.reasons
        assert report.snapshot is not None
        with engine.open(Inputs(stores, lake, {dataset.name: report.snapshot})) as session:
            yield session

    def test_operations_on_one_row(self, session: EngineSession) -> None:
        """Numbers, logic, texts and times."""
        _compare(session, lambda t: t.select("id", "t", **_featured(scalars(t))), "id")

    def test_operations_over_windows(self, session: EngineSession) -> None:
        """Frames by rows and by time, ranks and shifts."""
        _compare(session, lambda t: t.select("id", "t", **_featured(windows(t))), "id", looks_ahead=True)

    def test_aggregates(self, session: EngineSession) -> None:
        """Groups of a key and an hour, some of one row, and of a key alone."""
        _compare(session, _by_hour, "g")
        _compare(session, _by_key, "g", looks_ahead=True)

    def test_joins_unions_and_distinct_rows(self, session: EngineSession) -> None:
        """A lookup by key and by time, rows of two kinds, equal rows once, missing values left out."""
        _compare(session, _relations, "id", looks_ahead=True)

    def test_disputed_operations(self, session: EngineSession, engine: FeatureEngine) -> None:
        """They give DuckDB's values, or an error that names them and the engine."""
        for name in disputed(_table()):
            try:
                _compare(session, partial(_disputed, name), "g", name=f"disputed_{name.lower()}")
            except FeatureError as refused:
                message = refused.message
            else:
                continue
            assert name in message
            assert f"engine '{engine.name}'" in message

    def test_what_has_no_value_is_an_error(self, session: EngineSession) -> None:
        """Overflow, remainders by zero, logarithms of zero: never a number."""
        for place, name in enumerate(impossible(_table())):
            view = feature_view(
                lambda t, name=name: t.select("id", "t", v=impossible(t)[name]),
                odd_dataset(), entity="id", event_time="t", name=f"impossible_{place}",
            )  # fmt: skip
            with pytest.raises(FeatureError):
                print(name, session.compute(view))  # noqa: T201 - shown when no error comes


def _disputed(name: str, t: ibis.Table) -> ibis.Table:
    found: ibis.Table = disputed(t)[name]
    return found


def _table() -> ibis.Table:
    return ibis.table(ibis.Schema.from_pyarrow(odd_table().schema), name="odd")


def _featured(values: dict[str, Any]) -> dict[str, Any]:
    return {f"v_{name}": value for name, value in values.items()}


def _by_hour(t: ibis.Table) -> ibis.Table:
    hours = t.mutate(t=t.t.truncate("h") + ibis.interval(hours=1))
    return hours.group_by("g", "t").agg(**_featured(groups(hours)))


def _by_key(t: ibis.Table) -> ibis.Table:
    return t.group_by("g").agg(t=t.t.max(), **_featured(groups(t)))


def _relations(t: ibis.Table) -> ibis.Table:
    of_key = t.group_by("g").agg(total=t.n.sum(), x_least=t.x.min())
    high, low = t.filter(t.n > 2).mutate(kind=ibis.literal("high")), t.filter(t.n <= 1).mutate(kind=ibis.literal("low"))
    t = high.union(low)
    names = t.select(other=t.g.replace("b", "c")).distinct()
    joined = t.join(of_key, "g").left_join(names, [t.g == names.other])
    return joined.select(
        t.id, t.t, v_kind=t.kind, v_s=t.s, v_total=of_key.total, v_least=of_key.x_least, v_other=names.other
    ).drop_null("v_s")


def _compare(
    session: EngineSession,
    function: Callable[[ibis.Table], ibis.Table],
    key: str,
    *,
    looks_ahead: bool = False,
    name: str = "",
) -> None:
    """Compute a view, and compare its rows with those that DuckDB gives on the desk."""
    view = feature_view(
        function, odd_dataset(), entity=key, event_time="t", name=name or f"odd_by_{key}", looks_ahead=looks_ahead
    )
    computed = session.compute(view)
    found = sorted(session.stream(computed, batch=100).read_all().to_pylist(), key=_order(key))
    table = plain_frames(function(_table()))
    expected = sorted(to_arrow(session.desk.sql(duckdb_sql(table))).to_pylist(), key=_order(key))
    assert len(found) == len(expected) > 0
    wrong = [
        (left[key], column, left[column], right[column])
        for left, right in zip(found, expected, strict=True)
        for column in computed.join.features
        if not _same(left[column], right[column])
    ]
    assert not wrong, wrong


def _order(key: str) -> Any:  # noqa: ANN401
    return lambda row: (row[key], row["t"])


def _same(left: object, right: object) -> bool:
    if isinstance(right, date) and not isinstance(right, datetime):
        right = datetime(right.year, right.month, right.day, tzinfo=UTC)
    if isinstance(left, float) and isinstance(right, int | float | Decimal):
        right = float(right)
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return left == right or math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left.replace(tzinfo=None) == right.replace(tzinfo=None)
    return left == right
