"""What in a profile a person should look at first, as sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.quality.profile import ColumnProfile, Profile

FindingKind = Literal[
    "constant",
    "still",
    "missing",
    "text_numbers",
    "infinite",
    "lone_value",
    "duplicates",
    "falls_back",
    "shifts",
    "same_as",
    "repeats",
]
MISSING_SHARE = 0.2
STILL_SHARE = 0.1  # of the buckets of time
SHIFT = 0.25  # population stability index that is commonly called a major change
SAME = 0.999
LONG_TEXT = 30  # characters from which on a text that comes again is no common word
_NAMES = {"pearson": "they lie on a line", "cramers_v": "one names the other's value"}


@dataclass(frozen=True)
class Finding:
    """One thing that was seen."""

    kind: FindingKind
    column: str
    text: str


def findings(profile: Profile) -> tuple[Finding, ...]:
    """Return what stands out, the whole table first, then column by column."""
    found: list[Finding] = []
    if profile.duplicate_keys:
        key = ", ".join(profile.key)
        found.append(Finding("duplicates", key, f"{profile.duplicate_keys:,} rows repeat the key {key}."))
    if profile.duplicate_rows:
        found.append(Finding("duplicates", "", f"{profile.duplicate_rows:,} rows are equal to an earlier one."))
    for one in profile.columns:
        found += _of_column(one, profile)
    moving = [one.name for one in profile.columns if _moves(one)]
    if moving:
        listed = ", ".join(moving[:8]) + (f" and {len(moving) - 8} more" if len(moving) > 8 else "")
        found.append(Finding("shifts", listed, f"Unlike itself in most stretches of time: {listed}."))
    found += [
        Finding("same_as", pair.first, f"{pair.first} and {pair.second} go together fully: {_NAMES[pair.measure]}.")
        for pair in profile.pairs
        if pair.measure in {"pearson", "cramers_v"} and abs(pair.value) >= SAME
    ]
    return tuple(found)


def _of_column(one: ColumnProfile, profile: Profile) -> list[Finding]:
    found: list[Finding] = []

    def say(kind: FindingKind, text: str) -> None:
        found.append(Finding(kind, one.name, text))

    if one.rows and not one.filled:
        say("constant", f"{one.name} has no value at all.")
    elif one.is_constant and one.filled > 1:
        say("constant", f"{one.name} is {one.minimum} in every row that has a value.")
    elif one.nulls > MISSING_SHARE * one.rows:
        share = one.nulls / one.rows
        shown = f"{share:.0%}" if share < 0.995 else f"{math.floor(1000 * share) / 10:g}%"  # never all for almost all
        say("missing", f"{one.name} is missing in {shown} of the rows.")
    texts, numbers = one.texts, one.numbers
    if texts is not None and one.filled > texts.blank and texts.numeric == one.filled - texts.blank:
        blank = f"; {texts.blank:,} are blank" if texts.blank else ""
        say("text_numbers", f"{one.name} is text, and every value is a number{blank}.")
    if texts is not None and texts.mean_length >= LONG_TEXT and one.is_distinct_exact and one.distinct > 1:
        again = one.filled - one.distinct
        if 0 < again < 0.5 * one.filled:
            say("repeats", f"{one.name}: {again:,} texts came before; take them out before a random split.")
    if numbers is not None and numbers.infinite:
        say("infinite", f"{one.name} is infinite in {numbers.infinite:,} rows.")
    if numbers is not None and (text := _lone(one)) is not None:
        say("lone_value", text)
    if one.order_breaks:
        say(
            "falls_back",
            f"{one.name} rises with {profile.time_column}, and falls back {one.order_breaks:,} times: is a date wrong?",
        )
    if one.timeline is not None and not one.is_constant and one.name != profile.time_column:
        if (text := _still(one, profile)) is not None:
            say("still", text)
        elif (text := _shifted(one, profile)) is not None:
            say("shifts", text)
    return found


def _lone(one: ColumnProfile) -> str | None:
    assert one.numbers is not None  # noqa: S101 - asked before
    shares = dict(one.numbers.quantiles)
    inner = shares[0.99] - shares[0.01]
    if inner <= 0:
        return None
    low, high = shares[0.01] - one.numbers.minimum, one.numbers.maximum - shares[0.99]
    for value, distance in ((one.numbers.minimum, low), (one.numbers.maximum, high)):
        if distance > 5 * inner:
            return (
                f"{one.name} reaches {value:g}; 98 % of its values lie between {shares[0.01]:g} and {shares[0.99]:g}."
            )
    return None


def _still(one: ColumnProfile, profile: Profile) -> str | None:
    """Say for which stretch of time a column holds still, and moves outside of it."""
    assert one.timeline is not None  # noqa: S101 - asked before
    filled = [rows > nulls + 1 for rows, nulls in zip(profile.rows_by_time, one.timeline.nulls, strict=True)]
    still = [is_same and there for is_same, there in zip(one.timeline.constant, filled, strict=True)]
    moving = [there and not is_same for is_same, there in zip(one.timeline.constant, filled, strict=True)]
    first, length = _longest(still)
    elsewhere = sum(filled) - length
    if length < max(3, STILL_SHARE * len(still)) or sum(moving) < max(1, 0.5 * elsewhere):
        return None
    values = {one.timeline.means[i] for i in range(first, first + length)}
    if len(values) > 1:  # another value each time, as a year has: no fault
        return None
    begins, ends = _day(profile.time_edges[first]), _day(profile.time_edges[first + length])
    return f"{one.name} holds still from {begins} to {ends}, and moves at other times: was it filled in?"


def _shifted(one: ColumnProfile, profile: Profile) -> str | None:
    """Say when a column looks least like the rest of the time."""
    assert one.timeline is not None  # noqa: S101 - asked before
    known = [(value, i) for i, value in enumerate(one.timeline.psi) if value is not None]
    far = [i for value, i in known if value >= SHIFT]
    if not known or not far or one.order_breaks is not None or _moves(one):
        return None
    worst = max(known)[1]
    return (
        f"{one.name} is unlike the rest of the time in {len(far)} of {len(known)} stretches, most of all from "
        f"{_day(profile.time_edges[worst])} (population stability index {max(known)[0]:.2f})."
    )


def _moves(one: ColumnProfile) -> bool:
    """Tell whether most stretches of time differ from the rest, as with seasons and prices."""
    if one.timeline is None or one.order_breaks is not None:
        return False
    known = [value for value in one.timeline.psi if value is not None]
    return sum(value >= SHIFT for value in known) > 0.5 * max(len(known), 1)


def _longest(flags: Sequence[bool]) -> tuple[int, int]:
    best, first, run = (0, 0), 0, 0
    for index, flag in enumerate(flags):
        first = first if run else index
        run = run + 1 if flag else 0
        if run > best[1]:
            best = (first, run)
    return best


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d}"
