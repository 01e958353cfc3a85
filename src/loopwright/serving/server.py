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
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

import structlog
import uvloop
from threadpoolctl import threadpool_limits

from loopwright.core.access import Access
from loopwright.core.errors import LoopwrightError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.data.lake import Lake
from loopwright.features.online_stores import open_online_store
from loopwright.serving.endpoint import Endpoint
from loopwright.serving.further_door import DoorParts
from loopwright.serving.guard import Guard
from loopwright.serving.http_server import HttpServer
from loopwright.serving.ingest_door import IngestDoor
from loopwright.serving.listening import open_listening
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.outcomes_door import OutcomesDoor
from loopwright.serving.prediction_log import PredictionLog
from loopwright.serving.rest import RestDoor
from loopwright.serving.server_plan import ServerPlan
from loopwright.serving.shadow import ShadowRunner
from loopwright.serving.swap import ModelWatch

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.features.online import OnlineStore
    from loopwright.serving.deploy import OnlineDeployment
    from loopwright.serving.further_door import DoorMaker, FurtherDoor
    from loopwright.serving.model_source import ModelSource

__all__ = ["Server", "ServerPlan", "serve"]

_log = structlog.get_logger(__name__)
_SYNC_CHECK_S = 0.25
_DRAIN_CHECK_S = 0.02


class Server:
    """One serving process; `run` returns when it has drained."""

    def __init__(
        self,
        stores: Stores,
        source: ModelSource,
        plan: ServerPlan,
        *,
        online: OnlineStore | None = None,
        doors: Sequence[DoorMaker] = (),
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
        guard = Guard(plan.tokens, Access(stores.facts, stores.clock, stores.ids), clock=stores.clock)
        version = installed_version("loopwright")
        parts = DoorParts(self.endpoints, self, guard, self.metrics, stores.clock, stores.ids, version, plan)
        self._further: list[FurtherDoor] = [make(parts) for make in doors]
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
            version=version,
            guard=guard,
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

    def run(self, sock: socket.socket) -> None:
        """Serve what arrives at a bound socket, until SIGTERM or SIGINT."""
        threads = [
            threading.Thread(target=self._follow, name="loopwright-watch", daemon=True),
            threading.Thread(target=self._sync, name="loopwright-sync", daemon=True),
        ]
        try:
            for thread in threads:
                thread.start()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(sock))
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

    async def _serve(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        http = HttpServer(self.door)
        await http.listen(sock)
        for further in self._further:
            await further.listen()
        self._write_state()
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
        left = max(0.0, ends - self._stores.clock.monotonic())
        await asyncio.gather(http.close(timeout_s=left), *(further.close(timeout_s=left) for further in self._further))

    def _write_state(self) -> None:
        if self.plan.state_file is None:
            return
        document: dict[str, object] = {
            "pid": os.getpid(),
            "host": self.plan.host,
            "port": self.plan.port,
            "models": sorted(self.endpoints),
        }
        if self.plan.grpc_port is not None:
            document["grpc_port"] = self.plan.grpc_port
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


def serve(
    stores: Stores,
    source: ModelSource,
    plan: ServerPlan,
    *,
    online: OnlineStore | None = None,
    doors: Sequence[DoorMaker] = (),
) -> None:
    """Serve the plan's models in this process until SIGTERM or SIGINT; return when all is answered and logged.

    Args:
        stores: The stores of the workspace.
        source: Says which versions to serve; `RegistrySource` for those of the registry.
        plan: What to serve, where and how; its ``workers`` are not looked at.
        online: Where features that requests do not carry are looked up; the settings' own by default.
        doors: What makes the doors beside HTTP.

    Raises:
        SettingsError: When an address cannot be bound.
    """
    listening, bound = open_listening(plan, stores.clock)
    try:
        used = online or open_online_store(stores.settings.online_url)
        Server(stores, source, bound, online=used, doors=doors).run(listening.http)
    finally:
        listening.close()
