"""Following the registry: new versions are loaded and tested aside, then put in force by replacing one pointer.

Runs on a thread of its own. Requests never wait for it: those that began on the old versions finish on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import LoopwrightError
from loopwright.serving.endpoint import Active
from loopwright.serving.loading import prepare
from loopwright.serving.router import Routing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.core.clock import Clock
    from loopwright.features.online import OnlineStore
    from loopwright.serving.endpoint import Endpoint, Slot
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.model_source import ModelSource, Target

_log = structlog.get_logger(__name__)
KEPT_WARM = 3
"""Versions of a model kept in memory, so that a rollback needs no load."""
RETRY_SECONDS = 10.0


class ModelWatch:
    """Bring the endpoints to what the source says.

    Args:
        source: Says which versions should be in force.
        endpoints: By model.
        online: For features that requests do not carry.
    """

    def __init__(
        self,
        source: ModelSource,
        endpoints: Mapping[str, Endpoint],
        *,
        online: OnlineStore | None,
        metrics: ServingMetrics,
        clock: Clock,
    ) -> None:
        self._source = source
        self._endpoints = endpoints
        self._online = online
        self._metrics = metrics
        self._clock = clock
        self._counter: int | None = None
        self._applied: dict[str, Target] = {}
        self._slots: dict[str, dict[str, Slot]] = {model: {} for model in endpoints}
        self._retry_at: float | None = None
        self.problems: dict[str, str] = {}

    def check(self) -> bool:
        """Look once; return whether something was put in force."""
        counter = self._source.change_counter()
        due = self._retry_at is not None and self._clock.monotonic() >= self._retry_at
        if counter == self._counter and not due:
            return False
        self._retry_at = None
        changed = False
        for model, endpoint in self._endpoints.items():
            changed |= self._bring(model, endpoint)
        self._counter = counter
        return changed

    def _bring(self, model: str, endpoint: Endpoint) -> bool:
        target = self._source.target(model)
        if target is None or target == self._applied.get(model):
            return False
        champion = self._slot(model, target.champion)
        if champion is None:
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
            self._source.refuse(model, target.champion, self.problems[model])
            return False
        challenger = None if target.challenger is None else self._slot(model, target.challenger)
        routing = target.routing
        if target.challenger is not None and challenger is None:
            self._source.refuse(model, target.challenger, self.problems[model])
            routing = Routing(routing.champion)
        endpoint.active = Active(routing, champion, challenger)
        self._applied[model] = target
        _log.info("in force", model=model, champion=target.champion, challenger=target.challenger, stage=routing.stage)
        return True

    def _slot(self, model: str, version_id: str) -> Slot | None:
        """Return a version ready to answer, loading it at need; None when it cannot be brought up."""
        slots = self._slots[model]
        slot = slots.pop(version_id, None)
        if slot is None:
            began = self._clock.monotonic()
            try:
                slot = prepare(self._source.load(version_id), online=self._online, clock=self._clock)
            except Exception as error:  # noqa: BLE001 - a model's code may raise anything
                reason = error.message if isinstance(error, LoopwrightError) else f"{type(error).__name__}: {error}"
                self.problems[model] = f"{version_id} could not be loaded: {reason}"
                self._metrics.load_failed(model)
                _log.error("version refused", model=model, version=version_id, reason=reason)
                return None
            self._metrics.loaded(model, slot.predictor.version, self._clock.monotonic() - began)
        self.problems.pop(model, None)
        slots[version_id] = slot  # the most recently used stands last
        while len(slots) > KEPT_WARM:
            del slots[next(iter(slots))]
        return slot
