"""The process of one stream: it follows the registry as the server does, answers, and says how it does.

It ends on SIGTERM behind the batch it is at, and with its parent. Killed at any moment, the next one goes on at the
first event without an answer. A second one on the same machine waits for the first to end.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import structlog
from prometheus_client import start_http_server
from threadpoolctl import threadpool_limits

from loopwright.core.errors import LoopwrightError, SettingsError
from loopwright.core.pseudonyms import Pseudonyms
from loopwright.core.storage.exchange import ExchangePlan
from loopwright.core.storage.exchanges import open_exchange
from loopwright.core.storage.file_lock import FileLock
from loopwright.serving.calls.shadow import ShadowRunner
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.stream_records import records_topic
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.models.swap import ModelWatch
from loopwright.serving.stream.answering import EventAnswers
from loopwright.serving.stream.door import Desk, StreamDoor
from loopwright.serving.stream.rows import reader_of
from loopwright.serving.stream.standing import StreamState, forget_state, stream_folder, write_state
from loopwright.serving.stream.tally import StreamTally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.core.storage.exchange import Exchange
    from loopwright.core.storage.stores import Stores
    from loopwright.features.online import OnlineStore
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.deploy import PayloadPolicy
    from loopwright.serving.models.model_source import ModelSource
    from loopwright.serving.stream.declaration import StreamDeployment

_log = structlog.get_logger(__name__)
_SAY_EVERY_S = 1.0
_SHADOW_QUEUE = 16  # batches


@dataclass(frozen=True)
class StreamPlan:
    """How one stream is answered.

    Attributes:
        model: Name of the model.
        deployment: Its topics and bounds.
        log_payloads: Whether the features as served are kept with the predictions.
        is_key_hashed: Whether rows are named by a key that their dataset has hashed.
        parent_pid: Process with whose end the stream ends too, or None.
        poll_s: Seconds between two looks at the registry's change counter.
    """

    model: str
    deployment: StreamDeployment
    log_payloads: PayloadPolicy = "full"
    is_key_hashed: bool = False
    parent_pid: int | None = None
    poll_s: float = 0.3


def consumer_of(model: str) -> str:
    """Return the name under which a model's place in its topic is kept.

    >>> consumer_of("eta")
    'loopwright-stream.eta'
    """
    return f"loopwright-stream.{model}"


def exchange_plan(plan: StreamPlan) -> ExchangePlan:
    """Return the topics of a stream as the exchange has them."""
    deployed = plan.deployment
    return ExchangePlan(
        consumer_of(plan.model),
        deployed.topic,
        deployed.to,
        deployed.dead_letter,
        records_topic(plan.model),
        deployed.start,
    )


class StreamWorker:
    """Answer one stream until told to stop.

    Args:
        stores: The stores of the workspace.
        source: Says which versions to serve.
        plan: What to answer.
        online: Where features that events do not carry are looked up.
    """

    def __init__(
        self, stores: Stores, source: ModelSource, plan: StreamPlan, *, online: OnlineStore | None = None
    ) -> None:
        deployed = plan.deployment
        self._stores = stores
        self._plan = plan
        self._stop = threading.Event()
        self._lag_due = 0.0
        self._desk = Desk()
        self._tally = StreamTally(plan.model, deployed.topic, clock=stores.clock)
        self._log = PredictionLog(stores.local, plan.model, clock=stores.clock, ids=stores.ids)
        self._shadow = ShadowRunner(capacity=_SHADOW_QUEUE, on_drop=lambda: None)
        held = cast("Mapping[str, Endpoint]", {plan.model: self._desk})  # of an endpoint only ``active`` is replaced
        self._watch = ModelWatch(source, held, online=online, metrics=ServingMetrics(), clock=stores.clock)
        self._answers = EventAnswers(
            plan.model,
            deployed.topic,
            reader_of(deployed.record, stores.settings.project),
            clock=stores.clock,
            key=deployed.key,
            keeps_features=plan.log_payloads == "full",
            pseudonym=Pseudonyms(stores.facts).of if plan.is_key_hashed else None,
        )

    def run(self) -> None:
        """Answer until SIGTERM or SIGINT, or the end of the parent.

        Raises:
            SettingsError: When the metrics' port is taken.
            ExchangeTakenError: When a process on another machine answers this stream.
        """
        lock = FileLock(stream_folder(self._stores.local) / f"{self._plan.model}.lock")
        with lock.hold():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stop.set())
            self._serve_metrics()
            exchange = open_exchange(
                self._stores.settings.stream_url, exchange_plan(self._plan), clock=self._stores.clock
            )
            threads = [
                threading.Thread(target=self._follow, name="loopwright-watch", daemon=True),
                threading.Thread(target=self._say, name="loopwright-standing", daemon=True),
            ]
            try:
                for thread in threads:
                    thread.start()
                self._door(exchange).run(lambda: self._goes_on(exchange))
            finally:
                gc.unfreeze()
                self._stop.set()
                for thread in threads:
                    thread.join(timeout=10)
                self._shadow.close()
                self._log.close()
                exchange.close()
                forget_state(self._stores.local, self._plan.model)

    def _door(self, exchange: Exchange) -> StreamDoor:
        return StreamDoor(
            exchange,
            self._answers,
            self._desk,
            tally=self._tally,
            pause=self._paused,
            shadow=self._shadow,
            log=self._log,
            max_rows=self._plan.deployment.max_rows,
            max_bytes=self._plan.deployment.max_bytes,
            failures_in_a_row=self._plan.deployment.failures_in_a_row,
        )

    def _goes_on(self, exchange: Exchange) -> bool:
        now = self._stores.clock.monotonic()
        if now >= self._lag_due:
            self._lag_due = now + _SAY_EVERY_S
            self._tally.lags(exchange.lag())
        return not self._is_over()

    def _is_over(self) -> bool:
        parent = self._plan.parent_pid
        return self._stop.is_set() or (parent is not None and os.getppid() != parent)

    def _paused(self, seconds: float) -> bool:
        self._stop.wait(seconds)
        return self._is_over()

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                if self._watch.check():
                    threadpool_limits(limits=1)  # one BLAS thread: processes give the parallelism
                    gc.collect()
                    gc.freeze()  # what is loaded now stays: never walk it again
            except LoopwrightError as error:
                _log.warning("the facts could not be read; the stream goes on", reason=error.message)
            self._stop.wait(self._plan.poll_s)

    def _say(self) -> None:
        """Write down once a second how the stream does."""
        said: StreamState | None = None
        while True:
            stopping = self._stop.wait(_SAY_EVERY_S if said is not None else 0.0)
            tally = self._tally
            waiting = tally.waiting_for or self._watch.problems.get(self._plan.model)
            state = StreamState(
                pid=os.getpid(),
                version=tally.version,
                answered=tally.answered,
                dead=tally.dead,
                retries=tally.retries,
                per_second=round(tally.per_second(), 1),
                lag=tally.lag,
                delay_ms=None if tally.delay_ms is None else round(tally.delay_ms, 1),
                waiting_for=waiting,
            )
            if stopping:
                return
            if state != said:
                write_state(self._stores.local, self._plan.model, state)
                said = state

    def _serve_metrics(self) -> None:
        port = self._plan.deployment.metrics_port
        if port is None:
            return
        try:
            start_http_server(port, addr="127.0.0.1", registry=self._tally.registry)
        except OSError as error:
            raise SettingsError(
                f"The stream of '{self._plan.model}' cannot show its metrics at port {port} ({error.strerror}).",
                hint="Give it another metrics_port=.",
            ) from error
