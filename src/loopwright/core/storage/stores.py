"""All stores of a workspace, opened from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.clock import SystemClock
from loopwright.core.ids import Ids
from loopwright.core.lineage import Lineage
from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.events import SqliteEventLog
from loopwright.core.storage.events_kafka import KafkaEventLog
from loopwright.core.storage.facts import Facts
from loopwright.core.storage.kafka_url import SCHEME
from loopwright.core.storage.location import made_folder
from loopwright.core.storage.payloads import PayloadStore
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.clock import Clock
    from loopwright.core.settings import Settings
    from loopwright.core.storage.events import EventLog


@dataclass(frozen=True)
class Stores:
    """What every room is given: the four waists, time, identity and the settings."""

    blobs: BlobStore
    tables: TableStore
    payloads: PayloadStore
    events: EventLog
    facts: Facts
    lineage: Lineage
    clock: Clock
    ids: Ids
    settings: Settings

    @property
    def local(self) -> Path:
        """The folder for what stays on this machine: locks, log segments, run folders."""
        return self.settings.home

    def close(self) -> None:
        """Give back connections."""
        self.events.close()
        self.facts.close()


def open_stores(settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None) -> Stores:
    """Open the stores that the settings name, creating the embedded ones that are not there yet.

    Raises:
        StoreTooNewError: If a newer version of Loopwright wrote the metadata store.
        SettingsError: If a URL names a backend that is not known.
    """
    used_clock = clock or SystemClock()
    made_folder(settings.home, "the project's folder")
    facts = Facts(settings.metadata_url)
    blobs = BlobStore(settings.store_url)
    url = settings.stream_url
    tables = TableStore(settings.store_url, clock=used_clock, cache=settings.home / "cache")
    return Stores(
        blobs=blobs,
        tables=tables,
        payloads=PayloadStore(blobs, tables),
        events=KafkaEventLog(url) if url.startswith(SCHEME) else SqliteEventLog(url, clock=used_clock),
        facts=facts,
        lineage=Lineage(facts, used_clock),
        clock=used_clock,
        ids=ids or Ids(used_clock),
        settings=settings,
    )
