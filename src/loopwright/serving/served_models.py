"""The versions of one process: brought up aside, then put in force by replacing one pointer per model.

The two halves of a promotion on one member. `prepare` loads and tests, on a thread that may wait; requests go on being
answered by what is in force. `commit` replaces the pointer, on the event loop: requests that began on the old versions
finish on them, and those versions stay warm for a rollback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import LoopwrightError
from loopwright.serving.endpoint import Active
from loopwright.serving.loading import prepare

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


class VersionRefusedError(LoopwrightError):
    """A version cannot be brought into service."""

    def __init__(self, version_id: str, reason: str) -> None:
        super().__init__(reason)
        self.version_id = version_id


@dataclass(frozen=True)
class _Staged:
    model: str
    target: Target
    active: Active


class ServedModels:
    """The versions of one process.

    Args:
        source: Loads versions.
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
        self._slots: dict[str, dict[str, Slot]] = {model: {} for model in endpoints}
        self._staged: dict[int, _Staged] = {}

    def prepare(self, turn: int, model: str, target: Target) -> None:
        """Load and test what a target needs; changes nothing that answers.

        Raises:
            VersionRefusedError: When a version cannot be brought up; says which.
        """
        champion = self._slot(model, target.champion)
        challenger = None if target.challenger is None else self._slot(model, target.challenger)
        self._staged[turn] = _Staged(model, target, Active(target.routing, champion, challenger))

    def commit(self, turn: int) -> float:
        """Put in force what was prepared; return the moment on the monotonic clock."""
        staged = self._staged.pop(turn)
        self._endpoints[staged.model].active = staged.active
        at = self._clock.monotonic()
        target = staged.target
        _log.info(
            "in force",
            model=staged.model,
            champion=target.champion,
            challenger=target.challenger,
            stage=target.routing.stage,
        )
        return at

    def abort(self, turn: int) -> None:
        """Forget what was prepared; its versions stay warm."""
        self._staged.pop(turn, None)

    def _slot(self, model: str, version_id: str) -> Slot:
        """Return a version ready to answer, loading it at need."""
        slots = self._slots[model]
        slot = slots.pop(version_id, None)
        if slot is None:
            began = self._clock.monotonic()
            try:
                slot = prepare(self._source.load(version_id), online=self._online, clock=self._clock)
            except Exception as error:
                reason = error.message if isinstance(error, LoopwrightError) else f"{type(error).__name__}: {error}"
                self._metrics.load_failed(model)
                _log.error("version refused", model=model, version=version_id, reason=reason)
                raise VersionRefusedError(version_id, reason) from error
            self._metrics.loaded(model, slot.predictor.version, self._clock.monotonic() - began)
        slots[version_id] = slot  # the most recently used stands last
        while len(slots) > KEPT_WARM:
            del slots[next(iter(slots))]
        return slot
