"""Following the source in a server of one process: the two phases of a promotion, with one member.

Runs on a thread of its own. Requests never wait for it: those that began on the old versions finish on them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from loopwright.serving.models.messages import Abort, Commit, Prepare
from loopwright.serving.models.promotion import Promotion
from loopwright.serving.models.served_models import ServedModels, VersionRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loopwright.core.clock import Clock
    from loopwright.features.online import OnlineStore
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.models.model_source import ModelSource, Target
    from loopwright.serving.models.promotion import Sent
    from loopwright.serving.models.residency import Residency

_ONLY = 1


class ModelWatch:
    """Bring the endpoints to what the source says.

    Args:
        source: Says which versions should be in force.
        endpoints: By model.
        online: For features that requests do not carry.
        residency: What may stay in memory.
    """

    def __init__(
        self,
        source: ModelSource,
        endpoints: Mapping[str, Endpoint],
        *,
        online: OnlineStore | None,
        metrics: ServingMetrics,
        clock: Clock,
        residency: Residency | None = None,
    ) -> None:
        self.models = ServedModels(source, endpoints, online=online, metrics=metrics, clock=clock, residency=residency)
        self._source = source
        self._names = tuple(endpoints)
        self._clock = clock
        self._counter: int | None = None
        self._promotion = Promotion()
        self._promotion.joined(_ONLY, clock.monotonic())

    @property
    def problems(self) -> Mapping[str, str]:
        """Why what is wanted is not in force, by model."""
        return self._promotion.problems

    def check(self) -> bool:
        """Look once; return whether something was put in force."""
        counter = self._source.change_counter()
        now = self._clock.monotonic()
        if counter == self._counter:
            return self._carry_out(self._promotion.step(now))
        changed = self._carry_out(self._promotion.want(wanted_of(self._source, self._names), now))
        self._counter = counter
        return changed

    def _carry_out(self, orders: Iterable[Sent]) -> bool:
        waiting = deque(orders)
        changed = False
        while waiting:
            order = waiting.popleft().message
            if isinstance(order, Prepare):
                refused, reason = prepare_turn(self.models, order)
                now = self._clock.monotonic()
                waiting += self._promotion.prepared(_ONLY, order.turn, refused, reason, now)
            elif isinstance(order, Commit):
                at = self.models.commit(order.turn)
                waiting += self._promotion.committed_by(_ONLY, order.turn, at, self._clock.monotonic())
                changed = True
            elif isinstance(order, Abort):
                self.models.abort(order.turn)
            else:
                self._source.refuse(order.model, order.version, order.reason)
        return changed


def wanted_of(source: ModelSource, models: Iterable[str]) -> dict[str, Target]:
    """Return what should be in force, for the models that have a champion."""
    targets = {model: source.target(model) for model in models}
    return {model: target for model, target in targets.items() if target is not None}


def prepare_turn(models: ServedModels, order: Prepare) -> tuple[str | None, str]:
    """Carry out phase one; return the version at fault and why, or None and nothing."""
    try:
        models.prepare(order.turn, order.model, order.target)
    except VersionRefusedError as error:
        return error.version_id, error.message
    return None, ""
