"""What is seen of a running project over a stretch of time: the side that a plan's assumptions are held against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.statistics.histogram import LatencyHistogram

if TYPE_CHECKING:
    from datetime import datetime

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Seen:
    """What monitoring saw between two moments.

    Attributes:
        since: Where the stretch begins: not before the plan was made, nor before anything was seen.
        until: Where it ends.
        hourly: Requests of each whole hour, the first hour first; hours without any count as 0.
        first_hour: Of the day, UTC, 0 to 23, that ``hourly`` begins with.
        busiest_rps: Requests per second in the busiest five minutes.
        busiest_requests: How many requests that is.
        latency: Of the answers, as the server measured it, without the way to the client.
        arrived_bytes: What came from the sources of the datasets; None where no source tells its size.
        trainings: How many finished.
        training_days: Over how many days these were counted.
        usd_per_month: What a bill says; None where nobody told.
    """

    since: datetime
    until: datetime
    hourly: tuple[int, ...] = ()
    first_hour: int = 0
    busiest_rps: float = 0.0
    busiest_requests: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    arrived_bytes: float | None = None
    trainings: int = 0
    training_days: float = 0.0
    usd_per_month: float | None = None

    @property
    def hours(self) -> float:
        """How long the stretch is."""
        return max(0.0, (self.until - self.since).total_seconds() / SECONDS_PER_HOUR)

    @property
    def days(self) -> float:
        """How long the stretch is, in days."""
        return self.hours / 24

    @property
    def requests(self) -> int:
        """All requests of the whole hours."""
        return sum(self.hourly)

    @property
    def hours_of_day(self) -> tuple[float, ...]:
        """The mean requests of each of the 24 hours of the day; empty before one whole day was seen."""
        if len(self.hourly) < 24:
            return ()
        whole = self.hourly[: len(self.hourly) // 24 * 24]
        days = len(whole) // 24
        means = [sum(whole[hour::24]) / days for hour in range(24)]
        turn = -self.first_hour % 24
        return tuple(means[turn:] + means[:turn])
