"""The versions of one process: brought up aside, then put in force by replacing one pointer per model.

The two halves of a promotion on one member. `prepare` loads and tests, on a thread that may wait; requests go on being
answered by what is in force. `commit` replaces the pointer, on the event loop: requests that began on the old versions
finish on them, and those versions stay warm for a rollback.

With a memory budget not everything is loaded. A model that is not required and finds no room at the start has its
target in force without its versions; `load` brings them up when it is first asked, and others give way. A later
promotion of it is loaded and tested like any other.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from loopwright.core.errors import LoopwrightError
from loopwright.serving.calls.endpoint import Active
from loopwright.serving.models.loading import prepare
from loopwright.serving.models.residency import HEADROOM, Residency, available_memory, check_memory, resident_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loopwright.core.clock import Clock
    from loopwright.features.online import OnlineStore
    from loopwright.serving.calls.endpoint import Endpoint, Slot
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.models.model_source import ModelSource, Target

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
    active: Active | None  # None where its versions are left for its first request


class ServedModels:
    """The versions of one process.

    Args:
        source: Loads versions.
        endpoints: By model.
        online: For features that requests do not carry.
        residency: What may stay in memory.
        memory: Returns the bytes of this process that are in memory.
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
        memory: Callable[[], int] = resident_memory,
    ) -> None:
        self._source = source
        self._endpoints = endpoints
        self._online = online
        self._metrics = metrics
        self._clock = clock
        self._slots: dict[str, dict[str, Slot]] = {model: {} for model in endpoints}
        self._staged: dict[int, _Staged] = {}
        self._targets: dict[str, Target] = {}
        self._needed: frozenset[str] = frozenset()  # the versions being brought up
        self._has_loaded = False
        self._memory = memory
        self._lock = threading.RLock()  # one load at a time; two threads may ask for one
        self.residency = residency or Residency()

    def prepare(self, turn: int, model: str, target: Target) -> None:
        """Load and test what a target needs; changes nothing that answers.

        Raises:
            VersionRefusedError: When a version cannot be brought up; says which.
        """
        with self._lock:
            active = None if self._is_left_for_later(model, target) else self._brought_up(model, target)
        self._staged[turn] = _Staged(model, target, active)

    def commit(self, turn: int) -> float:
        """Put in force what was prepared; return the moment on the monotonic clock."""
        staged = self._staged.pop(turn)
        self._targets[staged.model] = staged.target
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

    def is_unloaded(self, model: str) -> bool:
        """Return whether a model has a target, and its versions are not in memory."""
        return self._endpoints[model].active is None and model in self._targets

    def load(self, model: str) -> None:
        """Bring up a model whose target is in force without its versions; others give way.

        Raises:
            VersionRefusedError: When a version cannot be brought up.
        """
        with self._lock:
            while self.is_unloaded(model):
                target = self._targets[model]
                active = self._brought_up(model, target)
                if self._targets[model] == target:  # else a promotion came in between
                    self._endpoints[model].active = active
            self.residency.used(model, self._clock.monotonic())

    def _is_left_for_later(self, model: str, target: Target) -> bool:
        """Return whether a model begins without its versions: at the start, unneeded, and with no room."""
        residency = self.residency
        if residency.budget_bytes is None or model in self._targets or model in residency.required:
            return False
        size = self._source.size_bytes(target.champion)
        return not residency.fits(0 if size is None else size) or residency.used_bytes >= residency.budget_bytes

    def _brought_up(self, model: str, target: Target) -> Active:
        self._needed = frozenset({target.champion, target.challenger or target.champion})
        try:
            champion = self._slot(model, target.champion)
            challenger = None if target.challenger is None else self._slot(model, target.challenger)
        finally:
            self._needed = frozenset()
        return Active(target.routing, champion, challenger)

    def _slot(self, model: str, version_id: str) -> Slot:
        """Return a version ready to answer, loading it at need."""
        slots = self._slots[model]
        slot = slots.pop(version_id, None)
        if slot is None:
            began = self._clock.monotonic()
            try:
                slot = self._loaded(model, version_id)
            except Exception as error:
                reason = error.message if isinstance(error, LoopwrightError) else f"{type(error).__name__}: {error}"
                self._metrics.load_failed(model)
                _log.error("version refused", model=model, version=version_id, reason=reason)
                raise VersionRefusedError(version_id, reason) from error
            self._metrics.loaded(model, slot.predictor.version, self._clock.monotonic() - began)
        slots[version_id] = slot  # the most recently used stands last
        while len(slots) > KEPT_WARM:
            self._drop(model, next(iter(slots)))
        return slot

    def _loaded(self, model: str, version_id: str) -> Slot:
        size = self._source.size_bytes(version_id)
        self._make_room(model, size or 0)
        if model not in self.residency.required:
            self.residency.check(version_id, size or 0)
        check_memory(version_id, size, available_memory())
        before = self._memory()
        slot = prepare(self._source.load(version_id), online=self._online, clock=self._clock)
        grown = self._memory() - before
        if not self._has_loaded and size is not None:  # the first load brings libraries too, which are nobody's
            grown = min(grown, round(size * HEADROOM))
        self._has_loaded = True
        self.residency.loaded(version_id, max(grown, size or 0))
        self._make_room(model, 0)
        return slot

    def _make_room(self, model: str, size: int) -> None:
        """Let versions go until so much more fits: those kept warm, then the models that were asked the longest ago."""
        while not self.residency.fits(size):
            warm = next(self._warm(), None)
            if warm is not None:
                self._drop(*warm)
                continue
            others = [name for name, slots in self._slots.items() if slots and name != model]
            victim = self.residency.longest_unused(others)
            if victim is None:
                return
            self._endpoints[victim].active = None
            for version_id in list(self._slots[victim]):
                self._drop(victim, version_id)
            _log.info("unloaded to make room", model=victim)

    def _warm(self) -> Iterator[tuple[str, str]]:
        """Give the versions that nothing in force names."""
        staged = {id(slot) for each in self._staged.values() for slot in _slots_of(each.active)}
        for model, slots in self._slots.items():
            used = staged | {id(slot) for slot in _slots_of(self._endpoints[model].active)}
            for version_id, slot in slots.items():
                if id(slot) not in used and version_id not in self._needed:
                    yield model, version_id

    def _drop(self, model: str, version_id: str) -> None:
        del self._slots[model][version_id]
        self.residency.dropped(version_id)


def _slots_of(active: Active | None) -> list[Slot]:
    return [] if active is None else [slot for slot in (active.champion, active.challenger) if slot is not None]
