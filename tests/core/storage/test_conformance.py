"""The embedded adapters pass the suites that ship with the ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.conformance.blob_store import BlobStoreConformance
from loopwright.core.storage.conformance.event_log import EventLogConformance
from loopwright.core.storage.conformance.table_store import TableStoreConformance
from loopwright.core.storage.events import SqliteEventLog
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class TestSqliteEventLog(EventLogConformance):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], SqliteEventLog]:
        return lambda: SqliteEventLog(f"sqlite:///{tmp_path}/stream.db")


class TestLocalBlobStore(BlobStoreConformance):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], BlobStore]:
        return lambda: BlobStore((tmp_path / "a store").as_uri())


class TestLocalTableStore(TableStoreConformance):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], TableStore]:
        return lambda: TableStore(tmp_path / "a störe with {odd} signs")
