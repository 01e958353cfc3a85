"""Quantities as people write them: ``"1M/day"``, ``"50/s"``, ``"10M"``, ``"2TB"``, ``"1y"``."""

from __future__ import annotations

import re

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError
from loopwright.core.sizes import parse_size

SECONDS_PER_DAY = 86_400
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}
_COUNT = re.compile(r"\s*([-+]?\d[\d_,]*(?:\.\d+)?(?:e[-+]?\d+)?)\s*([kmbg]?)\s*", re.IGNORECASE)
_PER = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": SECONDS_PER_DAY,
    "day": SECONDS_PER_DAY,
    "week": 7 * SECONDS_PER_DAY,
    "month": 730 * 3600,
    "year": 8760 * 3600,
}
_LONG = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(y|year|years|mo|month|months)\s*", re.IGNORECASE)


def parse_count(value: object, *, what: str = "count") -> float:
    """Read a number: ``10``, ``"10M"``, ``"2.5k"``, ``"1,000,000"``.

    Raises:
        DeclarationError: If it is none.

    >>> parse_count("10M"), parse_count("1_000"), parse_count(2)
    (10000000.0, 1000.0, 2.0)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = _COUNT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise DeclarationError(f"{value!r} is no {what}.", hint="Write a number, such as 1000, '10k' or '1M'.")
    return float(match[1].replace(",", "").replace("_", "")) * _SCALES[match[2].lower()]


def parse_rate(value: object, *, what: str = "rate") -> float:
    """Read a rate, in units per second: ``"1M/day"``, ``"50/s"``; a plain number is per second.

    Raises:
        DeclarationError: If it is none.

    >>> parse_rate("864k/day"), parse_rate("50/s"), parse_rate(3)
    (10.0, 50.0, 3.0)
    """
    if not isinstance(value, str) or "/" not in value:
        return parse_count(value, what=what)
    count, _, per = value.partition("/")
    seconds = _PER.get(per.strip().lower())
    if seconds is None:
        raise DeclarationError(f"{value!r} is no {what}.", hint="Write it per s, min, h, day, week or month: '1M/day'.")
    return parse_count(count, what=what) / seconds


def parse_bytes(value: object, *, what: str = "size") -> float:
    """Read a size in bytes, units of 1,000: ``"100KB"``, ``"1.5TB"``, or a number of bytes.

    >>> parse_bytes("1.5TB"), parse_bytes("100KB")
    (1500000000000.0, 100000.0)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise DeclarationError(f"{value!r} is no {what}.", hint="Write a number and B, KB, MB, GB or TB.")
    text = value.strip()
    if text[-2:].upper() == "TB":
        return parse_count(text[:-2], what=what) * 1e12
    return float(parse_size(text, what=what))


def parse_seconds(value: object, *, what: str = "duration") -> float:
    """Read a duration in seconds: ``"200ms"``, ``"90d"``, ``"1y"`` (365 days), ``"6mo"``, or a number of seconds.

    >>> parse_seconds("200ms"), parse_seconds("1y") == 365 * 86_400
    (0.2, True)
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise DeclarationError(f"{value!r} is no {what}.", hint="Write '200ms', '5min', '8h', '90d' or '1y'.")
    match = _LONG.fullmatch(value) if isinstance(value, str) else None
    if match:
        days = 365 if match[2][0].lower() == "y" else 365 / 12
        return float(match[1]) * days * SECONDS_PER_DAY
    return parse_duration(value).total_seconds()
