"""The door of events: each answered once, in order; poison set aside, what is down waited for."""

from __future__ import annotations

import json
import uuid

import pytest
from tests.serving.stream.conftest import PLAN, event

from loopwright.core.errors import ModelFailedError, StoreBusyError, StoreError
from loopwright.core.storage.events import Event
from loopwright.serving.calls.endpoint import Active
from loopwright.serving.calls.shadow import ShadowRunner
from loopwright.serving.log.compactor import PredictionTable
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.releases.router import Routing
from loopwright.serving.stream.answering import is_passing
from loopwright.serving.stream.dead_letter import read_letter


def drain(running, wait_s: float = 0.05) -> int:
    total = 0
    while count := running.door.step(wait_s):
        total += count
    return total


def test_answers_in_order_with_the_version_that_computed_it(stores, make_door, outputs):
    running = make_door()
    stores.events.append("in", [event(x, f"k{x % 3}") for x in range(10)])
    assert drain(running) == 10
    found = outputs()
    assert [one["prediction"] for one in found] == [1000.0 + x for x in range(10)]
    assert [one["offset"] for one in found] == list(range(1, 11))
    assert {(one["model"], one["version"], one["route"]) for one in found} == {("nonce", 1, "champion")}
    assert [stored.key for stored in stores.events.read(PLAN.target)] == [f"k{x % 3}" for x in range(10)]
    assert (running.tally.answered, running.tally.dead) == (10, 0)


def test_records_reach_the_lake_once_with_the_ids_of_the_answers(stores, make_door, outputs):
    running = make_door(max_rows=4)
    stores.events.append("in", [event(x, f"k{x}") for x in range(10)])
    drain(running)
    table = PredictionTable(stores, "nonce")
    assert table.compact().rows == 10
    stores.events.append("in", [event(77, "late")])
    drain(running)
    rows = table.read().to_pylist()
    assert table.compact().rows == 0
    assert sorted(row["prediction_id"] for row in rows) == sorted(one["prediction_id"] for one in outputs())
    by_id = {row["prediction_id"]: row for row in rows}
    for one in outputs():
        row = by_id[one["prediction_id"]]
        assert (row["output_number"], row["key"], row["version"]) == (one["prediction"], one["key"], 1)
        assert row["request_id"] == f"in/0/{one['offset']}"
        assert json.loads(row["features"]) == {"x": one["prediction"] - 1000}


def test_ids_are_made_of_the_place_of_the_event(stores, make_door, outputs):
    running = make_door()
    stores.events.append("in", [event(1), event(1)])
    taken = running.exchange.take(limit=2, max_bytes=1000, wait_s=5)
    active = running.desk.active
    once, again = (running.answers.answer(active, taken) for _ in range(2))
    ids = [json.loads(made.event.value)["prediction_id"] for made in once.made]
    assert ids == [json.loads(made.event.value)["prediction_id"] for made in again.made]
    assert len(set(ids)) == 2
    assert all(uuid.UUID(one).version == 8 for one in ids)
    assert all(uuid.UUID(one).variant == uuid.RFC_4122 for one in ids)


def test_poison_fails_alone_and_says_why(stores, make_door, outputs):
    running = make_door()
    values = [
        event(1, "a"),
        Event("b", b"no json"),
        Event("c", b"[1, 2]", {"trace": "t1"}),
        event("text", "d"),
        event(-1, "e"),  # the model raises
        Event(None, b'{"x": '),
        Event("deep", b"[" * 100_000),
        event(2, "a"),
    ]
    stores.events.append("in", values)
    assert drain(running) == 8
    assert [one["prediction"] for one in outputs()] == [1001.0, 1002.0]
    letters = [read_letter(stored) for stored in stores.events.read(PLAN.dead)]
    assert [letter.source_offset for letter in letters] == [2, 3, 4, 5, 6, 7]
    assert [letter.value for letter in letters] == [one.value for one in values[1:7]]
    assert [letter.key for letter in letters] == ["b", "c", "d", "e", None, "deep"]
    assert [letter.error for letter in letters[:4]] == ["InvalidRequestError"] * 3 + ["ModelFailedError"]
    assert "ZeroDivisionError" in letters[3].reason
    assert all(letter.reason and letter.topic == "in" and letter.attempts == 1 for letter in letters)
    assert letters[3].version == 1
    assert letters[0].version is None
    assert stores.events.read(PLAN.dead)[1].headers["trace"] == "t1"
    rows = PredictionTable(stores, "nonce").read().to_pylist()
    assert sorted(row["status"] for row in rows) == [200, 200, 400, 500]
    assert running.tally.dead == 6


def test_what_is_down_is_waited_for_and_nothing_overtakes(stores, make_door, outputs, monkeypatch):
    running = make_door(max_rows=2)
    stores.events.append("in", [event(x) for x in range(4)])
    predictor = running.desk.active.champion.predictor
    real, calls = type(predictor).predict_many, []

    def down_at_first(self, rows, **options):
        calls.append(len(rows))
        if len(calls) <= 3:
            raise ModelFailedError("The features of nonce/1 failed: locked.") from StoreBusyError("locked")
        return real(self, rows, **options)

    monkeypatch.setattr(type(predictor), "predict_many", down_at_first)
    assert drain(running) == 4
    assert calls == [2, 2, 2, 2, 2]
    assert running.pauses == [0.05, 0.1, 0.2]
    assert [one["prediction"] for one in outputs()] == [1000.0, 1001.0, 1002.0, 1003.0]
    assert stores.events.end(PLAN.dead) == 0
    assert (running.tally.retries, running.tally.waiting_for) == (3, None)


