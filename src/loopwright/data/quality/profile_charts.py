"""The plots of a profile, as Vega-Lite specifications."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loopwright.core.charts import BLUES, DIVERGING, MARK, MUTED, SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.quality.profile import ColumnProfile, Pair, Profile

Spec = dict[str, Any]
WIDTH, HEIGHT = 330, 130
WIDE = 760
MOST_BARS = 12
MOST_MATRIX = 24
LARGE = 10_000  # from which on an axis says 20k
_LABEL = 24  # characters of a category's name under a bar


def distribution(one: ColumnProfile) -> Spec | None:
    """Return bars of a column's values, or None where there is nothing to draw."""
    if one.top:
        return _categories(one) if one.top[0][1] > 1 else None
    if one.histogram is None or not any(one.histogram.counts):
        return None
    edges, counts = one.histogram.edges, one.histogram.counts
    if one.kind != "time" and len(edges) > 2 and edges[1] - edges[0] == 1.0 and edges[0] % 1 == 0.5:
        return _whole_numbers(edges, counts)
    factor = 1000.0 if one.kind == "time" else 1.0
    rows = [{"from": edges[i] * factor, "to": edges[i + 1] * factor, "rows": n} for i, n in enumerate(counts) if n]
    domain = [edges[0] * factor, edges[-1] * factor]
    if one.kind == "time":
        x = _time("from", edges[-1] - edges[0]) | {"scale": {"type": "utc", "domain": domain, "nice": False}}
    else:
        axis: Spec = {"title": None, "labelFlush": True, "tickCount": 5}
        if max(abs(edges[0]), abs(edges[-1])) >= LARGE:
            axis["format"] = "~s"
        x = {"field": "from", "type": "quantitative", "axis": axis, "scale": {"domain": domain, "nice": False}}
    return {
        "data": {"values": rows},
        "width": WIDTH,
        "height": HEIGHT,
        "mark": {"type": "rect", "stroke": None},
        "encoding": {
            "x": x,
            "x2": {"field": "to"},
            "y": {"field": "rows", "type": "quantitative", "axis": _counts("rows"), "scale": {"zero": True}},
            "y2": {"datum": 0},
        },
    }


def _whole_numbers(edges: Sequence[float], counts: Sequence[int]) -> Spec:
    """Return a bar for each of a few whole numbers."""
    rows = [{"value": int(edges[i] + 0.5), "rows": n} for i, n in enumerate(counts)]
    return {
        "data": {"values": rows},
        "width": WIDTH,
        "height": HEIGHT,
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "value", "type": "ordinal", "axis": {"title": None, "labelAngle": 0, "ticks": False}},
            "y": {"field": "rows", "type": "quantitative", "axis": _counts("rows")},
        },
    }


def _categories(one: ColumnProfile) -> Spec:
    shown = list(one.top[:MOST_BARS])
    rest = one.filled - sum(n for _, n in shown)
    rows = [{"value": _short(value), "place": i, "rows": n, "is": "value"} for i, (value, n) in enumerate(shown)]
    if rest:
        rows.append({"value": "(others)", "place": len(rows), "rows": rest, "is": "rest"})
    if one.nulls:
        rows.append({"value": "(missing)", "place": len(rows), "rows": one.nulls, "is": "rest"})
    order = [str(row["place"]) for row in rows]
    names = {str(row["place"]): row["value"] for row in rows}
    pick = (
        "{" + ", ".join(f"{_quoted(place)}: {_quoted(str(name))}" for place, name in names.items()) + "}[datum.label]"
    )
    return {
        "data": {"values": [row | {"place": str(row["place"])} for row in rows]},
        "width": WIDTH - 90,
        "height": {"step": 17} if len(rows) > 7 else HEIGHT,
        "mark": {"type": "bar"},
        "encoding": {
            "y": {
                "field": "place",
                "type": "nominal",
                "sort": order,
                "axis": {"title": None, "labelExpr": pick, "ticks": False, "domain": False, "labelOverlap": False},
                "scale": {"paddingInner": 0.25},
            },
            "x": {"field": "rows", "type": "quantitative", "axis": {**_counts("rows"), "tickCount": 4, "grid": True}},
            "color": {
                "field": "is",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": ["value", "rest"], "range": [MARK, MUTED]},
            },
        },
    }


