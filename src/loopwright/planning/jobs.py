"""What is asked beside requests: data that is kept, batches and streams that are scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from loopwright.planning.cadence import Cadence

DataKind = Literal["raw", "processed", "features", "models", "logs"]


@dataclass(frozen=True)
class Data:
    """One kind of data that arrives and is kept.

    Attributes:
        kind: ``raw``, ``processed``, ``features``, ``models`` or ``logs``.
        bytes_per_day: What arrives.
        object_bytes: The size of one object as it is written; None where it is not known.
        retention_days: How long it is kept; None for ever.
        stored_bytes: What is there already.
        reads_per_month: How often all of it is read in a month.
    """

    kind: DataKind
    bytes_per_day: float = 0.0
    object_bytes: float | None = None
    retention_days: float | None = None
    stored_bytes: float = 0.0
    reads_per_month: float = 0.0


@dataclass(frozen=True)
class BatchJob:
    """Scoring many rows at once, again and again.

    Attributes:
        name: Of the job.
        rows: Of one run.
        cadence: How often it runs.
        window_s: Within which it must end.
        seconds_per_row: Of one core; None to take it from the service model.
        service: The service model by name; empty for the first one that fits.
    """

    name: str
    rows: float
    cadence: Cadence = "daily"
    window_s: float = 4 * 3600.0
    seconds_per_row: float | None = None
    service: str = ""


@dataclass(frozen=True)
class StreamJob:
    """Scoring events as they come.

    Attributes:
        name: Of the stream.
        events_per_s: On average.
        peak_per_s: In the busiest stretch; None for the burst factor over the average.
        limit_s: From the event to its score, at the 99th percentile.
        event_bytes: The size of one event.
        retention_s: How long the broker keeps events.
        service: The service model by name; empty for the first one that fits.
    """

    name: str
    events_per_s: float
    peak_per_s: float | None = None
    limit_s: float = 0.05
    event_bytes: float = 1_000.0
    retention_s: float = 3 * 86_400.0
    service: str = ""
