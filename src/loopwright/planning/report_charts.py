"""The pictures of a plan, as Vega-Lite specifications; one that has nothing to show is None."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.core.charts import GRID, MARK, MUTED, SECOND
from loopwright.planning.cost import STAGES

if TYPE_CHECKING:
    from loopwright.planning.comparison import Compared
    from loopwright.planning.plan import Crossover, Plan

Spec = dict[str, Any]
WIDTH = 560
HALF = 420
DAY = 520
HEIGHT = 230
_ROW = 24
_MOST_WORKING, _MOST_REFUSED = 10, 5
_MOST_TIMES = 12  # of the chosen one's cost; beyond that the others would be lines
_MOST_SWINGS = 10
_LABEL = 460  # pixels for the name of an option
_DOLLARS = {"format": "$,.0f", "title": "US dollars a month"}


def cost_by_stage(plan: Plan) -> Spec:
    """Return a bar for each stage of the chosen plan, with its dollars."""
    rows = [
        {"stage": stage, "usd": plan.stages[stage].chosen.usd_per_month, "order": place}
        for place, stage in enumerate(STAGES)
        if stage in plan.stages
    ]
    return _bars(rows, "stage", [str(row["stage"]) for row in rows], title="US dollars a month")


def cost_by_alternative(rows: list[Compared]) -> Spec | None:
    """Return a bar for each option of a stage, the chosen one apart and those that break a limit pale."""
    chosen, here = next(((row.option.usd_per_month, row.where) for row in rows if row.is_chosen), (0.0, ""))
    listed: list[dict[str, Any]] = []
    left = {"chosen": 1, "works": _MOST_WORKING, "breaks a limit": _MOST_REFUSED}
    for row in sorted(rows, key=lambda one: one.option.usd_per_month):
        name = row.option.name if row.where == here else f"{row.option.name} · {row.option.region}"
        kind = "chosen" if row.is_chosen else "breaks a limit" if row.is_refused else "works"
        is_far = row.option.usd_per_month > _MOST_TIMES * max(chosen, 0.01)
        if left[kind] and not is_far and all(one["option"] != name for one in listed):
            left[kind] -= 1
            listed.append({"option": name, "usd": row.option.usd_per_month, "is": kind})
    if len(listed) < 2:
        return None
    kinds = {"chosen": SECOND, "works": MARK, "breaks a limit": MUTED}
    spec = _bars(listed, "option", [str(one["option"]) for one in listed], title="US dollars a month")
    present = [kind for kind in kinds if any(one["is"] == kind for one in listed)]
    spec["layer"][0]["encoding"]["color"] = {
        "field": "is",
        "type": "nominal",
        "scale": {"domain": present, "range": [kinds[kind] for kind in present]},
        "legend": {"title": None, "orient": "top"},
    }
    return spec


def day_curve(plan: Plan) -> Spec | None:
    """Return the traffic over the day under what the machines carry then."""
    if not plan.day:
        return None
    rows = [
        {"hour": one.hour, "rps": rps, "is": name}
        for one in plan.day
        for name, rps in (("requests", one.rps), ("capacity", one.capacity_rps))
    ]
    colour = {
        "field": "is",
        "type": "nominal",
        "scale": {"domain": ["requests", "capacity"], "range": [MARK, SECOND]},
        "legend": {"title": None, "orient": "top", "symbolType": "stroke", "symbolOpacity": 1, "symbolStrokeWidth": 2},
    }
    x = {
        "field": "hour",
        "type": "quantitative",
        "scale": {"domain": [0, 24], "nice": False},
        "axis": {"title": "hour of the day", "values": list(range(0, 25, 3))},
    }
    y = {"field": "rps", "type": "quantitative", "axis": {"title": "requests/s"}, "scale": {"zero": True}}
    return {
        "data": {"values": rows},
        "width": DAY,
        "height": HEIGHT,
        "layer": [
            {
                "transform": [{"filter": "datum.is == 'requests'"}],
                "mark": {"type": "area", "opacity": 0.25},
                "encoding": {"x": x, "y": y, "color": colour},
            },
            {
                "transform": [{"filter": "datum.is == 'requests'"}],
                "mark": {"type": "line"},
                "encoding": {"x": x, "y": y, "color": colour},
            },
            {
                "transform": [{"filter": "datum.is == 'capacity'"}],
                "mark": {"type": "line", "interpolate": "step-after"},
                "encoding": {"x": x, "y": y, "color": colour},
            },
        ],
    }


def latency_curve(plan: Plan) -> Spec | None:
    """Return the share of answers by the time they take, against the limit."""
    if not plan.latency_s:
        return None
    rows = [{"ms": 1000 * seconds, "share": share} for share, seconds in plan.latency_s]
    x = {
        "field": "ms",
        "type": "quantitative",
        "axis": {"title": "milliseconds", "tickCount": 6},
        "scale": {"zero": True},
    }
    layers: list[Spec] = [
        {
            "mark": {"type": "line", "point": {"size": 22}},
            "encoding": {
                "x": x,
                "y": {
                    "field": "share",
                    "type": "quantitative",
                    "axis": {"title": "share of answers", "format": ".0%"},
                    "scale": {"domain": [0, 1]},
                },
            },
        }
    ]
    chosen = plan.stages["serving"].chosen.settings if "serving" in plan.stages else {}
    limit, percentile = chosen.get("limit_s"), chosen.get("percentile")
    if isinstance(limit, float) and isinstance(percentile, float):
        layers += [
            {
                "data": {"values": [{"ms": 1000 * limit}]},
                "mark": {"type": "rule", "color": SECOND, "strokeDash": [4, 3], "strokeWidth": 1.5},
                "encoding": {"x": {"field": "ms", "type": "quantitative"}},
            },
            {
                "data": {"values": [{"ms": 1000 * limit, "share": 0.06, "said": f"limit {1000 * limit:g} ms "}]},
                "mark": {"type": "text", "align": "right", "color": SECOND},
                "encoding": {
                    "x": {"field": "ms", "type": "quantitative"},
                    "y": {"field": "share", "type": "quantitative"},
                    "text": {"field": "said"},
                },
            },
            {
                "data": {"values": [{"share": percentile}]},
                "mark": {"type": "rule", "color": MUTED, "strokeDash": [2, 3]},
                "encoding": {"y": {"field": "share", "type": "quantitative"}},
            },
        ]
    return {"data": {"values": rows}, "width": HALF, "height": HEIGHT, "layer": layers}


def tornado(plan: Plan) -> Spec | None:
    """Return a bar from low to high for each uncertain input, the widest first."""
    kept = [one for one in plan.tornado if one.width_usd > 0.005][:_MOST_SWINGS]
    if not kept:
        return None
    rows = [
        {"input": one.name, "from": low, "to": high, "is": side}
        for one in kept
        for side, low, high in (
            ("one deviation below", one.low_usd, plan.usd_per_month),
            ("one deviation above", plan.usd_per_month, one.high_usd),
        )
    ]
    sides = ["one deviation below", "one deviation above"]
    return {
        "data": {"values": rows},
        "width": HALF,
        "height": {"step": _ROW},
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "y": _names("input", [one.name for one in kept], 200),
            "x": {
                "field": "from",
                "type": "quantitative",
                "axis": _DOLLARS | {"tickCount": 5},
                "scale": {"zero": False},
            },
            "x2": {"field": "to"},
            "color": {
                "field": "is",
                "type": "nominal",
                "scale": {"domain": sides, "range": [MARK, SECOND]},
                "legend": {"title": None, "orient": "top"},
            },
        },
    }


def crossover(one: Crossover) -> Spec | None:
    """Return what the two ways cost by the rate, both axes in powers, with the point where they meet."""
    rows: list[dict[str, Any]] = [
        {"rate": rate, "usd": usd, "way": way}
        for rate, *costs in one.points
        for way, usd in zip((one.first, one.second), costs, strict=True)
        if 0 < usd < float("inf")
    ]
    if len({row["way"] for row in rows}) < 2:
        return None
    dollars = [float(row["usd"]) for row in rows]
    x = {
        "field": "rate",
        "type": "quantitative",
        "axis": {"title": one.unit, "tickCount": 6, "format": "~s"},
        "scale": {"type": "log", "nice": False},
    }
    layers: list[Spec] = [
        {
            "data": {"values": rows},
            "mark": {"type": "line"},
            "encoding": {
                "x": x,
                "y": {
                    "field": "usd",
                    "type": "quantitative",
                    "axis": {"title": "US dollars a month", "format": "$~s", "tickCount": 4, "grid": False},
                    "scale": {"type": "log", "nice": False, "domain": [0.8 * min(dollars), 1.25 * max(dollars)]},
                },
                "color": {
                    "field": "way",
                    "type": "nominal",
                    "scale": {"domain": [one.first, one.second], "range": [MARK, SECOND]},
                    "legend": {"title": None, "orient": "top"},
                },
            },
        }
    ]
    if one.at is not None:
        layers.append(
            {
                "data": {"values": [{"rate": one.at}]},
                "mark": {"type": "rule", "color": MUTED, "strokeDash": [4, 3]},
                "encoding": {"x": {"field": "rate", "type": "quantitative"}},
            }
        )
    return {"width": HALF, "height": HEIGHT, "layer": layers}


def _names(field: str, order: list[str], pixels: int) -> Spec:
    axis = {"title": None, "labelLimit": pixels, "ticks": False, "domain": False, "labelOverlap": False}
    return {"field": field, "type": "nominal", "sort": order, "axis": axis}


def _bars(rows: list[dict[str, Any]], field: str, order: list[str], *, title: str) -> Spec:
    """Return horizontal bars with their dollars behind them."""
    most = max((float(row["usd"]) for row in rows), default=1.0)
    y = _names(field, order, _LABEL)
    shown = [row | {"said": f"${row['usd']:,.0f}" if row["usd"] >= 100 else f"${row['usd']:,.2f}"} for row in rows]
    x = {
        "field": "usd",
        "type": "quantitative",
        "axis": {"title": title, "format": "$,.0f", "tickCount": 5, "gridColor": GRID, "grid": True},
        "scale": {"domain": [0, 1.12 * most], "nice": False},
    }
    return {
        "data": {"values": shown},
        "width": WIDTH,
        "height": {"step": _ROW},
        "layer": [
            {"mark": {"type": "bar", "height": {"band": 0.7}}, "encoding": {"x": x, "y": y}},
            {
                "mark": {"type": "text", "align": "left", "dx": 4},
                "encoding": {"x": x, "y": y, "text": {"field": "said"}},
            },
        ],
    }
