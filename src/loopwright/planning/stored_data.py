"""What is stored of one kind: how many objects come in a day, how large, how long they stay and are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from loopwright.core.errors import DeclarationError

Kind = Literal["raw", "lake", "features", "models", "logs"]

FOR_EVER_DAYS = 3 * 365.0
"""What is kept for ever never stops growing; its month is priced as after three years."""


@dataclass(frozen=True)
class StoredData:
    """One kind of objects, in steady state: as many leave as come.

    Attributes:
        kind: What they are.
        objects_per_day: How many come.
        object_bytes: The size of one.
        kept_days: How long each stays; infinite for ever, priced as after three years.
        hot_days: How long each is read often, so that it stays in the first class.
        hot_reads: How often each is read in that time.
        cold_read_share: The share of the older ones that is read in a month.
        needed_days: After which nothing reads them any more; None where that is not known.
        reencoded_share: The size after a denser encoding, as a share; None where there is none.
        may_be_packed: Whether several may be put into one object.
        must_read_at_once: Whether older ones must be readable without waiting for hours.
        count_driver: The input that the number of objects is proportional to.
        size_driver: The input that their size is proportional to.
        is_packed: Whether these are objects of one size into which smaller ones were put, so that larger ones make more
            of them, not larger ones.
    """

    kind: Kind
    objects_per_day: float
    object_bytes: float
    kept_days: float
    hot_days: float = 30.0
    hot_reads: float = 0.0
    cold_read_share: float = 0.0
    needed_days: float | None = None
    reencoded_share: float | None = None
    may_be_packed: bool = True
    must_read_at_once: bool = True
    count_driver: str = "volume"
    size_driver: str = "object_bytes"
    is_packed: bool = False

    def __post_init__(self) -> None:
        for name, value in (
            ("objects_per_day", self.objects_per_day),
            ("object_bytes", self.object_bytes),
            ("hot_days", self.hot_days),
            ("hot_reads", self.hot_reads),
        ):
            if not 0 <= value < math.inf:
                raise DeclarationError(f"{name} of {self.kind} must be 0 or more, and finite; got {value}.")
        if not self.kept_days > 0:
            raise DeclarationError(f"{self.kind} is kept for more than 0 days; got {self.kept_days}.")
        if not 0 <= self.cold_read_share <= 1:
            raise DeclarationError(f"cold_read_share of {self.kind} lies in 0 to 1; got {self.cold_read_share}.")
        if self.reencoded_share is not None and not 0 < self.reencoded_share <= 1:
            raise DeclarationError(f"reencoded_share of {self.kind} lies in 0 to 1; got {self.reencoded_share}.")

    @classmethod
    def of_stock(cls, kind: Kind, stored_bytes: float, object_bytes: float, *, kept_days: float = 365.0) -> StoredData:
        """Return data that amount to so many bytes at any moment, each object staying so long."""
        count = stored_bytes / object_bytes / kept_days if object_bytes > 0 else 0.0
        return cls(kind, count, object_bytes, kept_days)

    @property
    def count_drivers(self) -> tuple[tuple[str, float], ...]:
        """What the number of objects follows."""
        own = ((self.count_driver, 1.0),)
        return (*own, (self.size_driver, 1.0)) if self.is_packed else own

    @property
    def byte_drivers(self) -> tuple[tuple[str, float], ...]:
        """What their bytes follow."""
        return ((self.count_driver, 1.0), (self.size_driver, 1.0))

    @property
    def priced_days(self) -> float:
        """How long each stays, for ever taken as three years."""
        return min(self.kept_days, FOR_EVER_DAYS)

    @property
    def stored_bytes(self) -> float:
        """What is there at any moment."""
        return self.objects_per_day * self.object_bytes * self.priced_days