def over_time(one: ColumnProfile, profile: Profile) -> Spec | None:
    """Return a line of a column's mean over time; of a category, of how unlike the rest each stretch is."""
    line = one.timeline
    if line is None or one.name == profile.time_column:
        return None
    has_means = any(value is not None for value in line.means)
    values = line.means if has_means else line.psi
    title = ("share of true" if one.kind == "bool" else "mean") if has_means else "distance from the rest (PSI)"
    rows = [
        {"at": _middle(profile, i), "value": value, "still": bool(line.constant[i]) and has_means}
        for i, value in enumerate(values)
        if value is not None and profile.rows_by_time[i]
    ]
    if len(rows) < 3:
        return None
    top: Spec = {"field": "value", "type": "quantitative", "axis": {"title": title, "tickCount": 4}}
    top["scale"] = {"zero": not has_means}
    if has_means and max(abs(float(row["value"])) for row in rows) >= LARGE:
        top["axis"]["format"] = "~s"
    x = _time("at", profile.time_edges[-1] - profile.time_edges[0])
    layers: list[Spec] = [{"mark": "line", "encoding": {"x": x, "y": top}}]
    if any(row["still"] for row in rows) and not all(row["still"] for row in rows):
        dots = {"mark": {"type": "point", "color": SECOND, "size": 16, "filled": True, "opacity": 1}}
        layers.append(dots | {"transform": [{"filter": "datum.still"}], "encoding": {"x": x, "y": top}})
    return {"data": {"values": rows}, "width": WIDTH, "height": HEIGHT, "layer": layers}


def rows_over_time(profile: Profile) -> Spec | None:
    """Return how many rows there are in each stretch of time."""
    if not profile.rows_by_time:
        return None
    rows = [{"at": _middle(profile, i), "rows": n} for i, n in enumerate(profile.rows_by_time)]
    return {
        "data": {"values": rows},
        "width": WIDE,
        "height": 110,
        "mark": {"type": "area", "line": {"color": MARK, "strokeWidth": 1.5}, "interpolate": "step"},
        "encoding": {
            "x": _time("at", profile.time_edges[-1] - profile.time_edges[0], ticks=8),
            "y": {"field": "rows", "type": "quantitative", "axis": _counts("rows")},
        },
    }


def missing_over_time(profile: Profile) -> Spec | None:
    """Return the share of missing values by column and stretch of time."""
    columns = [one for one in profile.columns if one.timeline is not None and one.nulls]
    cells = [
        (one.name, i, one.timeline.nulls[i] / rows)
        for one in columns
        if one.timeline is not None
        for i, rows in enumerate(profile.rows_by_time)
        if rows
    ]
    return _by_time(profile, cells, "missing", {"scheme": None, "domain": [0, max((c for *_, c in cells), default=1)]})


def shift_over_time(profile: Profile) -> Spec | None:
    """Return how unlike the rest of the time each column is in each stretch."""
    cells = [
        (one.name, i, min(value, 1.0))
        for one in profile.columns
        if one.timeline is not None and one.order_breaks is None
        for i, value in enumerate(one.timeline.psi)
        if value is not None and one.filled
    ]
    return _by_time(profile, cells, "PSI", {"domain": [0, 1]})


