"""Runs in the metadata store: record them, list them, read them, compare them, and find the ones that were lost.

The trainer fills it from run folders; code that trains by itself can log to it directly.
"""

from __future__ import annotations

import math
import os
import socket
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.errors import StoreError, UnknownNameError
from loopwright.training import run as tables
from loopwright.training.estimators.model_file import ModelFile
from loopwright.training.process import identity_of, is_alive
from loopwright.training.run import Artifact, MetricPoint, Run, RunEvent, RunStart, Trial
from loopwright.training.run_comparison import RunComparison, compare_runs
from loopwright.training.run_folder import folders_in, read_json
from loopwright.training.run_sync import sync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.training.run import ParamOrigin, RunStatus

SILENT_FOR = timedelta(minutes=10)
"""A run on another machine whose heartbeat is older than this is lost."""


class RunStore:
    """Record and read runs.

    Any number of processes may use it at once; every call is one short transaction.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def create(self, start: RunStart, *, params: Mapping[str, Any] | None = None) -> str:
        """Record that a run starts in this process, and return its id."""
        run_id = self._stores.ids.new()
        now = self._stores.clock.now()
        process_id, process_started = identity_of(os.getpid()) or (os.getpid(), 0.0)
        row = {
            "id": run_id,
            "model": start.model,
            "status": "running",
            "cause": start.cause[:500],
            "seed": start.seed,
            "training_set": start.training_set,
            "record": asdict(start),
            "host": socket.gethostname(),
            "process_id": process_id,
            "process_started": process_started,
            "started_at": now,
            "heartbeat_at": now,
        }
        with self._stores.facts.write() as connection:
            connection.execute(sa.insert(tables.runs).values(row))
            self._put_params(connection, run_id, params or {}, "declared")
        return run_id

    def log_params(self, run_id: str, params: Mapping[str, Any], *, origin: ParamOrigin = "logged") -> None:
        """Record parameters; a name recorded before is overwritten."""
        with self._stores.facts.write() as connection:
            self._put_params(connection, run_id, params, origin)

    def log_metric(self, run_id: str, name: str, value: float, *, step: int | None = None) -> None:
        """Record one number."""
        self.log_metrics(run_id, {name: value}, step=step)

    def log_metrics(self, run_id: str, values: Mapping[str, float], *, step: int | None = None) -> None:
        """Record several numbers in one transaction."""
        now = self._stores.clock.now()
        column = tables.run_metrics.c
        with self._stores.facts.write() as connection:
            query = sa.select(sa.func.max(column.sequence)).where(column.run_id == run_id)
            last = connection.execute(query).scalar()
            first = 0 if last is None else last + 1
            rows = [
                {
                    "run_id": run_id,
                    "sequence": first + place,
                    "name": name,
                    "step": step,
                    "value": None if math.isnan(value) else float(value),
                    "logged_at": now,
                }
                for place, (name, value) in enumerate(values.items())
            ]
            connection.execute(sa.insert(tables.run_metrics), rows)

    def log_artifact(self, run_id: str, name: str, content: bytes | Path) -> Artifact:
        """Keep a file with the run."""
        blobs = self._stores.blobs
        if isinstance(content, bytes):
            digest, size = blobs.put(content), len(content)
        else:
            digest, size = blobs.put_file(content), content.stat().st_size
        row = {"run_id": run_id, "name": name, "digest": digest, "size_bytes": size}
        with self._stores.facts.write() as connection:
            moment = {"logged_at": self._stores.clock.now()}
            self._stores.facts.upsert(connection, tables.run_artifacts, {**row, **moment})
        return Artifact(name, digest, size)

    def finish(
        self,
        run_id: str,
        status: RunStatus = "finished",
        *,
        seconds: float | None = None,
        model_file: ModelFile | None = None,
        error: str | None = None,
    ) -> None:
        """Record the end of a run that was created here; its model file is in the blob store under its digest."""
        values = {
            "status": status,
            "finished_at": self._stores.clock.now(),
            "seconds": seconds,
            "model_file": None if model_file is None else model_file.to_json(),
            "error": error,
        }
        with self._stores.facts.write() as connection:
            connection.execute(sa.update(tables.runs).where(tables.runs.c.id == run_id).values(**values))

    def get(self, run_id: str) -> Run:
        """Return one run; the beginning of an id will do where it names only one.

        Raises:
            UnknownNameError: No run, or more than one, has an id that begins so.
        """
        column = tables.runs.c
        with self._stores.facts.read() as connection:
            query = sa.select(tables.runs).where(column.id.startswith(run_id, autoescape=True)).limit(2)
            found = connection.execute(query).all()
            if len(found) != 1:
                recent = sa.select(column.id).order_by(column.started_at.desc()).limit(5)
                raise UnknownNameError("run", run_id, connection.execute(recent).scalars())
            return self._runs(connection, found)[0]

    def list(
        self,
        *,
        model: str | None = None,
        status: RunStatus | None = None,
        limit: int = 50,
        training_set: str | None = None,
    ) -> Sequence[Run]:
        """Return runs, newest first."""
        query = sa.select(tables.runs).order_by(tables.runs.c.started_at.desc(), tables.runs.c.id.desc()).limit(limit)
        for column, wanted in (
            (tables.runs.c.model, model),
            (tables.runs.c.status, status),
            (tables.runs.c.training_set, training_set),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._stores.facts.read() as connection:
            return self._runs(connection, connection.execute(query).all())

    def compare(self, run_ids: Sequence[str]) -> RunComparison:
        """Put runs side by side: what differs between them, and all their metrics."""
        return compare_runs([self.get(run_id) for run_id in run_ids])

    def curve(self, run_id: str, name: str) -> Sequence[MetricPoint]:
        """Return every recorded point of one metric, in the order logged."""
        column = tables.run_metrics.c
        query = sa.select(tables.run_metrics).where(column.run_id == run_id, column.name == name)
        with self._stores.facts.read() as connection:
            rows = connection.execute(query.order_by(column.sequence)).all()
        return [MetricPoint(row.name, _number(row.value), row.step, row.logged_at) for row in rows]

    def trials(self, run_id: str) -> Sequence[Trial]:
        """Return the trials of a run's search, in order."""
        column = tables.run_trials.c
        query = sa.select(tables.run_trials).where(column.run_id == run_id).order_by(column.number)
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        return [Trial(row.number, row.params, row.value, row.status, row.seconds, tuple(row.curves)) for row in rows]

    def artifacts(self, run_id: str) -> Sequence[Artifact]:
        """Return the files kept with a run, by name."""
        column = tables.run_artifacts.c
        query = sa.select(tables.run_artifacts).where(column.run_id == run_id).order_by(column.name)
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        return [Artifact(row.name, row.digest, row.size_bytes) for row in rows]

    def events(self, run_id: str) -> Sequence[RunEvent]:
        """Return what happened in a run, in order."""
        column = tables.run_events.c
        query = sa.select(tables.run_events).where(column.run_id == run_id).order_by(column.sequence)
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        return [RunEvent(row.kind, row.text, row.happened_at) for row in rows]

    def log_text(self, run_id: str) -> str:
        """Return what a run printed, from this machine's folder while it runs and from the store afterwards."""
        run = self.get(run_id)
        if run.log_digest is not None:
            return self._stores.blobs.get(run.log_digest).decode(errors="replace")
        path = self._stores.local / "runs" / run.id / "log.txt"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def mark_lost(self) -> Sequence[str]:
        """Mark runs as lost whose process is gone without a recorded end, and return their ids.

        On this machine a process is known by its id and start time; a run of another machine is lost when its last
        heartbeat is older than ten minutes.
        """
        here = socket.gethostname()
        now = self._stores.clock.now()
        query = sa.select(tables.runs).where(tables.runs.c.status == "running")
        with self._stores.facts.read() as connection:
            running = connection.execute(query).all()
        lost = [
            row.id
            for row in running
            if (
                not is_alive(row.process_id, row.process_started)
                if row.host == here
                else now - row.heartbeat_at > SILENT_FOR
            )
        ]
        if lost:
            with self._stores.facts.write() as connection:
                still = sa.and_(tables.runs.c.id.in_(lost), tables.runs.c.status == "running")
                error = "the process that watched the run is gone"
                values = {"status": "lost", "finished_at": now, "error": error}
                connection.execute(sa.update(tables.runs).where(still).values(**values))
        return lost

    def sync_pending(self) -> Sequence[str]:
        """Bring runs into the store that were recorded while it was away, and return their ids.

        Runs whose parent still watches them are left to it.
        """
        synced = []
        for folder in folders_in(self._stores.local):
            if folder.synced.exists():
                continue
            start = read_json(folder.start)
            if start is None:
                continue
            if not folder.finish.exists() and is_alive(start["process_id"], start["process_started"]):
                continue
            sync_folder(self._stores, folder)
            folder.synced.touch()  # nothing more can come: the run ended, or its parent is gone
            synced.append(folder.run_id)
        return synced

    def _put_params(self, connection: sa.Connection, run_id: str, params: Mapping[str, Any], origin: str) -> None:
        for name, value in params.items():
            row = {"run_id": run_id, "origin": origin, "name": name, "value": value}
            self._stores.facts.upsert(connection, tables.run_params, row)

    def _runs(self, connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> Sequence[Run]:
        identities = [row.id for row in rows]
        params: dict[str, dict[str, dict[str, Any]]] = {}
        query = sa.select(tables.run_params).where(tables.run_params.c.run_id.in_(identities))
        for row in connection.execute(query.order_by(tables.run_params.c.name)):
            params.setdefault(row.run_id, {}).setdefault(row.origin, {})[row.name] = row.value
        metrics: dict[str, dict[str, float]] = {}
        column = tables.run_metrics.c
        last = (
            sa.select(column.run_id, column.name, sa.func.max(column.sequence).label("sequence"))
            .where(column.run_id.in_(identities))
            .group_by(column.run_id, column.name)
            .subquery()
        )
        joined = sa.and_(column.run_id == last.c.run_id, column.sequence == last.c.sequence)
        for row in connection.execute(sa.select(tables.run_metrics).join(last, joined)):
            metrics.setdefault(row.run_id, {})[row.name] = _number(row.value)
        return [_run(row, params.get(row.id, {}), metrics.get(row.id, {})) for row in rows]


def is_away(error: Exception) -> bool:
    """Say whether an error means that a store could not be reached, and not that the call was wrong."""
    return isinstance(error, StoreError | OSError | sa.exc.SQLAlchemyError)


def _run(row: sa.Row[Any], params: Mapping[str, dict[str, Any]], metrics: dict[str, float]) -> Run:
    return Run(
        id=row.id,
        model=row.model,
        status=row.status,
        start=RunStart(**row.record),
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        finished_at=row.finished_at,
        seconds=row.seconds,
        peak_memory_bytes=row.peak_memory_bytes,
        model_file=None if row.model_file is None else ModelFile.from_json(row.model_file),
        log_digest=row.log_digest,
        error=row.error,
        params={**params.get("declared", {}), **params.get("searched", {})},
        estimator_params=params.get("estimator", {}),
        logged_params=params.get("logged", {}),
        metrics=dict(sorted(metrics.items())),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
