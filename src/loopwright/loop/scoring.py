"""Score jobs that are due by ``lw.batch``: what is to be begun now, and what one due time asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from loopwright.core.errors import UnknownNameError
from loopwright.loop.schedule import last_due, next_due
from loopwright.serving.scoring.destination import Folder, parse_destination
from loopwright.serving.scoring.job import ScoreRequest
from loopwright.serving.scoring.job_store import JobStore
from loopwright.serving.scoring.source import DatasetRows, FileRows, QueryRows

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.data.sources.sql import SqlSource
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.project import Loop
    from loopwright.serving.scoring.declaration import BatchDeployment
    from loopwright.serving.scoring.job import ScoreJob
    from loopwright.serving.scoring.source import Moment, ScoreSource
    from loopwright.workspace import Workspace


@dataclass(frozen=True)
class DueScoring:
    """A time at which a model's rows are due to be scored, and are not yet."""

    model: str
    due: datetime


@dataclass(frozen=True)
class BatchStatus:
    """A schedule of scoring now.

    Attributes:
        model: The model.
        cron: When it is due.
        next_at: The next due time.
        last: Its last job, or None.
    """

    model: str
    cron: str
    next_at: datetime
    last: ScoreJob | None


def request_for(workspace: Workspace, model: ModelDeclaration, due: datetime) -> ScoreRequest:
    """Return what a due time asks for: the same for the same time, so that a job is found again."""
    batch = cast("BatchDeployment", model.batch)
    project = workspace.stores.settings.project
    destination = parse_destination(batch.to, model=model.name, project=project, format=batch.format)
    if isinstance(destination, Folder):
        destination = Folder(destination.path / f"{due:%Y-%m-%dT%H%M}", destination.format)
    return ScoreRequest(
        model=model.name,
        source=_source(batch),
        destination=destination,
        columns=batch.columns,
        key=batch.key,
        log=batch.log,
        log_features=batch.log_features,
        occasion=due.isoformat(),
    )


def due_scorings(loop: Loop, workspace: Workspace) -> list[DueScoring]:
    """Return the due times whose jobs are not done: of each model the latest one, however many were missed before it.

    A time before the model had a version is not due.
    """
    now = workspace.stores.clock.now()
    found = []
    for model in loop.models.values():
        if model.batch is None or workspace.aliases.current(model.name) is None:
            continue
        due = last_due(model.batch.cron, now)
        first = workspace.registry.get(model.name, 1)
        if due < first.created_at:
            continue
        if not JobStore(workspace.stores).is_done(request_for(workspace, model, due).digest):
            found.append(DueScoring(model.name, due))
    return found


def batch_statuses(loop: Loop, workspace: Workspace) -> tuple[BatchStatus, ...]:
    """Return how the schedules of scoring stand; changes nothing."""
    now = workspace.stores.clock.now()
    found = []
    for model in loop.models.values():
        if model.batch is None:
            continue
        jobs = JobStore(workspace.stores).latest(model.name, limit=20)
        last = next((job for job in jobs if job.request["occasion"]), None)
        found.append(BatchStatus(model.name, model.batch.cron, next_due(model.batch.cron, now), last))
    return tuple(found)


def scored_model(loop: Loop, name: str) -> ModelDeclaration:
    """Return a model that is declared to score by schedule.

    Raises:
        UnknownNameError: If there is none of this name.
    """
    known = {one.name: one for one in loop.models.values() if one.batch is not None}
    if name not in known:
        raise UnknownNameError("model with lw.batch", name, known)
    return known[name]


def _source(batch: BatchDeployment) -> ScoreSource:
    if batch.dataset is not None:
        return DatasetRows(batch.dataset.name, cast("Moment", batch.features))
    if batch.files is not None:
        return FileRows(batch.files)
    declared = cast("SqlSource", batch.sql)
    return QueryRows(declared.url, str(declared.query))
