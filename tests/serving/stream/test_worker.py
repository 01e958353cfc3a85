"""The process of a stream: it follows promotions, drains, dies with its parent, says how it does; and replays."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from tests.servers import free_port
from tests.serving.stream.conftest import PLAN, event

from loopwright.core.storage.events import Event
from loopwright.evaluation.outputs import Outputs
from loopwright.serving.stream.declaration import stream
from loopwright.serving.stream.replay import replay
from loopwright.serving.stream.standing import dead_letters, read_state, standing_of

SCRIPT = Path(__file__).with_name("streamed.py")
CONSUMER = PLAN.consumer


def wait_for(condition, process: subprocess.Popen | None = None) -> None:
    """Let other processes work until something is so; only a hang takes long."""
    for _ in range(12_000):
        if condition():
            return
        assert process is None or process.poll() is None, "the stream ended"
        select.select([], [], [], 0.005)
    raise AssertionError("waited in vain")


@pytest.fixture
def start(tmp_path):
    running: list[subprocess.Popen] = []
    root = Path(__file__).parents[3]

    def begin(**options: object) -> subprocess.Popen:
        command = [sys.executable, str(SCRIPT), str(tmp_path), json.dumps(options)]
        environ = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(root)}
        running.append(subprocess.Popen(command, env=environ))
        return running[-1]

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def answered(stores) -> int:
    return stores.events.end(PLAN.target)


def test_follows_a_promotion_says_how_it_does_and_drains(stores, tmp_path, set_target, start, outputs):
    set_target(champion=1)
    port = free_port()
    process = start(max_rows=10, metrics_port=port)
    stores.events.append("in", [*(event(x) for x in range(30)), Event(None, b"bad")])
    wait_for(lambda: answered(stores) == 30, process)
    set_target(champion=2)
    sent = 30

    def has_changed() -> bool:
        nonlocal sent
        stores.events.append("in", [event(sent % 1000)])
        sent += 1
        wait_for(lambda: answered(stores) == sent, process)
        return outputs()[-1]["version"] == 2

    wait_for(has_changed, process)
    found = outputs()
    versions = [one["version"] for one in found]
    assert versions == sorted(versions)
    assert all(one["prediction"] // 1000 == one["version"] for one in found)
    deployed = stream("in")

    def standing():
        return standing_of(stores.events, stores.local, "nonce", deployed, CONSUMER)

    wait_for(lambda: standing().state is not None and standing().state.version == 2, process)
    now = standing()
    assert (now.state.pid, now.state.dead, now.dead_letters, now.lag) == (process.pid, 1, 1, 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        text = page.read().decode()
    assert f'loopwright_stream_events_total{{answer="prediction",model="nonce",topic="in"}} {sent:.1f}' in text
    assert "loopwright_stream_lag{" in text
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert read_state(stores.local, "nonce") is None
    stores.events.append("in", [event(1)])
    assert standing().lag == 1


def test_ends_with_its_parent(stores, tmp_path, set_target):
    set_target(champion=1)
    code = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, *sys.argv[1:]]).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    environ = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", code, str(SCRIPT), str(tmp_path), json.dumps({"with_parent": True})]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        stores.events.append("in", [event(1)])
        wait_for(lambda: answered(stores) == 1)
        parent.kill()
        parent.wait(10)
    wait_for(lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes())


def test_dead_letters_are_listed_and_go_back_once(stores, make_door, outputs):
    deployed = stream("in")
    running = make_door()
    stores.events.append("in", [event(1), event(-1, "k"), Event("j", b"no json", {"trace": "t"}), event(2)])
    while running.door.step(0.05):
        pass
    letters = dead_letters(stores.events, "nonce", deployed, limit=10)
    assert [(one.source_offset, one.attempts, one.is_replayed) for one in letters] == [(2, 1, False), (3, 1, False)]
    running.desk.active.champion.predictor.loaded.predict = _fixed
    assert replay(stores, "nonce", deployed) == 2
    assert replay(stores, "nonce", deployed) == 0
    assert stores.events.read("in")[-1].headers["trace"] == "t"
    while running.door.step(0.05):
        pass
    assert [one["offset"] for one in outputs()] == [1, 4, 5]
    letters = dead_letters(stores.events, "nonce", deployed, limit=10)
    assert [one.is_replayed for one in letters] == [True, True, False]
    assert (letters[-1].value, letters[-1].attempts, letters[-1].source_offset) == (b"no json", 2, 6)
    assert standing_of(stores.events, stores.local, "nonce", deployed, CONSUMER).dead_letters == 1


def _fixed(rows):
    return Outputs("regression", np.asarray(rows["x"], dtype=np.float64))
