"""Doors with the nonce model behind them; a real clock, because callers' deadlines are real."""

from __future__ import annotations

import threading

import pytest
from tests.serving.grpc.doors import RunningDoor

from loopwright.core.clock import SystemClock
from loopwright.serving.calls.endpoint import Active
from loopwright.serving.models.loading import prepare
from loopwright.serving.releases.router import Routing


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
def start_door(make_endpoint, make_slot, stores):
    doors: list[RunningDoor] = []

    def start(*, active=None, tokens=(), limits=None, **options) -> RunningDoor:
        parts = make_endpoint(**({} if limits is None else {"limits": limits}))
        parts.endpoint.active = active or Active(Routing(1), make_slot(1))
        door = RunningDoor(parts, stores=stores, tokens=tokens, **options)
        doors.append(door)
        return door

    yield start
    for door in doors:
        door.close()


@pytest.fixture
def door(start_door) -> RunningDoor:
    return start_door()


@pytest.fixture
def gated(nonce, clock):
    """The nonce model on the executor, held until the gate is opened; ``began`` says that it computes."""

    class Gated(nonce.NonceModel):
        gate = threading.Event()
        began = threading.Event()

        def predict(self, rows):
            self.began.set()
            self.gate.wait(60)
            return super().predict(rows)

    model = Gated(1)
    model.gate.set()
    slot = prepare(model, online=None, clock=clock)
    slot.inline_rows = 0
    model.gate.clear()
    model.began.clear()
    model.active = Active(Routing(1), slot)
    yield model
    model.gate.set()
