"""What answers for one model in one process: its endpoint, its prediction log and its shadow, opened together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from loopwright.serving.calls.admission import QueueLimits
from loopwright.serving.calls.endpoint import Endpoint
from loopwright.serving.calls.shadow import ShadowRunner
from loopwright.serving.log.prediction_log import PredictionLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from loopwright.core.storage.stores import Stores
    from loopwright.serving.deploy import OnlineDeployment
    from loopwright.serving.log.log_ring import LogRoom
    from loopwright.serving.metrics import ServingMetrics


@dataclass(frozen=True)
class OpenedModel:
    """The parts of one model; the shadow is closed before the executor, and the log last."""

    endpoint: Endpoint
    log: PredictionLog
    shadow: ShadowRunner


def open_model(
    model: str,
    deployment: OnlineDeployment,
    stores: Stores,
    *,
    metrics: ServingMetrics,
    executor: Executor,
    log_room: LogRoom,
    shadow_queue: int = 256,
    pseudonym: Callable[[str], str] | None = None,
) -> OpenedModel:
    """Open what answers for a model; it has no version yet.

    Args:
        model: Its name.
        deployment: How it is put online.
        stores: The stores of the workspace.
        metrics: Counts its calls, and shows its log.
        executor: Where batches are computed that would hold up the event loop.
        log_room: How much may wait for a slow disk, over all models of the process.
        shadow_queue: Copies that may wait for the shadow.
        pseudonym: What becomes of the keys of rows, where their dataset has hashed them.
    """
    log = PredictionLog(
        stores.local,
        model,
        clock=stores.clock,
        ids=stores.ids,
        fsync=deployment.log_fsync,
        log_full=deployment.log_full,
        room=log_room,
    )
    metrics.watch_log(log)
    shadow = ShadowRunner(capacity=shadow_queue, on_drop=partial(metrics.shadow_dropped, model))
    endpoint = Endpoint(
        model,
        log=log,
        metrics=metrics,
        executor=executor,
        shadow=shadow,
        clock=stores.clock,
        ids=stores.ids,
        limits=QueueLimits.of(deployment),
        max_delay_s=deployment.max_delay.total_seconds(),
        max_batch_rows=deployment.max_batch_rows,
        log_payloads=deployment.log_payloads,
        pseudonym=pseudonym,
    )
    return OpenedModel(endpoint, log, shadow)