def _by_time(profile: Profile, cells: Sequence[tuple[str, int, float]], title: str, scale: Spec) -> Spec | None:
    names = list(dict.fromkeys(name for name, *_ in cells))
    if not names:
        return None
    rows = [
        {
            "column": name,
            "from": profile.time_edges[i] * 1000,
            "to": profile.time_edges[i + 1] * 1000,
            "value": round(value, 5),
        }
        for name, i, value in cells
    ]
    legend: Spec = {"title": title, "gradientLength": 80}
    if title == "missing":
        legend["format"] = ".0%"
    return {
        "data": {"values": rows},
        "width": WIDE - 90,
        "height": {"step": 16},
        "mark": {"type": "rect"},
        "encoding": {
            "x": _time("from", profile.time_edges[-1] - profile.time_edges[0], ticks=8),
            "x2": {"field": "to"},
            "y": {"field": "column", "type": "nominal", "sort": names, "axis": _plain_names()},
            "color": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": scale["domain"], "range": list(BLUES)},
                "legend": legend,
            },
        },
    }


def matrix(pairs: Sequence[Pair], measure: str, order: Sequence[str]) -> Spec | None:
    """Return a matrix of associations; columns in the order of the table, at most 24."""
    chosen = [pair for pair in pairs if pair.measure == measure]
    named = {name for pair in chosen for name in (pair.first, pair.second)}
    names = [name for name in order if name in named]
    if len(names) > MOST_MATRIX:  # those of the strongest pairs
        strongest = dict.fromkeys(name for pair in chosen for name in (pair.first, pair.second))
        kept = set(list(strongest)[:MOST_MATRIX])
        names = [name for name in names if name in kept]
    if len(names) < 3:
        return None
    there = set(names)
    cells = [
        {"a": a, "b": b, "value": pair.value, "text": f"{pair.value:.2f}".replace("0.", ".", 1)}
        for pair in chosen
        if {pair.first, pair.second} <= there
        for a, b in ((pair.first, pair.second), (pair.second, pair.first))
    ]
    cells += [{"a": name, "b": name, "value": 1.0, "text": ""} for name in names]
    both_ways = measure != "cramers_v"
    step = 30 if len(names) <= 16 else 22
    x = {
        "field": "a",
        "type": "nominal",
        "sort": names,
        "axis": {**_plain_names(), "labelAngle": -40, "orient": "bottom"},
    }
    y = {"field": "b", "type": "nominal", "sort": names, "axis": _plain_names()}
    color: Spec = {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [-1, 0, 1], "range": [DIVERGING[0], DIVERGING[2], DIVERGING[4]], "interpolate": "rgb"}
        if both_ways
        else {"domain": [0, 1], "range": list(BLUES)},
        "legend": {"title": None, "gradientLength": 80},
    }
    strong = {"condition": {"test": "abs(datum.value) > 0.55", "value": "#fefefe"}, "value": "#20303f"}
    layers: list[Spec] = [{"mark": "rect", "encoding": {"x": x, "y": y, "color": color}}]
    if len(names) <= 16:
        text = {"x": x, "y": y, "text": {"field": "text"}, "color": strong}
        layers.append({"mark": {"type": "text", "fontSize": 9}, "encoding": text})
    size = {"step": step}
    return {"data": {"values": cells}, "width": size, "height": size, "layer": layers}


def _time(field: str, seconds: float, *, ticks: int = 4) -> Spec:
    """Return an axis of times in UTC, labelled as finely as its length asks for."""
    form = "%b %Y" if seconds > 120 * 86_400 else "%d %b" if seconds > 3 * 86_400 else "%d, %H:%M"
    axis = {"title": None, "tickCount": ticks, "format": form}
    return {"field": field, "type": "temporal", "axis": axis, "scale": {"type": "utc", "nice": False}}


def _plain_names() -> Spec:
    return {"title": None, "ticks": False, "domain": False, "labelOverlap": False, "labelLimit": 130}


def _counts(title: str) -> Spec:
    return {"title": title, "tickCount": 4, "tickMinStep": 1}


def _middle(profile: Profile, index: int) -> float:
    return (profile.time_edges[index] + profile.time_edges[index + 1]) / 2 * 1000


def _short(text: str) -> str:
    flat = " ".join(text.split()) if text.strip() else "(blank)" if text else "(empty)"
    return flat if len(flat) <= _LABEL else flat[: _LABEL - 1] + "…"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def moment(seconds: float) -> str:
    """Return epoch seconds as a text for people."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M}"
