"""The parent's view of a run in progress: follows its log and spool, tells the caller, keeps the store current.

If the store is away the run goes on; what could not be written stays in the run's folder for `RunStore.sync_pending`.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from loopwright.training.active import read_spool
from loopwright.training.process import identity_of
from loopwright.training.run_folder import RunFolder, write_json
from loopwright.training.run_store import is_away
from loopwright.training.run_sync import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopwright.core.storage.stores import Stores
    from loopwright.training.run import RunStart, RunStatus

SYNC_SECONDS = 0.5
HEARTBEAT_SECONDS = 30.0
LOG_CHUNK_BYTES = 65_536
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunProgress:
    """One thing to show while a run goes on.

    Attributes:
        run_id: The run.
        kind: A printed line, a metric, a trial of a search, a step forward, or an event.
        text: The line, or what it is in words.
        fraction: How far the run is, from 0 to 1, where it says so.
        metric: The metric's name; with ``value`` and ``step`` for metrics.
        value: The metric's or the trial's value.
        step: The metric's step or the trial's number.
    """

    run_id: str
    kind: Literal["log", "metric", "trial", "progress", "event"]
    text: str = ""
    fraction: float | None = None
    metric: str | None = None
    value: float | None = None
    step: int | None = None


class RunRecorder:
    """Follow one run from its start to its recorded end."""

    def __init__(
        self, stores: Stores, folder: RunFolder, on_progress: Callable[[RunProgress], None] | None = None
    ) -> None:
        self._stores = stores
        self._folder = folder
        self._on_progress = on_progress
        self._stored_to = 0
        self._shown_to = 0
        self._log_to = 0
        self._synced_at = -HEARTBEAT_SECONDS
        self._has_news = True
        self.is_store_away = False
        self.metrics: dict[str, float] = {}
        self._declared: frozenset[str] = frozenset()

    def start(self, start: RunStart, params: Mapping[str, Any]) -> None:
        """Record the start in the folder, then in the store where that can be reached."""
        self._declared = frozenset(params)
        process_id, process_started = identity_of(os.getpid()) or (os.getpid(), 0.0)
        record = {
            "id": self._folder.run_id,
            "record": asdict(start),
            "params": dict(params),
            "host": socket.gethostname(),
            "process_id": process_id,
            "process_started": process_started,
            "started_at": self._stores.clock.now().isoformat(),
        }
        write_json(self._folder.start, record)
        self._sync()

    def tick(self) -> None:
        """Look for news: show them at once, store them at most twice a second."""
        self._show_log()
        records, self._shown_to = read_spool(self._folder.path, self._shown_to)
        for record in records:
            self._has_news = True
            if record["kind"] == "metric":
                self.metrics[record["name"]] = record["value"]
            self._show(_progress_of(self._folder.run_id, record))
        waited = time.monotonic() - self._synced_at
        if waited > (SYNC_SECONDS if self._has_news else HEARTBEAT_SECONDS):
            self._sync()

    def finish(
        self,
        status: RunStatus,
        *,
        seconds: float,
        peak_memory_bytes: int = 0,
        error: str | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the end in the folder, then in the store where that can be reached."""
        self.tick()
        log_digest = None
        if self._folder.log.exists():
            try:
                log_digest = self._stores.blobs.put_file(self._folder.log)
            except Exception as problem:
                if not is_away(problem):
                    raise
        report = report or {}
        record = {
            "status": status,
            "finished_at": self._stores.clock.now().isoformat(),
            "seconds": seconds,
            "peak_memory_bytes": peak_memory_bytes,
            "model_file": report.get("model_file"),
            "params": {name: value for name, value in report.get("params", {}).items() if name not in self._declared},
            "estimator_params": report.get("estimator_params", {}),
            "log_digest": log_digest,
            "error": error,
        }
        write_json(self._folder.finish, record)
        self._sync()

    def _sync(self) -> None:
        self._synced_at = time.monotonic()
        try:
            self._stored_to = sync_folder(self._stores, self._folder, self._stored_to)
        except Exception as error:
            if not is_away(error):
                raise
            if not self.is_store_away:
                _logger.warning("run %s goes on while its records wait: %s", self._folder.run_id, error)
            self.is_store_away = True
            return
        self.is_store_away = False
        self._has_news = False

    def _show_log(self) -> None:
        if self._on_progress is None:
            return
        try:
            with self._folder.log.open("rb") as file:
                file.seek(self._log_to)
                data = file.read(LOG_CHUNK_BYTES)
        except OSError:
            return
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) == LOG_CHUNK_BYTES:
            end = len(data)  # a line without an end is shown in pieces
        self._log_to += end
        for line in data[:end].decode(errors="replace").splitlines():
            self._show(RunProgress(self._folder.run_id, "log", line))

    def _show(self, progress: RunProgress) -> None:
        if self._on_progress is None:
            return
        try:
            self._on_progress(progress)
        except Exception:
            _logger.exception("showing the progress of run %s failed; it is not shown any more", self._folder.run_id)
            self._on_progress = None


def _progress_of(run_id: str, record: Mapping[str, Any]) -> RunProgress:
    match record["kind"]:
        case "metric":
            text = f"{record['name']} = {record['value']:.6g}"
            return RunProgress(
                run_id, "metric", text, metric=record["name"], value=record["value"], step=record["step"]
            )
        case "trial":
            shown = "failed" if record["value"] is None else f"{record['value']:.6g}"
            text = f"trial {record['number'] + 1}: {shown} {record['params']}"
            return RunProgress(run_id, "trial", text, value=record["value"], step=record["number"])
        case "progress":
            return RunProgress(run_id, "progress", record["text"], fraction=record["fraction"])
        case kind:
            return RunProgress(run_id, "event", str(record.get("text") or record.get("name") or kind))
