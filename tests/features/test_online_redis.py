"""The online store on a real Redis server, started here on the loopback address."""

from __future__ import annotations

import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.servers import free_port

from loopwright.core.errors import SettingsError, StoreError, StoreFullError
from loopwright.features.conformance.online_store import OnlineStoreConformance
from loopwright.features.online import OnlineRow, to_micros
from loopwright.features.online_redis import ROWS_PER_CALL, RedisOnlineStore

SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("redis")
    port = free_port()
    command = [SERVER, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            next(line for line in process.stdout if "Ready to accept connections" in line)
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def url(server: str) -> str:
    return f"{server}/0?prefix={uuid.uuid4()}"


class TestRedis(OnlineStoreConformance):
    @pytest.fixture
    def reopen(self, url: str):
        return lambda: RedisOnlineStore(url)


def _rows(count: int, moment: datetime, value: float) -> list[OnlineRow]:
    at = to_micros(moment)
    return [OnlineRow(f'["c{n}"]', at, at, {"pace": value}) for n in range(count)]


def test_many_rows_go_in_one_transaction(url: str) -> None:
    store = RedisOnlineStore(url)
    count = 2 * ROWS_PER_CALL + 17
    assert store.write_many("v@1", _rows(count, NOW, 1.0), mark="one") == count
    assert store.write_many("v@1", _rows(count, NOW - timedelta(hours=1), 2.0)) == 0
    assert store.count("v@1") == count
    assert store.read_many("v@1", ['["c7"]'], now=NOW, ttl=None)[0].values == {"pace": 1.0}
    store.close()


def test_projects_on_one_server_do_not_meet(server: str) -> None:
    one, other = (RedisOnlineStore(f"{server}/0?prefix={uuid.uuid4()}") for _ in range(2))
    one.write_many("v@1", _rows(3, NOW, 1.0))
    assert other.views() == []
    assert other.count("v@1") == 0


def test_moments_before_1970_are_in_order(url: str) -> None:
    store = RedisOnlineStore(url)
    old, older = datetime(1969, 6, 1, tzinfo=UTC), datetime(1950, 6, 1, tzinfo=UTC)
    assert store.write_many("v@1", _rows(1, old, 1.0)) == 1
    assert store.write_many("v@1", _rows(1, older, 2.0)) == 0
    assert store.read_many("v@1", ['["c0"]'], now=NOW, ttl=None)[0].event_time == old


def test_no_server_is_one_message() -> None:
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        RedisOnlineStore(f"redis://127.0.0.1:{free_port()}/0")
    assert "[online] url" in str(caught.value.hint)


def test_a_password_is_never_shown(server: str, url: str) -> None:
    client = RedisOnlineStore(url)._client
    client.config_set("requirepass", "right")
    try:
        with pytest.raises(SettingsError, match="refuses the password") as caught:
            RedisOnlineStore(server.replace("redis://", "redis://:hunter2@"))
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"
        RedisOnlineStore(server.replace("redis://", "redis://:right@")).close()
    finally:
        client.config_set("requirepass", "")


def test_a_full_server_refuses_and_keeps_what_it_has(server: str, url: str) -> None:
    store = RedisOnlineStore(url)
    store.write_many("v@1", _rows(2, NOW, 1.0), mark="one")
    client = store._client
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(StoreFullError, match="no memory left"):
            store.write_many("v@1", _rows(5, NOW, 2.0), mark="two")
        assert store.mark("v@1") == "one"
        assert store.read_many("v@1", ['["c0"]'], now=NOW, ttl=None)[0].values == {"pace": 1.0}
    finally:
        client.config_set("maxmemory", "0")
