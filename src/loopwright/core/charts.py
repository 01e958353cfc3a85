"""Draws a Vega-Lite specification as SVG, without a browser and without the network.

All charts share one look. Their colours are a few fixed values (:data:`INK` and so on), so that a page which shows them
inline can exchange them for a dark background by :func:`dark_css`; an SVG file by itself is readable on white.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

INK = "#1f2933"
MUTED = "#667085"
GRID = "#e4e7ec"
MARK = "#3a6ea5"
SECOND = "#c2622d"
DARK = {INK: "#e6e9ee", MUTED: "#9aa4b2", GRID: "#343b46", MARK: "#7fb0e6", SECOND: "#f0a36b"}
"""What each colour is on a dark background."""

BLUES = ("#eef3f9", "#c6d7ea", "#93b4d8", "#5b8bc0", "#2f5d94", "#173a66")
DIVERGING = ("#b4521e", "#e09a6c", "#f4f1ee", "#88aed6", "#2f5d94")
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_AXIS = {
    "domainColor": GRID,
    "gridColor": GRID,
    "labelColor": MUTED,
    "labelFont": _FONT,
    "labelFontSize": 11,
    "labelLimit": 150,
    "labelOverlap": "greedy",
    "tickColor": GRID,
    "titleColor": MUTED,
    "titleFont": _FONT,
    "titleFontSize": 11,
    "titleFontWeight": "normal",
}
THEME: dict[str, Any] = {
    "background": None,
    "view": {"stroke": None},
    "axis": _AXIS,
    "axisX": {"grid": False},
    "legend": {
        "labelColor": MUTED,
        "labelFont": _FONT,
        "labelFontSize": 11,
        "titleColor": MUTED,
        "titleFont": _FONT,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    },
    "title": {"color": INK, "font": _FONT, "fontSize": 12, "fontWeight": 600, "anchor": "start"},
    "text": {"color": INK, "font": _FONT, "fontSize": 11},
    "bar": {"color": MARK},
    "rect": {"color": MARK},
    "line": {"color": MARK, "strokeWidth": 1.5},
    "area": {"color": MARK, "opacity": 0.25},
    "point": {"color": MARK},
    "rule": {"color": MUTED},
    "range": {"category": [MARK, SECOND, MUTED], "heatmap": list(BLUES), "ramp": list(BLUES)},
}
_ID = re.compile(r'\bid="([^"]+)"')
_NAME = re.compile(r"[^A-Za-z0-9_-]+")


def draw(spec: Mapping[str, Any], *, name: str = "chart") -> str:
    """Return a Vega-Lite specification as SVG text.

    Args:
        spec: The specification, with its data inside.
        name: Goes before every id in it; give each chart of a page another one.

    >>> bars = {"data": {"values": [{"a": 1}]}, "mark": "bar", "encoding": {"x": {"field": "a", "type": "ordinal"}}}
    >>> draw(bars)[:4]
    '<svg'
    """
    import vl_convert  # noqa: PLC0415 - an engine of tens of megabytes, for pages only

    whole = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", **spec}
    svg = str(vl_convert.vegalite_to_svg(whole, config=THEME))
    prefix = _NAME.sub("-", name)
    for found in set(_ID.findall(svg)):
        svg = svg.replace(f'id="{found}"', f'id="{prefix}-{found}"').replace(
            f"url(#{found})", f"url(#{prefix}-{found})"
        )
    return svg


def dark_css() -> str:
    """Return the CSS rules that give inline charts the colours of a dark page."""
    rules = [
        f'svg [{part}="{light}"] {{ {part}: {dark}; }}' for light, dark in DARK.items() for part in ("fill", "stroke")
    ]
    return "\n".join(rules)
