"""A stream from declaration to answers: a process of the supervisor, and the verbs that show and replay."""

from __future__ import annotations

import json
import select
import shutil
from pathlib import Path

import pytest
from tests.app.conftest import PROJECT, ask

from loopwright.core.clock import SystemClock
from loopwright.core.settings import Settings
from loopwright.core.storage.events import Event
from loopwright.core.storage.stores import open_stores
from loopwright.loop.daemon import Supervisor


def wait_for(condition) -> None:
    for _ in range(12_000):  # only a hang takes long
        if condition():
            return
        select.select([], [], [], 0.005)
    raise AssertionError("waited in vain")


@pytest.fixture
def project(turned: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(turned, copy)
    (copy / "loop.py").write_text(PROJECT + '\nloop.deploy(price, stream=lw.stream("parcels", key="parcel_id"))\n')
    return copy


def test_a_declared_stream_answers_under_the_supervisor(project: Path) -> None:
    said: list[str] = []
    stores = open_stores(Settings.load(project, environ={}))
    rows = [{"parcel_id": f"p{number}", "weight_kg": number} for number in range(5)]
    values = [*(json.dumps(row).encode() for row in rows), b"no json", b'{"parcel_id": "q"}']
    stores.events.append("parcels", [Event(None, value) for value in values])

    def run(*words: str) -> object:
        told = ask(*words, "--project", str(project), "--json")
        assert told.code == 0, told.error
        return json.loads(told.out)

    assert "7 behind" in ask("stream", "status", "--project", str(project)).out
    supervisor = Supervisor(project, SystemClock(), said.append, roles=("stream:price",))
    supervisor._start("stream:price", failures=0)
    try:
        wait_for(lambda: stores.events.end("parcels.predictions") + stores.events.end("parcels.dead") == 7)
        wait_for(lambda: (run("stream", "status")[0]["state"] or {}).get("answered") == 7)
        assert "2 dead letters" in ask("status", "--project", str(project)).out
    finally:
        supervisor.stop()
    answers = [json.loads(event.value) for event in stores.events.read("parcels.predictions")]
    assert [one["key"] for one in answers] == ["p0", "p1", "p2", "p3", "p4"]
    (standing,) = run("stream", "status")
    assert (standing["lag"], standing["dead_letters"], standing["state"]) == (0, 2, None)
    letters = run("stream", "dead", "price")
    assert [letter["source_offset"] for letter in letters] == [6, 7]
    assert all(letter["reason"] and letter["error"] == "InvalidRequestError" for letter in letters)
    assert "no json" in ask("stream", "dead", "price", "--project", str(project)).out
    assert run("stream", "replay", "price")["replayed"] == 2
    assert run("stream", "replay", "price")["replayed"] == 0
    assert run("stream", "status")[0]["lag"] == 2
    found = ask("why", answers[0]["prediction_id"], "--project", str(project), "--json")
    assert found.code == 0, found.error
    stores.close()


def test_asks_for_a_stream_that_there_is(turned: Path) -> None:
    said = ask("stream", "dead", "price", "--project", str(turned))
    assert said.code == 2
    assert "There is no stream 'price'" in said.error
