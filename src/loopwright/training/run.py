"""The record of one training: what ran, on what, and what came of it; and the tables that hold it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from loopwright.core.ref import Ref
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from loopwright.training.estimators.model_file import ModelFile

RunStatus = Literal["running", "finished", "failed", "stopped", "lost"]
ParamOrigin = Literal["declared", "searched", "estimator", "logged"]

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("cause", sa.String(500), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("training_set", sa.String(64), nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("process_id", sa.Integer, nullable=False),
    sa.Column("process_started", sa.Float, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("heartbeat_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=True),
    sa.Column("seconds", sa.Float, nullable=True),
    sa.Column("peak_memory_bytes", sa.BigInteger, nullable=True),
    sa.Column("model_file", sa.JSON, nullable=True),
    sa.Column("log_digest", sa.String(64), nullable=True),
    sa.Column("error", sa.Text, nullable=True),
    sa.Index("ix_runs_model_started_at", "model", "started_at"),
    sa.Index("ix_runs_status", "status"),
)

run_params = sa.Table(
    "run_params",
    metadata,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("origin", sa.String(20), primary_key=True),
    sa.Column("name", sa.String(250), primary_key=True),
    sa.Column("value", sa.JSON, nullable=True),
)

run_metrics = sa.Table(
    "run_metrics",
    metadata,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(250), nullable=False),
    sa.Column("step", sa.BigInteger, nullable=True),
    sa.Column("value", sa.Float, nullable=True),
    sa.Column("logged_at", UtcDateTime, nullable=False),
    sa.Index("ix_run_metrics_run_id_name", "run_id", "name"),
)

run_artifacts = sa.Table(
    "run_artifacts",
    metadata,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(250), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("logged_at", UtcDateTime, nullable=False),
)

run_trials = sa.Table(
    "run_trials",
    metadata,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("value", sa.Float, nullable=True),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("curves", sa.JSON, nullable=False),
)

run_events = sa.Table(
    "run_events",
    metadata,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("happened_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class RunStart:
    """What is known of a run before it starts.

    Attributes:
        model: Name of the model it trains.
        cause: Why it runs, such as ``schedule`` or ``run by hand``.
        seed: The seed given to everything random in it.
        training_set: Digest of the training set.
        snapshots: Dataset names and the versions that the training set was made of.
        function: Name and digest of the training function, its source and its file.
        code: Git commit, whether there were uncommitted changes, and the digest of the code archive in the blob store.
        environment: Interpreter, platform, hardware, package versions, threads.
        search: The declared search, or None.
        limits: The bounds.
    """

    model: str
    cause: str = ""
    seed: int = 0
    training_set: str = ""
    snapshots: Mapping[str, int] = field(default_factory=dict)
    function: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricPoint:
    """One logged number."""

    name: str
    value: float
    step: int | None
    logged_at: datetime


@dataclass(frozen=True)
class Trial:
    """One parameter set of a search, with its score on the validation rows and the curves logged in it."""

    number: int
    params: Mapping[str, Any]
    value: float | None
    status: Literal["finished", "failed"]
    seconds: float
    curves: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Artifact:
    """A file kept with a run; its bytes are in the blob store under the digest."""

    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class RunEvent:
    """Something that happened in a run, with its moment."""

    kind: str
    text: str
    happened_at: datetime


@dataclass(frozen=True)
class Run:
    """One tracked training as recorded.

    Attributes:
        params: The values that the function got: declared ones, and the best found by a search.
        estimator_params: What the estimator says of itself (``get_params``).
        logged_params: What the function recorded with ``log_param``.
        metrics: The last value of each metric.
        seconds: From start to end, None while it runs.
        error: The message of a run that failed.
    """

    id: str
    model: str
    status: RunStatus
    start: RunStart
    started_at: datetime
    heartbeat_at: datetime
    finished_at: datetime | None = None
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    model_file: ModelFile | None = None
    log_digest: str | None = None
    error: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    estimator_params: Mapping[str, Any] = field(default_factory=dict)
    logged_params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        """The run's name in the lineage."""
        return Ref("run", self.id)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.start.seed

    @property
    def cause(self) -> str:
        """Why it ran."""
        return self.start.cause
