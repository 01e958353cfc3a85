"""The room of answering models in this process: what ``workspace.serving`` is."""

from __future__ import annotations

import atexit
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import LoopwrightError, NotReadyError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.features.online_stores import open_online_store
from loopwright.serving.deploy import OnlineDeployment
from loopwright.serving.in_process.call_loop import CallLoop
from loopwright.serving.in_process.in_process_predictor import InProcessPredictor
from loopwright.serving.log.log_ring import LogRoom
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.models.swap import ModelWatch
from loopwright.serving.server.opened_model import OpenedModel, open_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from loopwright.core.storage.stores import Stores
    from loopwright.features.online import OnlineStore
    from loopwright.registry.package import LoadedModel
    from loopwright.serving.models.model_source import ModelSource

_log = structlog.get_logger(__name__)
POLL_S = 0.3
_DRAIN_S = 30.0


class _Standing:
    """One model that is answered here: its parts, its versions, and the predictor that was handed out."""

    def __init__(self, opened: OpenedModel, executor: ThreadPoolExecutor, watch: ModelWatch) -> None:
        self.opened = opened
        self.executor = executor
        self.watch = watch
        self.predictor: InProcessPredictor
        self.is_key_hashed: bool | None = None

    def close(self) -> None:
        self.opened.shadow.close()
        self.executor.shutdown(wait=True, cancel_futures=True)
        self.opened.log.close()


class Serving:
    """Answer models inside this process, with the prediction log, the metrics and the releases of a server.

    Made by the workspace. In an application with several processes each opens a workspace of its own, after the fork.

    Args:
        stores: The stores of the workspace.
        source: Says which versions are in force; the registry and its releases by default.
        online: Opens the store of online features; the one of the settings by default.
        poll_s: Seconds between two looks at whether another version is in force.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        source: ModelSource | None = None,
        online: Callable[[], OnlineStore] | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._stores = stores
        self._source = source or RegistrySource(stores)
        self._open_online = online or (lambda: open_online_store(stores.settings.online_url))
        self._online: OnlineStore | None = None
        self._poll_s = poll_s
        self._metrics = ServingMetrics()
        self._log_room = LogRoom()
        self._standing: dict[str, _Standing] = {}
        self._calls: CallLoop | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def predictor(self, model: str, *, deployment: OnlineDeployment | None = None) -> InProcessPredictor:
        """Load a model's champion and return what answers with it, following promotions and releases from then on.

        The same predictor is returned for the same model, until it is closed.

        Args:
            model: Its name.
            deployment: How it is put online, ``lw.online(…)``, for its bounds and its log; the defaults where it is not
                given.

        Raises:
            NotReadyError: When the model has no champion, or its champion cannot be brought up.
        """
        with self._lock:
            standing = self._standing.get(model)
            if standing is None:
                standing = self._open(model, deployment or OnlineDeployment())
            return standing.predictor

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics of this process, for an application that has a metrics page of its own."""
        return self._metrics.registry

    def exposition(self) -> bytes:
        """Return the metrics of this process in Prometheus' text format."""
        for model, standing in list(self._standing.items()):
            self._metrics.inflight(model, standing.opened.endpoint.in_flight)
        return self._metrics.exposition()

    def close(self) -> None:
        """Finish what has begun, flush the logs and end the threads."""
        self._stop.set()
        with self._lock:
            if self._thread is not None:
                self._thread.join(timeout=10)
            for model in list(self._standing):
                self._let_go(self._standing.pop(model))
            if self._calls is not None:
                self._calls.close()
        atexit.unregister(self.close)

    def _open(self, model: str, deployment: OnlineDeployment) -> _Standing:
        if self._stop.is_set():
            raise NotReadyError("The workspace is closed.", hint="Open it again.")
        if self._online is None:
            self._online = self._open_online()
        executor = ThreadPoolExecutor(1, f"loopwright-model-{model}")
        opened = open_model(
            model, deployment, self._stores, metrics=self._metrics, executor=executor, log_room=self._log_room
        )
        watch = ModelWatch(
            self._source,
            {model: opened.endpoint},
            online=self._online,
            metrics=self._metrics,
            clock=self._stores.clock,
        )
        standing = _Standing(opened, executor, watch)
        watch.check()
        if opened.endpoint.active is None:
            standing.close()
            raise NotReadyError(
                watch.problems.get(model) or f"The model '{model}' has no champion.",
                hint="`loopwright models` shows what there is; `loopwright run` trains and promotes.",
            )
        if self._calls is None:
            self._calls = CallLoop()
            atexit.register(self.close)
            self._thread = threading.Thread(target=self._follow, name="loopwright-watch", daemon=True)
            self._thread.start()
        standing.predictor = InProcessPredictor(
            opened.endpoint,
            self._calls,
            clock=self._stores.clock,
            pseudonym=lambda: self._pseudonym(standing),
            close=lambda: self._close_one(model),
        )
        self._standing[model] = standing
        return standing

    def _close_one(self, model: str) -> None:
        with self._lock:
            standing = self._standing.pop(model, None)
            if standing is not None:
                self._let_go(standing)

    def _let_go(self, standing: _Standing) -> None:
        if self._calls is not None:
            self._calls.drain(standing.opened.endpoint, timeout_s=_DRAIN_S)
        standing.close()

    def _pseudonym(self, standing: _Standing) -> Callable[[str], str] | None:
        """Return what the dataset of the model's label does to its key; asked of the champion once."""
        if standing.is_key_hashed is None:
            active = standing.opened.endpoint.active
            standing.is_key_hashed = active is not None and _is_key_hashed(active.champion.predictor.loaded)
        return Pseudonyms(self._stores.facts).of if standing.is_key_hashed else None

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_s):
            for standing in list(self._standing.values()):
                standing.opened.log.sync_if_due()
                try:
                    standing.watch.check()
                except LoopwrightError as error:
                    _log.warning("the facts could not be read; predicting goes on", reason=error.message)


def _is_key_hashed(loaded: LoadedModel | object) -> bool:
    """Return whether the dataset that a version's label is of holds pseudonyms in place of its key."""
    define = getattr(loaded, "definition", None)
    spec = None if define is None else define()
    if spec is None:
        return False
    dataset = spec.label.dataset
    columns = [dataset.contract.column(name) for name in dataset.key]
    return any(column is not None and column.sensitive == "hash" for column in columns)
