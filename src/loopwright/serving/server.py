"""The serving process: one event loop that answers, and threads that load, compute, shadow and sync.

Start it with `serve`. It binds at once, is ready when every declared model has a version loaded and tested, follows
aliases and releases while it runs, and on SIGTERM says "not ready", finishes what is in flight, flushes the log and
ends.

Measured with ``bench/serving.py`` on a shared 2-core machine (gradient boosting, 10 features, one row per request, the
client on the same machine, three runs): 5,000 to 13,500 requests/s with everything on; of a bare uvicorn handler around
the same ONNX graph 0.63 to 0.66 at 1 connection and 0.49 to 0.60 at 32; of FastAPI with scikit-learn 9.6 to 27 times at
1 connection and 21 to 37 times at 32. At 32 connections a request costs 64 to 93 µs of processor time, about 16 of them
for the prediction log; behind uvicorn it costs 92 to 126 µs.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

import structlog
import uvloop
from threadpoolctl import threadpool_limits

from loopwright.core.access import Access
from loopwright.core.errors import LoopwrightError, SettingsError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.data.lake import Lake
from loopwright.features.online_stores import open_online_store
from loopwright.serving.endpoint import Endpoint
from loopwright.serving.guard import Guard
from loopwright.serving.http_server import HttpServer
from loopwright.serving.ingest_door import IngestDoor
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.outcomes_door import OutcomesDoor
from loopwright.serving.prediction_log import PredictionLog
from loopwright.serving.rest import RestDoor
from loopwright.serving.shadow import ShadowRunner
from loopwright.serving.swap import ModelWatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.data.dataset import Dataset
    from loopwright.features.online import OnlineStore
    from loopwright.serving.deploy import OnlineDeployment
    from loopwright.serving.model_source import ModelSource

_log = structlog.get_logger(__name__)
_SYNC_CHECK_S = 0.25
_DRAIN_CHECK_S = 0.02


@dataclass(frozen=True)
class ServerPlan:
    """How a server runs.

    Attributes:
        models: The models that must be loaded for the server to be ready, with their deployments.
        datasets: The datasets that take rows over HTTP.
        host: Address to bind; another than loopback needs tokens.
        port: Port to bind; 0 takes a free one, written to ``state_file``.
        tokens: Bearer tokens of which callers must present one.
        hashed_keys: The models whose rows are named by a key that their dataset has hashed.
        has_access_control: Whether the workspace has tokens on record, which then are asked for.
        state_file: Gets ``{"pid", "host", "port", "models"}`` once the server listens, and goes when it ends.
        poll_s: Seconds between two looks at the change counter.
        drain_delay_s: Seconds after SIGTERM for which requests are still accepted, so that load balancers notice.
        drain_timeout_s: Seconds that requests in flight get to finish.
        parent_pid: Process with whose end the server drains too, or None.
        shadow_queue: Copies that may wait for the shadow, per model.
    """

    models: Mapping[str, OnlineDeployment]
    datasets: tuple[Dataset, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    tokens: tuple[str, ...] = ()
    has_access_control: bool = False
    hashed_keys: frozenset[str] = frozenset()
    state_file: Path | None = None
    poll_s: float = 0.3
    drain_delay_s: float = 0.5
    drain_timeout_s: float = 30.0
    parent_pid: int | None = None
    shadow_queue: int = 256

    def __post_init__(self) -> None:
        if not self.models and not self.datasets:
            raise SettingsError(
                "A server needs a model to serve, or a dataset to push to.",
                hint="Declare one with loop.deploy(…) or source=lw.push().",
            )
        if not is_loopback(self.host) and not (self.tokens or self.has_access_control):
            raise SettingsError(
                f"Binding to {self.host} opens the server to other machines, and no token is set.",
                hint="Make one with `loopwright access create`, set LOOPWRIGHT_SERVING_TOKEN, or bind to 127.0.0.1.",
            )


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server:
    """One serving process; `run` returns when it has drained."""

    def __init__(
        self, stores: Stores, source: ModelSource, plan: ServerPlan, *, online: OnlineStore | None = None
    ) -> None:
        self.plan = plan
        self.metrics = ServingMetrics()
        self._stores = stores
        self._draining = False
        self._stop = threading.Event()
        self._executor = ThreadPoolExecutor(1, "loopwright-model")
        self._io = ThreadPoolExecutor(1, "loopwright-io")
        self._ingests = ThreadPoolExecutor(2, "loopwright-ingest")  # outcomes do not wait for the commits of datasets
        self._logs: list[PredictionLog] = []
        self._shadows: list[ShadowRunner] = []
        self.endpoints = {model: self._endpoint(model, deployment) for model, deployment in plan.models.items()}
        self.watch = ModelWatch(source, self.endpoints, online=online, metrics=self.metrics, clock=stores.clock)
        self.door = RestDoor(
            self.endpoints,
            state=self,
            outcomes=OutcomesDoor(stores.events, models=self.endpoints, executor=self._io, metrics=self.metrics),
            ingest=IngestDoor(
                Lake(stores), datasets={dataset.name: dataset for dataset in plan.datasets}, executor=self._ingests
            ),
            metrics=self.metrics,
            clock=stores.clock,
            ids=stores.ids,
            version=installed_version("loopwright"),
            guard=Guard(plan.tokens, Access(stores.facts, stores.clock, stores.ids), clock=stores.clock),
        )

    def _endpoint(self, model: str, deployment: OnlineDeployment) -> Endpoint:
        log = PredictionLog(self._stores.local, model, clock=self._stores.clock, ids=self._stores.ids)
        shadow = ShadowRunner(capacity=self.plan.shadow_queue, on_drop=lambda: self.metrics.shadow_dropped(model))
        self.metrics.watch_log(log)
        self._logs.append(log)
        self._shadows.append(shadow)
        return Endpoint(
            model,
            log=log,
            metrics=self.metrics,
            executor=self._executor,
            shadow=shadow,
            clock=self._stores.clock,
            ids=self._stores.ids,
            max_in_flight=deployment.max_in_flight,
            log_payloads=deployment.log_payloads,
            pseudonym=Pseudonyms(self._stores.facts).of if model in self.plan.hashed_keys else None,
        )

    @property
    def draining(self) -> bool:
        """Return whether the server is about to end."""
        return self._draining

    def not_ready_because(self) -> str | None:
        """Return why the server is not ready, or None when it is."""
        if self._draining:
            return "The server is draining."
        missing = [model for model, endpoint in self.endpoints.items() if endpoint.active is None]
        if not missing:
            return None
        problems = [self.watch.problems[model] for model in missing if model in self.watch.problems]
        return f"Not loaded yet: {', '.join(missing)}." + (f" {' '.join(problems)}" if problems else "")

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            SettingsError: When the address cannot be bound.
        """
        sock = _bind(self.plan.host, self.plan.port)
        port = int(sock.getsockname()[1])
        threads = [
            threading.Thread(target=self._follow, name="loopwright-watch", daemon=True),
            threading.Thread(target=self._sync, name="loopwright-sync", daemon=True),
        ]
        try:
            for thread in threads:
                thread.start()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(sock, port))
        finally:
            gc.unfreeze()
            self._stop.set()
            for thread in threads:
                thread.join(timeout=10)
            for shadow in self._shadows:
                shadow.close()
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._io.shutdown(wait=True)
            self._ingests.shutdown(wait=True)
            for log in self._logs:
                log.close()
            if self.plan.state_file is not None:
                self.plan.state_file.unlink(missing_ok=True)

    async def _serve(self, sock: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        http = HttpServer(self.door)
        await http.listen(sock)
        self._write_state(port)
        while not asked.is_set() and (self.plan.parent_pid is None or os.getppid() == self.plan.parent_pid):
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), 1.0)
        await self._drain(http)

    async def _drain(self, http: HttpServer) -> None:
        """Refuse readiness, let the work finish, and close."""
        self._draining = http.closing = True
        await asyncio.sleep(self.plan.drain_delay_s)
        ends = self._stores.clock.monotonic() + self.plan.drain_timeout_s
        while any(endpoint.in_flight for endpoint in self.endpoints.values()):
            if self._stores.clock.monotonic() > ends:
                break
            await asyncio.sleep(_DRAIN_CHECK_S)
        await http.close(timeout_s=max(0.0, ends - self._stores.clock.monotonic()))

    def _write_state(self, port: int) -> None:
        if self.plan.state_file is None:
            return
        document = {"pid": os.getpid(), "host": self.plan.host, "port": port, "models": sorted(self.endpoints)}
        written = self.plan.state_file.with_suffix(f".{os.getpid()}.tmp")
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(json.dumps(document))
        written.replace(self.plan.state_file)

    def _follow(self) -> None:
        frozen = False
        while not self._stop.is_set():
            try:
                if self.watch.check():
                    threadpool_limits(limits=1)  # one BLAS thread: processes give the parallelism
                    if not frozen and self.not_ready_because() is None:
                        gc.collect()
                        gc.freeze()  # what is loaded now stays: never walk it again
                        frozen = True
            except LoopwrightError as error:
                _log.warning("the facts could not be read; serving goes on", reason=error.message)
            self._stop.wait(self.plan.poll_s)

    def _sync(self) -> None:
        while not self._stop.wait(_SYNC_CHECK_S):
            for log in self._logs:
                log.sync_if_due()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        hint = "Is this project up already? If not, set another [serving] port in loopwright.toml."
        raise SettingsError(f"Cannot listen on {host}:{port} ({error.strerror}).", hint=hint) from error
    return sock


def serve(stores: Stores, source: ModelSource, plan: ServerPlan, *, online: OnlineStore | None = None) -> None:
    """Serve the plan's models until SIGTERM or SIGINT; return when all that was in flight is answered and logged.

    Args:
        stores: The stores of the workspace.
        source: Says which versions to serve; `RegistrySource` for those of the registry.
        plan: What to serve, where and how.
        online: Where features that requests do not carry are looked up; the settings' own by default.
    """
    Server(stores, source, plan, online=online or open_online_store(stores.settings.online_url)).run()
