"""The serving process: one event loop that answers, and threads that load, compute, shadow and sync.

Start it with `loopwright.serving.server.running.serve`, or several of them behind one socket with
`loopwright.serving.workers`. It binds at once, is ready when every declared model has a version loaded and tested,
follows aliases and releases while it runs, and on SIGTERM says "not ready", finishes what is in flight, flushes the log
and ends.

Measured with ``bench/serving.py`` on a shared, busy 2-core machine (gradient boosting, 10 features, one row per
request, everything on): of a bare uvicorn handler around the same ONNX graph 1.0 to 1.45 by processor time at 32
connections, where the calls of a turn are computed together, and 0.54 at 1 connection. The prediction log takes 12 to
13 % of the requests per second.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from loopwright.core.access import Access
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.data.lake import Lake
from loopwright.serving.doors.cors_door import CorsDoor
from loopwright.serving.doors.front_door import FrontDoor
from loopwright.serving.doors.ingest_door import IngestDoor
from loopwright.serving.doors.outcomes_door import OutcomesDoor
from loopwright.serving.doors.rest import RestDoor
from loopwright.serving.guard import Guard
from loopwright.serving.http.server import HttpServer
from loopwright.serving.log.log_ring import LogRoom
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.models.first_request import FirstRequests
from loopwright.serving.models.residency import Residency
from loopwright.serving.models.swap import ModelWatch
from loopwright.serving.server.further_door import DoorParts
from loopwright.serving.server.opened_model import open_model
from loopwright.serving.server_plan import ServerPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.features.online import OnlineStore
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.calls.shadow import ShadowRunner
    from loopwright.serving.deploy import OnlineDeployment
    from loopwright.serving.http.connection import Door
    from loopwright.serving.log.prediction_log import PredictionLog
    from loopwright.serving.membership import Membership
    from loopwright.serving.models.model_source import ModelSource
    from loopwright.serving.server.further_door import DoorMaker, FurtherDoor

__all__ = ["Server", "ServerPlan"]

_SYNC_CHECK_S = 0.25


class Server:
    """What one serving process works with: its endpoints, versions, doors, logs and threads.

    Attributes:
        endpoints: The served models by name.
        watch: Follows the source, where this is the only process of its server.
        models: The versions of this process.
        door: The HTTP door.
        http: The listening side of HTTP, from `join` on.
        asked_to_end: Set by a signal.
        draining: Whether the process is about to end.
        problems: Why what is wanted is not in force, by model.
    """

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
        self.source = source
        self.clock = stores.clock
        self.http: HttpServer
        self.asked_to_end = asyncio.Event()
        self.draining = False
        self._settled = False
        self._listening: list[FurtherDoor] = []
        self._stop = threading.Event()
        self._executors: list[ThreadPoolExecutor] = []  # one for each model: a slow one holds up no other
        self._io = ThreadPoolExecutor(1, "loopwright-io")
        self._ingests = ThreadPoolExecutor(2, "loopwright-ingest")  # outcomes do not wait for the commits of datasets
        self._logs: list[PredictionLog] = []
        self._log_room = LogRoom()
        self._shadows: list[ShadowRunner] = []
        self.endpoints = {model: self._endpoint(model, deployment) for model, deployment in plan.models.items()}
        self._required = frozenset(model for model, deployment in plan.models.items() if deployment.required)
        self.watch = ModelWatch(
            source,
            self.endpoints,
            online=online,
            metrics=self.metrics,
            clock=stores.clock,
            residency=Residency(plan.memory_bytes, self._required),
        )
        self.models = self.watch.models
        self.problems = self.watch.problems
        self._sync_thread = threading.Thread(target=self._sync, name="loopwright-sync", daemon=True)
        guard = Guard(plan.tokens, Access(stores.facts, stores.clock, stores.ids), clock=stores.clock)
        version = installed_version("loopwright")
        parts = DoorParts(self.endpoints, self, guard, self.metrics, stores.clock, stores.ids, version, plan)
        self._first = (
            None
            if plan.memory_bytes is None
            else FirstRequests(self.models, self.endpoints, wait_s=plan.lazy_wait_s, guard=guard, clock=stores.clock)
        )
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
            datasets=sorted(dataset.name for dataset in plan.datasets),
            options=plan.http,
        )

    def _endpoint(self, model: str, deployment: OnlineDeployment) -> Endpoint:
        executor = ThreadPoolExecutor(1, f"loopwright-model-{model}")
        opened = open_model(
            model,
            deployment,
            self._stores,
            metrics=self.metrics,
            executor=executor,
            log_room=self._log_room,
            shadow_queue=self.plan.shadow_queue,
            pseudonym=Pseudonyms(self._stores.facts).of if model in self.plan.hashed_keys else None,
        )
        self._executors.append(executor)
        self._logs.append(opened.log)
        self._shadows.append(opened.shadow)
        return opened.endpoint

    def not_ready_because(self) -> str | None:
        """Return why the server is not ready, or None when it is."""
        if self.draining:
            return "The server is draining."
        missing = [model for model in self.endpoints if model in self._required and not self._is_there(model)]
        if not any(self._is_there(model) or self.models.is_unloaded(model) for model in self.endpoints):
            missing = list(self.endpoints)
        if not missing:
            return None
        problems = [self.problems[model] for model in missing if model in self.problems]
        return f"Not loaded yet: {', '.join(missing)}." + (f" {' '.join(problems)}" if problems else "")

    def _is_there(self, model: str) -> bool:
        return self.endpoints[model].active is not None

    def join(self, membership: Membership) -> None:
        """Make the HTTP door, which also answers for the group; called on the event loop."""
        door: Door = FrontDoor(self.door, membership, first=self._first)
        origins = self.plan.http.cors_origins
        tls = None if self.plan.tls is None else self.plan.tls.context(protocols=("http/1.1",))
        self.http = HttpServer(CorsDoor(door, origins) if origins else door, tls=tls)
        self._sync_thread.start()

    async def open_further_doors(self) -> None:
        """Open the doors beside HTTP."""
        for further in self._further:
            await further.listen()
            self._listening.append(further)

    async def close_doors(self, *, timeout_s: float) -> None:
        """Close all doors, letting what has begun be answered for at most ``timeout_s`` seconds."""
        further = (door.close(timeout_s=timeout_s) for door in self._listening)
        await asyncio.gather(self.http.close(timeout_s=timeout_s), *further)

    def read_gauges(self) -> None:
        """Bring up to date what is measured only when somebody looks."""
        self.metrics.ready(is_ready=self.not_ready_because() is None)
        for model, endpoint in self.endpoints.items():
            self.metrics.inflight(model, endpoint.in_flight)

    def settle(self) -> None:
        """Bound the threads of what was loaded; once all is there, never walk it again for garbage."""
        threadpool_limits(limits=1)  # one BLAS thread: processes give the parallelism
        if not self._settled and self.not_ready_because() is None:
            gc.collect()
            gc.freeze()
            self._settled = True

    def close(self) -> None:
        """Finish what waits, flush the logs, and end the threads."""
        self._stop.set()
        if self._sync_thread.is_alive():
            self._sync_thread.join(timeout=10)
        if self._first is not None:
            self._first.close()
        for shadow in self._shadows:
            shadow.close()
        for executor in self._executors:
            executor.shutdown(wait=True, cancel_futures=True)
        self._io.shutdown(wait=True)
        self._ingests.shutdown(wait=True)
        for log in self._logs:
            log.close()

    def _sync(self) -> None:
        while not self._stop.wait(_SYNC_CHECK_S):
            for log in self._logs:
                log.sync_if_due()
