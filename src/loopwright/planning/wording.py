"""How a plan's figures are written for people: dollars, seconds, shares, quantities."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopwright.planning.assumption import Plain

PURCHASES = {
    "on_demand": "on demand",
    "spot": "spot",
    "commit_1y": "committed for a year",
    "commit_3y": "committed for three years",
}


def usd(value: float) -> str:
    """Return dollars, with cents below a thousand; less than a cent is said so.

    >>> usd(12.3), usd(-1234.5), usd(0.004), usd(0)
    ('$12.30', '-$1,234', 'under $0.01', '$0.00')
    """
    size, sign = abs(value), "-" if value < 0 else ""
    if 0 < size < 0.005:
        return "under $0.01"
    return f"{sign}${size:,.0f}" if size >= 1000 else f"{sign}${size:,.2f}"


def unit_price(value: float) -> str:
    """Return the price of one unit, with as many digits as it needs.

    >>> unit_price(0.023), unit_price(0.0000002), unit_price(16.43), unit_price(0.10)
    ('$0.023', '$2e-07', '$16.43', '$0.10')
    """
    text = f"{value:.4g}"
    if "e" not in text and len(text.partition(".")[2]) < 2:
        text = f"{value:.2f}"
    return f"${text}"


def seconds(value: float) -> str:
    """Return a duration in milliseconds or seconds.

    >>> seconds(0.0421), seconds(0.0004), seconds(12.3), seconds(4_000), seconds(float("inf"))
    ('42 ms', '0.4 ms', '12.3 s', '1.11 h', 'without end')
    """
    if value == float("inf"):
        return "without end"
    if value < 1:
        return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.2g} ms"
    return f"{value:.3g} s" if value < 3600 else f"{value / 3600:.3g} h"


def share(value: float | None) -> str:
    """Return a share in per cent; a dash where it means nothing.

    >>> share(0.876), share(0.9999), share(0.0), share(None)
    ('88 %', '99.99 %', '0 %', '-')
    """
    if value is None:
        return "-"
    if value > 0.995 and value != 1:
        return f"{100 * value:.4g} %"
    return f"{100 * value:.0f} %" if value == 0 or value >= 0.01 else f"{100 * value:.2g} %"


def number(value: Plain) -> str:
    """Return a figure or a word.

    >>> number(1_000_000.0), number(0.12345), number(True), number("int8"), number(1234.6)
    ('1,000,000', '0.1235', 'yes', 'int8', '1,235')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if value == float("inf"):
        return "without end"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def words(name: str) -> str:
    """Return the name of a setting or an input as words.

    >>> words("scaling_metric")
    'scaling metric'
    """
    return name.replace("_", " ")
