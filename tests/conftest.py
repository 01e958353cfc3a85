"""Fixtures shared by all tests: a manual clock, seeded ids, and the stores of a throw-away project."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from loopwright.core.clock import ManualClock
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import Stores, open_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine is no failure; in CI the same examples each time, so that a change is judged by itself.
hypothesis.settings.register_profile("loopwright", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("loopwright")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0] if isinstance(address, tuple) else address
            if host not in {"127.0.0.1", "::1", "localhost"}:
                pytest.fail(f"a test connects to {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def ids(clock: ManualClock) -> Ids:
    return Ids(clock, seeded_entropy(0))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(tmp_path, environ={})


@pytest.fixture
def stores(settings: Settings, clock: ManualClock, ids: Ids) -> Iterator[Stores]:
    opened = open_stores(settings, clock=clock, ids=ids)
    yield opened
    opened.close()


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data sets beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data is absent")
    return SHARED_DATA
