"""A room of serving over a small model, in this process."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from loopwright.core.clock import SystemClock
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.features.online import MemoryOnlineStore
from loopwright.serving.in_process.serving import Serving

_spec = importlib.util.spec_from_file_location("couriers", Path(__file__).with_name("couriers.py"))
couriers = importlib.util.module_from_spec(_spec)
sys.modules["couriers"] = couriers
_spec.loader.exec_module(couriers)


@pytest.fixture
def open_serving(tmp_path):
    opened = []

    def make(**options) -> Serving:
        clock = SystemClock()
        stores = open_stores(Settings.load(tmp_path, environ={}), clock=clock)
        online = MemoryOnlineStore()
        now_us = int(clock.now().timestamp() * 1e6)
        online.write_many(
            "courier_pace@1",
            [
                couriers.pace_row("ann", 4.5, now_us - 3_600_000_000),
                couriers.pace_row("old", 9.0, now_us - 30 * couriers.DAY_US),
            ],
        )
        source = options.pop("source", None) or couriers.Source()
        serving = Serving(stores, source=source, online=lambda: online, poll_s=0.01)
        serving.source, serving.stores = source, stores
        opened.append(serving)
        return serving

    yield make
    for serving in opened:
        serving.close()
        serving.stores.close()
