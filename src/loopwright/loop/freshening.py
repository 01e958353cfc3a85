"""Keep online values fresh: follow the datasets, and fill the views that live versions need as soon as rows come.

Runs in the controller's process, on a thread of its own, so that neither a long look of the monitor nor a turn holds it
up. It asks for the facts' change counter several times a second and does nothing while that stands still and no value
becomes known by time. Streams (``lw.events``, ``lw.kafka``, ``lw.kinesis``) are asked for new records as often, and
ingested in small batches.

Everything it knows is in the stores: one that is killed leaves the mark of the last whole filling, and the next one
does the rest. A turn may fill the same view meanwhile; they take turns by a lock, and an older snapshot never replaces
a newer one (``loopwright.features.materialize``).
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from loopwright.core.errors import LoopwrightError, TurnInProgressError
from loopwright.data.versions.history import History
from loopwright.features.materialize import view_key
from loopwright.loop.live_views import labels_of, live_views

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from loopwright.data.dataset import Dataset
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.materialize import MaterializeReport
    from loopwright.features.view import FeatureView
    from loopwright.loop.project import Loop
    from loopwright.workspace import Workspace

LOOK_EVERY_S: Final = 0.25
_STREAMS: Final = frozenset({"events", "kafka", "kinesis"})
_MOST_OF_THE_TIME: Final = 10  # a stream is asked after ten times as long as its last answer took
_LONGEST_PAUSE_S: Final = 30.0
_LONG_S: Final = 1.0

_log = structlog.get_logger("loopwright.freshening")


@dataclass
class _Pause:
    """When to try again what failed, or what takes long."""

    until_s: float = 0.0
    length_s: float = 0.0

    def longer(self, now_s: float) -> None:
        self.length_s = min(_LONGEST_PAUSE_S, max(1.0, 2 * self.length_s))
        self.until_s = now_s + self.length_s

    def over(self) -> None:
        self.until_s = self.length_s = 0.0


@dataclass(frozen=True)
class _Filled:
    """From what a view was filled last, and when there is more to fill without any new row."""

    versions: Mapping[str, int]
    next_known: datetime | None


class Freshening:
    """Fills the online store of one project as rows arrive.

    Args:
        loop: The declared project.
        workspace: Its workspace.
    """

    def __init__(self, loop: Loop, workspace: Workspace) -> None:
        self._loop = loop
        self._workspace = workspace
        self._clock = workspace.stores.clock
        self._history = History(workspace.stores)
        self._labels = labels_of(loop)
        self._streams = [one for one in loop.datasets.values() if one.source.kind in _STREAMS]
        self._busy = threading.Lock()
        self._counter: int | None = None
        self._live: tuple[object, list[FeatureView]] = (None, [])
        self._filled: dict[str, _Filled] = {}
        self._due: datetime | None = None
        self._retry_at_s: float | None = None
        self._pauses: dict[str, _Pause] = {}

    def look(self) -> list[MaterializeReport]:
        """Ingest what streams have, and fill what new rows or the time have made stale; return what was filled.

        Returns at once where another thread is at it.
        """
        if not self._busy.acquire(blocking=False):
            return []
        try:
            for dataset in self._streams:
                self._ingest(dataset)
            return self._fill() if self._has_work() else []
        finally:
            self._busy.release()

    def keep(self, stop: threading.Event, *, every_s: float = LOOK_EVERY_S) -> None:
        """Look until asked to stop."""
        while not stop.is_set():
            try:
                for report in self.look():
                    _log.debug("filled", view=report.view, entities=report.rows_written, how=report.how)
            except LoopwrightError as error:
                _log.error("a look at new rows failed; the next one tries again", reason=str(error))
            except Exception:  # noqa: BLE001 - whatever it is, the next look tries again
                _log.exception("a look at new rows failed by a fault of ours; the next one tries again")
            stop.wait(every_s)

    def _has_work(self) -> bool:
        """Tell whether anything was committed, or a moment has come, since the last filling."""
        counter = self._workspace.stores.facts.change_counter()
        changed, self._counter = counter != self._counter, counter
        due = self._due is not None and self._clock.now() >= self._due
        again = self._retry_at_s is not None and self._clock.monotonic() >= self._retry_at_s
        return changed or due or again

    def _ingest(self, dataset: Dataset) -> None:
        pause = self._pauses.setdefault(dataset.name, _Pause())
        began_s = self._clock.monotonic()
        if began_s < pause.until_s:
            return
        lake = self._workspace.data
        try:
            if lake.has_new(dataset):
                with contextlib.suppress(TurnInProgressError):  # a turn is ingesting it right now
                    lake.ingest(dataset)
        except LoopwrightError as error:
            pause.longer(self._clock.monotonic())
            _log.error("a stream cannot be read", dataset=dataset.name, again_in_s=pause.length_s, reason=str(error))
        else:
            now_s = self._clock.monotonic()
            pause.over()
            pause.until_s = now_s + min(1.0, _MOST_OF_THE_TIME * (now_s - began_s))

    def _fill(self) -> list[MaterializeReport]:
        newest: dict[str, Snapshot | None] = {}
        reports: list[MaterializeReport] = []
        live = self._views()
        for view in live:
            for dataset in view.datasets:
                if dataset.name not in newest:
                    newest[dataset.name] = self._history.latest(dataset.name)
            snapshots = {dataset.name: found for dataset in view.datasets if (found := newest[dataset.name])}
            if len(snapshots) == len(view.datasets) and self._is_stale(view, snapshots):
                report = self._fill_one(view, snapshots)
                reports += [] if report is None else [report]
        keys = [view_key(view) for view in live]
        filled = [self._filled[key] for key in keys if key in self._filled]
        self._due = min((one.next_known for one in filled if one.next_known is not None), default=None)
        waits = [pause.until_s for key in keys if (pause := self._pauses.get(key)) and pause.until_s]
        self._retry_at_s = min(waits, default=None)
        return reports

    def _is_stale(self, view: FeatureView, snapshots: Mapping[str, Snapshot]) -> bool:
        filled = self._filled.get(view_key(view))
        if filled is None or filled.versions != _versions(snapshots):
            return True
        return filled.next_known is not None and filled.next_known <= self._clock.now()

    def _fill_one(self, view: FeatureView, snapshots: Mapping[str, Snapshot]) -> MaterializeReport | None:
        """Fill one view; one that cannot be filled is tried again later, and keeps no other waiting."""
        key = view_key(view)
        pause = self._pauses.setdefault(key, _Pause())
        began_s = self._clock.monotonic()
        if began_s < pause.until_s:
            return None
        try:
            report = self._workspace.features.materialize(view, snapshots, labels=self._labels)
        except LoopwrightError as error:
            pause.longer(self._clock.monotonic())
            _log.error("a view cannot be filled", view=key, again_in_s=pause.length_s, reason=str(error))
            return None
        pause.over()
        took_s = self._clock.monotonic() - began_s
        if took_s > _LONG_S:  # a view that must be computed as a whole never takes more than half of the time
            pause.until_s = began_s + min(2 * took_s, took_s + _LONGEST_PAUSE_S)
        self._filled[key] = _Filled(_versions(snapshots), report.next_known)
        return report

    def _views(self) -> list[FeatureView]:
        """Return what must be online, found anew only where an alias or a release has moved."""
        aliases, releases = self._workspace.aliases, self._workspace.releases
        state = [
            (name, aliases.of_model(name), None if (open_ := releases.current(name)) is None else open_.id)
            for name in self._loop.models
        ]
        if self._live[0] != state:
            self._live = (state, [one.view for one in live_views(self._loop, self._workspace)])
        return self._live[1]


def _versions(snapshots: Mapping[str, Snapshot]) -> dict[str, int]:
    return {name: snapshot.version for name, snapshot in snapshots.items()}


def freshening_thread(freshening: Freshening, stop: threading.Event) -> threading.Thread:
    """Start a thread that keeps online values fresh until ``stop`` is set."""
    thread = threading.Thread(target=freshening.keep, args=(stop,), name="loopwright-freshening", daemon=True)
    thread.start()
    return thread
