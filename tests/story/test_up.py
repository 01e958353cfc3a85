"""``loopwright up``: every process may be killed; what was answered is kept, and the loop goes on."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from loopwright.loop.daemon import server_state
from loopwright.loop.loading import load_loop
from loopwright.loop.turn import run_turn
from loopwright.serving.log.compactor import PredictionTable
from loopwright.workspace import Workspace

spec = importlib.util.spec_from_file_location("small_projects", Path(__file__).parent / "conftest.py")
story = importlib.util.module_from_spec(spec)
sys.modules["small_projects"] = story
spec.loader.exec_module(story)

LOOPWRIGHT = Path(sys.executable).parent / "loopwright"
MOST_LOOKS = 2000


class Up:
    """A running ``loopwright up``."""

    def __init__(self, project: Path) -> None:
        self.home = project / ".loopwright"
        self.output = project / "up.txt"
        with self.output.open("ab") as file:
            self.process = subprocess.Popen(
                [LOOPWRIGHT, "up", "--project", project, "--tick", "0.2"],
                stdout=file,
                stderr=file,
                env={**os.environ, "LOOPWRIGHT_SERVING_PORT": "0"},
            )

    def until(self, true: Callable[[], object], what: str) -> None:
        """Look until a condition holds, giving way to the other processes between two looks."""
        for _ in range(MOST_LOOKS):
            if true():
                return
            select.select([], [], [], 0.02)
        pytest.fail(f"in vain: {what}\n{self.output.read_text()}")

    def child(self, role: str) -> int | None:
        """The process id of a living child."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    if f"loopwright.loop.{role}_process" in process.cmdline():
                        return process.pid
        return None

    def url(self) -> str | None:
        """Where the server answers, once it is ready."""
        state = server_state(self.home)
        if state is None:
            return None
        door = http.client.HTTPConnection("127.0.0.1", int(str(state["port"])), timeout=120)
        try:
            door.request("GET", "/readyz")
            return f"http://127.0.0.1:{state['port']}" if door.getresponse().status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            door.close()

    def ready(self) -> str:
        """Wait until the server answers, and say where."""
        self.until(lambda: self.url() is not None, "the server answers")
        return self.url() or pytest.fail("the server was ready and is gone")

    def kill(self, role: str) -> int:
        """SIGKILL a child and wait until another one is there in its place; returns the new one's id."""
        self.until(lambda: self.child(role) is not None, f"a {role} runs")
        killed = self.child(role)
        os.kill(killed, signal.SIGKILL)
        self.until(lambda: self.child(role) not in (killed, None), f"the {role} comes back")
        return self.child(role)


class Traffic:
    """Asks without pause, and keeps what was acknowledged."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.is_set():
            url = self.up.url()
            if url is None:
                select.select([], [], [], 0.01)
                continue
            with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
                try:
                    while not self._stop.is_set():
                        answer = client.post("/predict/price", json={"rows": [{"weight_kg": 3}, {"weight_kg": 7}]})
                        if answer.status_code != 200:
                            self.refused.append(answer.text)
                            break
                        self.acknowledged += answer.json()["prediction_ids"]
                except httpx.TransportError:
                    continue  # it was killed

    def more(self) -> None:
        """Wait until further predictions have been acknowledged."""
        wanted = len(self.acknowledged) + 100
        self.up.until(lambda: len(self.acknowledged) >= wanted, "further predictions")

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def rows_of(project: Path) -> int:
    with Workspace.open(project) as workspace:
        return workspace.data.snapshot("parcels").rows


def test_up(small_project: Path) -> None:
    project = small_project
    with Workspace.open(project) as workspace:
        assert run_turn(load_loop(project), workspace).models["price"]["promoted"]
    up = Up(project)
    processes = [up]
    traffic = Traffic(up)
    try:
        up.ready()
        traffic.more()

        up.kill("server")
        up.ready()
        traffic.more()

        up.kill("controller")
        story.write_parcels(project / "data", "b", rows=50)
        up.until(lambda: rows_of(project) == 250, "the new controller ingests")
        traffic.more()

        children = [up.child("server"), up.child("controller")]
        assert None not in children
        up.process.send_signal(signal.SIGKILL)
        up.process.wait()
        up.until(lambda: all(is_gone(pid) for pid in children), "the children end by themselves")

        up = traffic.up = Up(project)
        processes.append(up)
        up.ready()
        traffic.more()
        assert traffic.refused == []
        traffic.end()

        children = [up.child("server"), up.child("controller")]
        body = json.dumps({"rows": [{"weight_kg": 5}]}).encode()
        head = (
            f"POST /predict/price HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nContent-Type: application/json"
        )
        port = int(str(server_state(up.home)["port"]))
        with socket.create_connection(("127.0.0.1", port), timeout=30) as in_flight:
            in_flight.sendall(f"{head}\r\n\r\n".encode() + body[:5])
            up.until(lambda: up.url() is not None, "it answers still")  # so it has read what came before
            up.process.send_signal(signal.SIGTERM)
            up.until(lambda: up.url() is None, "it is draining")
            in_flight.sendall(body[5:])
            answer = in_flight.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        traffic.acknowledged += json.loads(answer.partition(b"\r\n\r\n")[2])["prediction_ids"]
        assert up.process.wait(60) == 0
        assert all(is_gone(pid) for pid in children)
    finally:
        traffic.end()
        for each in processes:
            if each.process.poll() is None:
                each.process.terminate()
                each.process.wait(60)

    said = up.output.read_text()
    assert "Traceback" not in said
    assert said.count("starting it again") == 2
    assert "Stopped. Nothing is lost" in said
    with Workspace.open(project) as workspace:
        logged = PredictionTable(workspace.stores, "price").read()["prediction_id"].to_pylist()
    assert len(logged) == len(set(logged))
    assert set(traffic.acknowledged) <= set(logged)
    assert server_state(project / ".loopwright") is None
