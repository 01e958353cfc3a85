"""What is live, how it does, what is open and what comes next: everything a screen shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.loop.daemon import server_state
from loopwright.loop.decisions import DecisionLog
from loopwright.loop.lock import is_turning
from loopwright.loop.maturity import next_work_at
from loopwright.loop.scoring import BatchStatus, batch_statuses
from loopwright.loop.turn import TURN_LOCK
from loopwright.loop.turn_log import TurnLog
from loopwright.loop.watching import watched_model
from loopwright.serving.stream.standing import standing_of
from loopwright.serving.stream.worker import consumer_of

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.data.dataset import Dataset
    from loopwright.loop.decisions import DecisionRecord
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.project import Loop
    from loopwright.loop.turn_log import TurnRecord
    from loopwright.monitoring.monitor import ModelFigures
    from loopwright.serving.releases.release import Release
    from loopwright.serving.stream.declaration import StreamDeployment
    from loopwright.serving.stream.standing import StreamStanding
    from loopwright.workspace import Workspace


@dataclass(frozen=True)
class DatasetStatus:
    """One dataset now."""

    name: str
    version: int | None
    rows: int
    quarantined: int
    has_new: bool


@dataclass(frozen=True)
class ModelStatus:
    """One model now; ``figures`` once it has a champion."""

    name: str
    champion: str | None
    release: Release | None
    figures: ModelFigures | None


@dataclass(frozen=True)
class LoopStatus:
    """The project now.

    Attributes:
        server: What the running server says of itself, or None.
        turning: Whether a turn is running.
        waiting: Proposed turns that wait for a person.
        next_at: When time alone brings work: a label matures or a schedule is due.
        batches: The schedules of scoring.
    """

    loop: str
    server: dict[str, object] | None
    turning: bool
    datasets: tuple[DatasetStatus, ...]
    models: tuple[ModelStatus, ...]
    streams: tuple[StreamStanding, ...]
    last_turn: TurnRecord | None
    waiting: tuple[DecisionRecord, ...]
    next_at: datetime | None
    batches: tuple[BatchStatus, ...] = ()


def status_of(loop: Loop, workspace: Workspace) -> LoopStatus:
    """Read the project's state; changes nothing."""
    stores = workspace.stores
    turns = TurnLog(stores).latest(loop.name, limit=1)
    return LoopStatus(
        loop=loop.name,
        server=server_state(stores.local),
        turning=is_turning(stores.local / TURN_LOCK),
        datasets=tuple(_dataset(workspace, dataset) for dataset in loop.datasets.values()),
        models=tuple(_model(workspace, model) for model in loop.models.values()),
        streams=tuple(
            stream_standing(workspace, name, model.stream)
            for name, model in loop.models.items()
            if model.stream is not None
        ),
        last_turn=turns[0] if turns else None,
        waiting=tuple(DecisionLog(stores).list(loop.name, status="waiting")),
        next_at=next_work_at(loop, workspace),
        batches=batch_statuses(loop, workspace),
    )


def stream_standing(workspace: Workspace, model: str, stream: StreamDeployment) -> StreamStanding:
    """Say how a model's stream stands."""
    return standing_of(workspace.stores.events, workspace.stores.local, model, stream, consumer_of(model))


def _dataset(workspace: Workspace, dataset: Dataset) -> DatasetStatus:
    lake = workspace.data
    snapshot = lake.snapshot(dataset.name) if dataset.name in lake.names() else None
    return DatasetStatus(
        name=dataset.name,
        version=None if snapshot is None else snapshot.version,
        rows=0 if snapshot is None else snapshot.rows,
        quarantined=lake.quarantine(dataset.name).rows,
        has_new=lake.has_new(dataset),
    )


def _model(workspace: Workspace, model: ModelDeclaration) -> ModelStatus:
    champion = workspace.aliases.current(model.name)
    return ModelStatus(
        name=model.name,
        champion=None if champion is None else f"{model.name}/{champion}",
        release=workspace.releases.current(model.name),
        figures=None if champion is None else workspace.monitoring.figures(watched_model(workspace, model)),
    )
