"""Nouns that an ingest leaves behind: snapshots, reports, and where a row came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.ref import Ref

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Snapshot:
    """One immutable version of a dataset. ``rows`` are those that reading it gives.

    ``is_collected`` says that a garbage collection took its files: it is on record, and cannot be read.
    """

    dataset: str
    version: int
    rows: int
    schema_digest: str
    created_at: datetime
    ingest_id: str
    latest_by: tuple[str, ...] = ()  # the key, where some key is stored more than once and the newest row counts
    is_collected: bool = False

    @property
    def ref(self) -> Ref:
        """Its name in the lineage, such as ``snapshot:orders@3``."""
        return Ref("snapshot", f"{self.dataset}@{self.version}")


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did. ``rows_read`` = accepted + quarantined + duplicate.

    ``reasons`` counts failed checks (a row may fail several), as ``{"at_most(distance_km)": 3}``; ``warnings`` are
    sentences for people; ``refused`` names the files that could not be read as a whole, with the reason.
    """

    dataset: str
    rows_read: int = 0
    rows_accepted: int = 0
    rows_quarantined: int = 0
    rows_duplicate: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    units: int = 0
    snapshot: Snapshot | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    waiting: int = 0


@dataclass(frozen=True)
class RowOrigin:
    """Where a stored row came from, with the row itself."""

    dataset: str
    source: str
    source_row: int
    arrived_at: datetime
    ingest_id: str
    snapshot: Snapshot
    row: dict[str, object]
