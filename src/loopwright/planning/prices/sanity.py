"""The rules that a row of prices keeps; each would have caught a row that was wrong in a published catalogue.

A **refused** row makes the table unusable; a **doubtful** one is kept, and said.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import TYPE_CHECKING

from loopwright.planning.prices.spread import OLD_DAYS, age_days

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loopwright.planning.prices.instance import Instance

HIGHEST_USD = 200.0
"""No machine costs as much an hour, and no unit of a service as much; 700 was a placeholder in a catalogue."""

ACCELERATOR_COUNTS = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 1, 2, 4, 8, 16)
_MOST_DISCOUNT = 0.92
_FAMILY_TOLERANCE = 0.05
_REGION_BAND = (0.6, 1.8)
_DIGITS = re.compile(r"^(?:Standard_)?(?P<family>[a-zA-Z]+)(?P<size>\d+)(?P<rest>.*)$")

Row = dict[str, str]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or doubtful, in a table.

    Attributes:
        file: The table.
        line: Of the file, the heading being the first.
        column: The column.
        value: What stands there.
        text: The rule that it breaks.
    """

    file: str
    line: int
    column: str
    value: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, {self.column}={self.value!r}: {self.text}"


def number_of(row: Mapping[str, str], column: str) -> float | None:
    """Return a figure of a row; None where the cell is empty.

    Raises:
        ValueError: If it is no finite number.
    """
    text = row.get(column) or ""
    if not text.strip():
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def refused(file: str, line: int, row: Row) -> list[Finding]:
    """Return what makes a row of one of the three tables unusable."""
    found = [
        Finding(file, line, name, row.get(name) or "", "a figure was expected")
        for name in row
        if name in _FIGURES and not _is_number(row, name)
    ]
    found += [Finding(file, line, name, "", "must not be empty") for name in _NEEDED[file] if not row.get(name)]
    found += [
        Finding(file, line, name, row[name], "a day is written YYYY-MM-DD, or left empty")
        for name in ("as_of", "spot_as_of")
        if row.get(name) and not _is_day(row[name])
    ]
    if found:
        return found
    for name in row:
        value = number_of(row, name) if name in _FIGURES else None
        if value is not None:
            found += _bounds(file, line, row, name, value)
    if file == "instances.csv":
        found += _instance_rules(file, line, row)
    return found


def _bounds(file: str, line: int, row: Row, name: str, value: float) -> list[Finding]:
    def say(text: str) -> list[Finding]:
        return [Finding(file, line, name, row[name], text)]

    if value < 0 or (value == 0 and name not in {"usd", "from_quantity", "spot_zones"}):
        return say("must be more than 0")
    if name == "usd" and value == 0 and not row.get("note", "").startswith("free"):
        return say("a price of 0 needs a note that begins with 'free'")
    if name.endswith("usd_per_hour") and value >= HIGHEST_USD:
        return say(f"no machine costs {HIGHEST_USD:g} USD an hour or more")
    if name == "usd" and value >= HIGHEST_USD:
        return say(f"no unit costs {HIGHEST_USD:g} USD or more")
    return []


def _instance_rules(file: str, line: int, row: Row) -> list[Finding]:
    found = []
    on_demand = number_of(row, "on_demand_usd_per_hour") or 0.0
    spot, low, high = (number_of(row, f"spot_{name}usd_per_hour") for name in ("", "low_", "high_"))
    if spot is not None and spot > on_demand:
        text = f"spot is dearer than on demand ({on_demand:g})"
        found.append(Finding(file, line, "spot_usd_per_hour", row["spot_usd_per_hour"], text))
    if spot is not None and not row.get("spot_source"):
        found.append(Finding(file, line, "spot_source", "", "a spot price needs its source"))
    if low is not None and high is not None and not (low <= high and (spot is None or low <= spot <= high)):
        text = f"the zones' band {low:g} to {high:g} does not hold the price {spot}"
        found.append(Finding(file, line, "spot_low_usd_per_hour", row["spot_low_usd_per_hour"], text))
    count = number_of(row, "accelerators")
    if count is not None and not any(math.isclose(count, one, rel_tol=0.01) for one in ACCELERATOR_COUNTS):
        text = "machines have 1/8, 1/6, 1/4, 1/3, 1/2, 1, 2, 4, 8 or 16 accelerators"
        found.append(Finding(file, line, "accelerators", row["accelerators"], text))
    if row["architecture"] not in {"x86", "arm"}:
        found.append(Finding(file, line, "architecture", row["architecture"], "is x86 or arm"))
    return found


def doubts(instances: Sequence[Instance], lines: Sequence[int]) -> list[Finding]:
    """Return what a person should look at before trusting a table; the rows are used all the same."""
    found: list[Finding] = []
    for one, line in zip(instances, lines, strict=True):
        found += [Finding("instances.csv", line, "spot_usd_per_hour", *said) for said in _spot_doubts(one)]
    found += _family_doubts(instances, lines)
    found += _region_doubts(instances, lines)
    return found


