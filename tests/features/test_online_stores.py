from __future__ import annotations

import pytest

from loopwright.core.errors import SettingsError, StoreCorruptError
from loopwright.features.conformance.online_store import OnlineStoreConformance
from loopwright.features.online import MemoryOnlineStore
from loopwright.features.online_sqlite import SqliteOnlineStore
from loopwright.features.online_stores import open_online_store


class TestMemory(OnlineStoreConformance):
    @pytest.fixture
    def reopen(self):
        store = MemoryOnlineStore()
        return lambda: store


class TestSqlite(OnlineStoreConformance):
    @pytest.fixture
    def reopen(self, tmp_path):
        return lambda: SqliteOnlineStore(tmp_path / "deep" / "online.db")

    def test_survives_closing(self, reopen):
        first = reopen()
        first.write_many("v@1", [], mark="one")
        first.close()
        second = reopen()
        assert second.mark("v@1") == "one"
        second.close()


def test_urls(tmp_path):
    assert isinstance(open_online_store("memory://"), MemoryOnlineStore)
    opened = open_online_store(f"sqlite:///{tmp_path}/online.db")
    assert opened.views() == []
    opened.close()
    with pytest.raises(SettingsError, match="is not known"):
        open_online_store("mysql://localhost")


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "online.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreCorruptError, match="materialise again"):
        SqliteOnlineStore(tmp_path / "online.db")