@pytest.mark.parametrize(
    ("cause", "passes"), [(StoreError("x"), True), (ConnectionResetError(), True), (ValueError("x"), False)]
)
def test_tells_what_is_down_from_what_is_wrong(cause, passes):
    error = ModelFailedError("failed")
    error.__cause__ = cause
    assert is_passing(error) is passes


def test_a_blocked_sink_stops_the_reading(stores, make_door, outputs):
    """While answers cannot be written nothing more is read, and what was computed is not computed again."""
    running = make_door(max_rows=3)
    exchange = running.exchange
    taken, blocked = [], [True]
    take, put = exchange.take, exchange.put

    def counted(**bounds):
        taken.append(take(**bounds))
        return taken[-1]

    def stuck(events, made):
        if blocked[0] and len(running.pauses) < 20:
            raise StoreBusyError("The event log stayed locked.")
        put(events, made)

    exchange.take, exchange.put = counted, stuck
    stores.events.append("in", [event(x) for x in range(9)])
    assert running.door.step(5) == 3
    assert (len(taken), len(running.pauses)) == (1, 20)
    assert running.pauses[-1] == 10.0
    blocked[0] = False
    drain(running)
    assert [one["prediction"] for one in outputs()] == [1000.0 + x for x in range(9)]


def test_ends_while_it_waits_and_loses_nothing(stores, make_door, outputs):
    running = make_door(most_pauses=3)
    put = running.exchange.put
    running.exchange.put = lambda *_: (_ for _ in ()).throw(StoreBusyError("locked"))
    stores.events.append("in", [event(1)])
    assert running.door.step(5) == 0
    running.exchange.put = put
    assert running.door.step(5) == 1
    assert len(outputs()) == 1


def test_waits_for_the_first_version(stores, make_door, outputs):
    running = make_door()
    active, running.desk.active = running.desk.active, None
    stores.events.append("in", [event(1)])
    assert running.door.step(5) == 0
    assert running.tally.waiting_for == "a version to be loaded"
    running.desk.active = active
    assert drain(running) == 1


def test_a_promotion_between_two_batches(stores, make_door, outputs, slots):
    running = make_door(max_rows=5)
    stores.events.append("in", [event(x) for x in range(20)])
    running.door.step(5)
    running.desk.active = Active(Routing(2), slots(2))
    drain(running)
    assert [one["version"] for one in outputs()] == [1] * 5 + [2] * 15
    assert all(one["prediction"] // 1000 == one["version"] for one in outputs())


def test_a_canary_gets_its_units_and_keeps_them(stores, make_door, outputs, slots):
    running = make_door(key="who")
    routing = Routing(1, 2, "canary", 0.3, "salt", "r1/canary-0")
    running.desk.active = Active(routing, slots(1), slots(2))
    rows = [{"x": x, "who": x % 50} for x in range(400)]
    stores.events.append("in", [Event(None, json.dumps(row).encode()) for row in rows])
    drain(running)
    found = outputs()
    assert [one["offset"] for one in found] == list(range(1, 401))
    by_unit: dict[str, set[int]] = {}
    for one in found:
        by_unit.setdefault(one["key"], set()).add(one["version"])
        assert one["prediction"] // 1000 == one["version"]
        assert one["route"] == ("canary" if one["version"] == 2 else "champion")
    assert all(len(versions) == 1 for versions in by_unit.values())
    assert 5 <= sum(versions == {2} for versions in by_unit.values()) <= 25
    records = PredictionTable(stores, "nonce").read().to_pylist()
    assert {record["experiment"] for record in records} == {"r1/canary-0"}
    assert {round(record["propensity"], 2) for record in records} == {0.3, 0.7}


def test_a_shadow_sees_copies_and_answers_nobody(stores, make_door, outputs, slots):
    log = PredictionLog(stores.local, "nonce", clock=stores.clock, ids=stores.ids)
    shadow = ShadowRunner(capacity=8, on_drop=lambda: None)
    running = make_door(shadow=shadow, log=log)
    running.desk.active = Active(Routing(1, 2, "shadow", salt="s", experiment="r1/shadow-0"), slots(1), slots(2))
    stores.events.append("in", [event(x) for x in range(6)])
    drain(running)
    shadow.close()
    log.close()
    assert {one["version"] for one in outputs()} == {1}
    records = PredictionTable(stores, "nonce").read().to_pylist()
    by_route = {route: [r for r in records if r["route"] == route] for route in ("champion", "shadow")}
    assert [len(by_route["champion"]), len(by_route["shadow"])] == [6, 6]
    assert {r["prediction_id"] for r in by_route["champion"]} == {r["prediction_id"] for r in by_route["shadow"]}
    assert {r["version"] for r in by_route["shadow"]} == {2}
