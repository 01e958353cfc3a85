"""Small models, an endpoint in this process, and real server processes."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import httpx
import pytest

from loopwright.serving.calls.endpoint import Endpoint
from loopwright.serving.calls.shadow import ShadowRunner
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.models.loading import prepare

SCRIPT = Path(__file__).with_name("nonce_server.py")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nonce_server", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["nonce_server"] = module
    spec.loader.exec_module(module)
    return module


nonce_server = _load()


@pytest.fixture
def nonce() -> ModuleType:
    return nonce_server


@pytest.fixture
def make_slot(clock):
    def make(number: int):
        return prepare(nonce_server.NonceModel(number), online=None, clock=clock)

    return make


@pytest.fixture
def make_endpoint(tmp_path, clock, ids):
    opened = []

    def make(**options):
        metrics = ServingMetrics()
        log = PredictionLog(tmp_path, "nonce", clock=clock, ids=ids)
        metrics.watch_log(log)
        executor = ThreadPoolExecutor(1)
        shadow = ShadowRunner(
            capacity=options.pop("shadow_capacity", 16), on_drop=lambda: metrics.shadow_dropped("nonce")
        )
        endpoint = Endpoint(
            "nonce", log=log, metrics=metrics, executor=executor, shadow=shadow, clock=clock, ids=ids, **options
        )
        parts = SimpleNamespace(endpoint=endpoint, log=log, metrics=metrics, shadow=shadow, executor=executor)
        opened.append(parts)
        return parts

    yield make
    for parts in opened:
        parts.shadow.close()
        parts.executor.shutdown()
        parts.log.close()


class RunningServer:
    """A server process and a client for it."""

    def __init__(self, folder: Path, options: dict) -> None:
        self.folder = folder
        self.stderr = folder / "stderr.txt"
        with self.stderr.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(folder), json.dumps(options)],
                stdout=errors,
                stderr=errors,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )
        state = folder / "serving.json"
        self.wait_for(state.exists)
        self.port = json.loads(state.read_text())["port"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=120, trust_env=False)

    def wait_for(self, condition, seconds: float = 120.0) -> None:  # only a server that hangs takes so long
        ends = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.stderr.read_text()}")
            if time.monotonic() > ends:
                raise AssertionError(f"waited {seconds} s in vain: {self.stderr.read_text()}")
            select_pause()

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def ready(self) -> RunningServer:
        self.wait_for(self.is_ready)
        return self

    def predict(self, x: float, **headers: str) -> httpx.Response:
        return self.client.post("/predict/nonce", json={"rows": [{"x": x}]}, headers=headers)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def select_pause() -> None:
    """Let the other process have the processor; waits are for conditions, never for times."""
    select.select([], [], [], 0.005)


@pytest.fixture
def set_target(tmp_path):
    def write(**target: object) -> None:
        unborn = tmp_path / "target.new"
        unborn.write_text(json.dumps(target))
        unborn.replace(tmp_path / "target.json")

    return write


@pytest.fixture
def start_server(tmp_path, set_target):
    running: list[RunningServer] = []
    if not (tmp_path / "target.json").exists():
        set_target(champion=1)

    def start(*, ready: bool = True, **options: object) -> RunningServer:
        server = RunningServer(tmp_path, options)
        running.append(server)
        return server.ready() if ready else server

    yield start
    for server in running:
        server.client.close()
        if server.process.poll() is None:
            server.kill()
