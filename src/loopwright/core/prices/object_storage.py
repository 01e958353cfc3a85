"""What object storage costs by class: storing, writing, moving between classes, reading back; with date and source.

The figures stand in ``object_storage.csv`` beside this file and are list prices of one region each. A month is 30.4167
days and a GB is 10^9 bytes, as the formulas here take them. Classes that keep one copy in one place are not in it.
Where the price of requests into a class was found in no source, its row says so, and the class is left out unless asked
for.
"""

from __future__ import annotations

import csv
import functools
import itertools
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from loopwright.core.errors import DeclarationError, UnknownNameError

Provider = Literal["aws", "gcp", "azure"]

DAYS_PER_MONTH = 365 / 12
GB = 10**9
_TABLE = Path(__file__).parent / "object_storage.csv"


@dataclass(frozen=True)
class StorageClass:
    """One class of one provider.

    Attributes:
        provider: ``aws``, ``gcp`` or ``azure``.
        region: Where the prices hold.
        name: The class, as this table calls it.
        api_name: As the provider's lifecycle rules call it.
        usd_per_gb_month: Storing.
        usd_per_1k_writes: Requests that write or list.
        usd_per_1k_reads: Requests that read.
        usd_per_1k_transitions: Objects moved into the class; 0 for the first class.
        usd_per_gb_retrieval: Reading back.
        min_days: An object that leaves earlier is billed up to here.
        min_object_bytes: A smaller object is billed as one of this size.
        overhead_bytes: Billed with every object, whatever its size: the index of an archive.
        reads_at_once: Whether an object can be read without asking for it hours before.
        unverified: Which of its figures have no source, in words; empty where all have one.
        source: Where the figures are from.
        as_of: Of what day.
    """

    provider: str
    region: str
    name: str
    api_name: str
    usd_per_gb_month: float
    usd_per_1k_writes: float
    usd_per_1k_reads: float
    usd_per_1k_transitions: float
    usd_per_gb_retrieval: float
    min_days: int
    min_object_bytes: int
    overhead_bytes: int
    reads_at_once: bool
    unverified: str
    source: str
    as_of: date

    def usd_per_month(self, size_bytes: float) -> float:
        """Return what storing one object of a size costs.

        >>> ia = storage_classes("aws")[1]
        >>> ia.name, round(1e6 * ia.usd_per_month(100_000), 2), round(1e6 * ia.usd_per_month(200_000), 2)
        ('standard_ia', 1.6, 2.5)
        """
        return self.billed_bytes(size_bytes) / GB * self.usd_per_gb_month

    def billed_bytes(self, size_bytes: float) -> float:
        """Return what one object of a size is billed as."""
        return max(size_bytes, self.min_object_bytes) + self.overhead_bytes


def break_even_months(hot: StorageClass, cold: StorageClass, size_bytes: float) -> float | None:
    """Return after how many months moving one object has paid for itself; None where it never does.

    The price of the move over what is saved a month: `transition / (g p_hot - max(g, minimum) p_cold)`.

    >>> hot, cold = storage_classes("aws")[:2]
    >>> [round(break_even_months(hot, cold, size) or -1, 1) for size in (50_000, 100_000, 1_000_000, 10_000_000)]
    [-1, 14.3, 1.0, 0.1]
    """
    saved = hot.usd_per_month(size_bytes) - cold.usd_per_month(size_bytes)
    return cold.usd_per_1k_transitions / 1000 / saved if saved > 0 else None


@functools.cache
def storage_classes(provider: str, *, with_unverified: bool = False) -> tuple[StorageClass, ...]:
    """Return a provider's classes, the hottest first.

    Args:
        provider: ``aws``, ``gcp`` or ``azure``.
        with_unverified: Whether to give those too of which a figure has no source.

    Raises:
        UnknownNameError: If there are no prices for it.
        DeclarationError: If the table breaks a rule that prices keep: a colder class stores for less, moves for
            something, and no price is negative or without a source.
    """
    with _TABLE.open(newline="", encoding="utf-8") as file:
        rows = [_read(row) for row in csv.DictReader(file)]
    found = [row for row in rows if row.provider == provider and (with_unverified or not row.unverified)]
    if not found:
        raise UnknownNameError("provider with prices", provider, sorted({row.provider for row in rows}))
    for hotter, colder in itertools.pairwise(found):
        if colder.usd_per_gb_month >= hotter.usd_per_gb_month or colder.usd_per_1k_transitions <= 0:
            raise DeclarationError(f"The price of {colder.name} does not fit behind that of {hotter.name}.")
    return tuple(found)


def _read(row: dict[str, str]) -> StorageClass:
    prices = [
        float(row[name] or 0)
        for name in (
            "usd_per_gb_month",
            "usd_per_1k_writes",
            "usd_per_1k_reads",
            "usd_per_1k_transitions",
            "usd_per_gb_retrieval",
        )
    ]
    if min(prices) < 0 or prices[0] == 0 or not row["source"]:
        raise DeclarationError(f"The prices of {row['provider']} {row['storage_class']} are not usable: {row}.")
    return StorageClass(
        row["provider"],
        row["region"],
        row["storage_class"],
        row["api_name"],
        prices[0],
        prices[1],
        prices[2],
        prices[3],
        prices[4],
        int(row["min_days"]),
        int(row["min_object_bytes"]),
        int(row["overhead_bytes"]),
        row["reads_at_once"] == "yes",
        row["unverified"],
        row["source"],
        date.fromisoformat(row["as_of"]),
    )