def _spot_doubts(one: Instance) -> list[tuple[str, str]]:
    if one.spot is None:
        return []
    where = f"{one.provider} {one.region} {one.type}"
    said = []
    if one.spot.usd == one.on_demand.usd:
        said.append((f"{one.spot.usd:g}", f"{where}: spot is as dear as on demand; there may be no spot market"))
    elif one.spot_high is not None and one.spot_high >= one.on_demand.usd - 0.005:
        said.append((f"{one.spot_high:g}", f"{where}: in one zone spot is as dear as on demand"))
    discount = 1 - one.spot.usd / one.on_demand.usd
    if discount > _MOST_DISCOUNT:
        said.append((f"{one.spot.usd:g}", f"{where}: {discount:.0%} off is more than spot markets give"))
    return said


def _family_doubts(instances: Sequence[Instance], lines: Sequence[int]) -> Iterable[Finding]:
    families: dict[tuple[str, str, str], list[tuple[Instance, int]]] = {}
    for one, line in zip(instances, lines, strict=True):
        if not one.is_gpu:
            families.setdefault((one.provider, one.region, family_of(one)), []).append((one, line))
    for (_, _, family), members in families.items():
        middle = median(one.on_demand.usd / one.memory_gib for one, _ in members)
        for one, line in members:
            ratio = one.on_demand.usd / one.memory_gib / middle
            if abs(ratio - 1) > _FAMILY_TOLERANCE:
                text = f"{one.provider} {one.region} {one.type}: {ratio - 1:+.0%} off its family {family} for its size"
                yield Finding("instances.csv", line, "on_demand_usd_per_hour", f"{one.on_demand.usd:g}", text)


def _region_doubts(instances: Sequence[Instance], lines: Sequence[int]) -> Iterable[Finding]:
    types: dict[tuple[str, str], list[tuple[Instance, int]]] = {}
    for one, line in zip(instances, lines, strict=True):
        types.setdefault((one.provider, one.type), []).append((one, line))
    low, high = _REGION_BAND
    for members in types.values():
        middle = median(one.on_demand.usd for one, _ in members)
        for one, line in members:
            ratio = one.on_demand.usd / middle
            if not low <= ratio <= high:
                text = f"{one.provider} {one.region} {one.type}: {ratio:.2f} times the median of the regions"
                yield Finding("instances.csv", line, "on_demand_usd_per_hour", f"{one.on_demand.usd:g}", text)


def family_of(one: Instance) -> str:
    """Return the family of a type: what is left of its name without its size.

    AWS ``c6i.xlarge`` is of ``c6i``, GCP ``n2-highcpu-4`` of ``n2-highcpu``, Azure ``Standard_D4s_v5`` of ``D*s_v5``.
    """
    if one.provider == "aws":
        return one.type.partition(".")[0]
    if one.provider == "gcp":
        return one.type.rpartition("-")[0] if one.type[-1:].isdigit() else one.type
    found = _DIGITS.match(one.type)
    return f"{found['family']}*{found['rest']}" if found else one.type


def staleness(days: Iterable[str], today: date) -> str | None:
    """Return a sentence about how many prices are older than a year or without a day; None where none is."""
    listed = list(days)
    old = [day for day in listed if age_days(day, today) >= OLD_DAYS]
    if not old:
        return None
    undated = sum(not day for day in old)
    oldest = min((day for day in old if day), default="")
    parts = [f"{len(old)} of {len(listed)} prices are older than a year or without a day"]
    if oldest:
        parts.append(f"the oldest of {oldest}")
    if undated:
        parts.append(f"{undated} without a day")
    return f"{', '.join(parts)}: their bands are widened. Newer ones come in with `loopwright prices import`."


def _is_number(row: Row, name: str) -> bool:
    try:
        number_of(row, name)
    except ValueError:
        return False
    return True


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


_NEEDED: dict[str, tuple[str, ...]] = {
    "instances.csv": (
        "provider", "region", "type", "vcpus", "memory_gib", "architecture", "on_demand_usd_per_hour", "source",
    ),
    "units.csv": ("provider", "service", "tier", "unit", "usd", "source"),
    "commitments.csv": ("provider", "region", "type", "source"),
}  # fmt: skip
_FIGURES = frozenset(
    (
        "vcpus", "memory_gib", "accelerators", "accelerator_memory_gib", "on_demand_usd_per_hour", "spot_usd_per_hour",
        "spot_low_usd_per_hour", "spot_high_usd_per_hour", "spot_zones", "usd", "from_quantity", "full_month_usd",
        "commit_1y_usd_per_month", "commit_3y_usd_per_month",
    )
)  # fmt: skip

PRICES = (
    "on_demand_usd_per_hour", "spot_usd_per_hour", "usd", "full_month_usd", "commit_1y_usd_per_month",
    "commit_3y_usd_per_month",
)  # fmt: skip
"""The columns that hold prices."""
