"""A stream on the embedded log with the nonce model, in this process."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from loopwright.core.clock import SystemClock
from loopwright.core.storage.events import Event
from loopwright.core.storage.exchange import ExchangePlan
from loopwright.core.storage.exchanges import open_exchange
from loopwright.serving.calls.endpoint import Active
from loopwright.serving.log.stream_records import records_topic
from loopwright.serving.models.loading import prepare
from loopwright.serving.releases.router import Routing
from loopwright.serving.stream.answering import EventAnswers
from loopwright.serving.stream.door import Desk, StreamDoor
from loopwright.serving.stream.rows import JsonRows
from loopwright.serving.stream.tally import StreamTally

PLAN = ExchangePlan("loopwright-stream.nonce", "in", "in.predictions", "in.dead", records_topic("nonce"))


def event(x: object, key: str | None = None) -> Event:
    return Event(key, json.dumps({"x": x}).encode())


@pytest.fixture
def slots(nonce):
    clock = SystemClock()
    return lambda number: prepare(nonce.NonceModel(number), online=None, clock=clock)


@pytest.fixture
def make_door(stores, slots):
    """A door on the stores' event log; ``pauses`` holds how long it would have waited."""
    opened = []

    def make(*, rows=None, exchange=None, **options):
        clock = SystemClock()
        pauses: list[float] = []

        def pause(seconds: float) -> bool:
            pauses.append(seconds)
            if "on_pause" in options:
                options["on_pause"](len(pauses))
            return len(pauses) >= options.get("most_pauses", 50)

        exchange = exchange or open_exchange(stores.settings.stream_url, PLAN, clock=clock)
        desk = Desk(Active(Routing(1), slots(1)))
        tally = StreamTally("nonce", "in", clock=clock)
        answers = EventAnswers("nonce", "in", rows or JsonRows(), clock=clock, key=options.get("key"))
        door = StreamDoor(
            exchange,
            answers,
            desk,
            tally=tally,
            pause=pause,
            shadow=options.get("shadow"),
            log=options.get("log"),
            max_rows=options.get("max_rows", 1000),
            failures_in_a_row=options.get("failures_in_a_row"),
        )
        opened.append(exchange)
        return SimpleNamespace(door=door, desk=desk, tally=tally, exchange=exchange, pauses=pauses, answers=answers)

    yield make
    for exchange in opened:
        exchange.close()


@pytest.fixture
def outputs(stores):
    def read(topic: str = PLAN.target) -> list[dict]:
        return [json.loads(one.value) for one in stores.events.read(topic, limit=1_000_000)]

    return read
