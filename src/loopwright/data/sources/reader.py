"""How a source is read: the port that each kind of source has an adapter for.

A reader plans; an ingest judges what the plan names, commits it and puts the plan's records and marks on record in the
transaction that makes the rows visible. So a reader begins each time where the last finished ingest ended, whatever
was killed between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from loopwright.core.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from loopwright.core.clock import Clock
    from loopwright.core.storage.events import EventLog
    from loopwright.data.sources.plan import Known, Plan

SourceT_contra = TypeVar("SourceT_contra", contravariant=True)


@dataclass(frozen=True)
class Reading:
    """What a reader is given.

    Attributes:
        project: The folder where relative paths begin.
        folder: A folder of this ingest, for what has to be fetched; it is emptied when the ingest ends.
        known: The units on record, by name.
        marks: How far each part of the source was read, as the last plan's ``marks`` said.
        has_key: Whether the dataset can tell a stored row from a new one.
        now: The moment of the ingest.
        events: The workspace's event log.
        connections: The connections and secrets of the settings, by name.
        clock: What to wait by.
    """

    project: Path
    folder: Path
    known: Mapping[str, Known]
    marks: Mapping[str, object]
    has_key: bool
    now: datetime
    events: EventLog
    connections: Mapping[str, str] = field(default_factory=dict, repr=False)
    clock: Clock = field(default_factory=SystemClock)


class Reader(Protocol[SourceT_contra]):
    """Reads one kind of source."""

    def plan(self, source: SourceT_contra, reading: Reading) -> Plan:
        """Return what is new.

        Raises:
            SourceError: If the source is missing or cannot be opened.
        """
        ...

    def has_new(self, source: SourceT_contra, reading: Reading) -> bool:
        """Tell, as cheaply as the source allows, whether :meth:`plan` would find something."""
        ...
