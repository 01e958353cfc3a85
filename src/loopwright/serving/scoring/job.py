"""The nouns of scoring: what is asked for, a job, and its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from loopwright.core.hashing import digest_json
from loopwright.core.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from loopwright.serving.scoring.destination import Destination
    from loopwright.serving.scoring.source import ScoreSource

JobState: TypeAlias = Literal["preparing", "running", "done", "cancelled"]
PART_ROWS = 262_144
"""Rows of a part, about: what a worker holds the answers of, and what is done again after a death."""


@dataclass(frozen=True)
class ScoreRequest:
    """What is asked for. The same request, made again while its job is not done, goes on with it.

    Attributes:
        model: A model, whose champion answers, or a version such as ``eta/3``.
        source: Where the rows come from.
        destination: Where the answers go.
        columns: Columns of the rows to hand on with the answers.
        key: The columns that name a row; by default those of the dataset that the model learned from, where the rows
            have them.
        log: Whether the answers also go to the prediction log (``predictions/<model>``, route ``batch``), so that
            monitoring sees them and outcomes are joined to them.
        log_features: Whether the log keeps the features of each row.
        occasion: What makes this request another one than an equal one before, such as the time that it was due.
        part_rows: Rows of a part, about.
    """

    model: str
    source: ScoreSource
    destination: Destination
    columns: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    log: bool = False
    log_features: bool = True
    occasion: str = ""
    part_rows: int = PART_ROWS

    def describe(self) -> dict[str, object]:
        """Return the request as JSON values."""
        return {
            "model": self.model,
            "source": self.source.describe(),
            "destination": self.destination.describe(),
            "columns": list(self.columns),
            "key": list(self.key),
            "log": self.log,
            "log_features": self.log_features,
            "occasion": self.occasion,
            "part_rows": self.part_rows,
        }

    @property
    def digest(self) -> str:
        """What equal requests share."""
        return digest_json(self.describe())


@dataclass(frozen=True)
class Layout:
    """How the rows lie, decided once per job.

    Attributes:
        inputs: The fields that the model's assembly reads, of those that the rows have.
        key: The columns that name a row; none where the rows have none.
        event_time: The column with the moment that a row speaks of, or None.
        columns: Further columns that are handed on.
        stored: Whether the values are as a dataset stores them: payloads and texts as references, names hashed.
        joined: The features of views that were joined to the rows while they were prepared.
    """

    inputs: tuple[str, ...]
    key: tuple[str, ...] = ()
    event_time: str | None = None
    columns: tuple[str, ...] = ()
    stored: bool = False
    joined: tuple[str, ...] = ()

    @property
    def handed_on(self) -> tuple[str, ...]:
        """The columns of the rows that the answers have too, in their order."""
        event_time = () if self.event_time is None else (self.event_time,)
        return tuple(dict.fromkeys((*self.key, *event_time, *self.columns)))

    @property
    def read(self) -> tuple[str, ...]:
        """Every column that is read."""
        return tuple(dict.fromkeys((*self.inputs, *self.joined, *self.handed_on)))

    def to_json(self) -> dict[str, object]:
        """Return the layout as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        """Read a layout as ``to_json`` wrote it."""
        lists = {name: tuple(one) for name, one in value.items() if isinstance(one, list)}
        return cls(**{**value, **lists})


@dataclass(frozen=True)
class RowSlice:
    """Rows of one Parquet file.

    Attributes:
        path: The file.
        source: What people know the file as.
        groups: Its row groups ``[first, last)``.
        skip: Rows of these that belong to an earlier part.
        rows: How many rows it has.
        stamp: The file's size and time when it was planned: a file that changes meanwhile would give other rows.
    """

    path: str
    source: str
    groups: tuple[int, int]
    skip: int
    rows: int
    stamp: tuple[int, int]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RowSlice:
        """Read a slice as JSON has it."""
        return cls(**{**value, "groups": tuple(value["groups"]), "stamp": tuple(value["stamp"])})


@dataclass(frozen=True)
class ScorePart:
    """Rows that are scored and committed together.

    Attributes:
        number: Its place in the job, from 0.
        slices: Where its rows lie, in their order.
        first_row: The number of its first row in the job.
    """

    number: int
    slices: tuple[RowSlice, ...]
    first_row: int

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(one.rows for one in self.slices)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ScorePart:
        """Read a part as JSON has it."""
        slices = tuple(RowSlice.from_json(one) for one in value["slices"])
        return cls(value["number"], slices, value["first_row"])


@dataclass(frozen=True)
class PartCounts:
    """What became of a part's rows: ``rows == scored + rejected``."""

    scored: int
    rejected: int


@dataclass(frozen=True)
class ScoreJob:
    """One pass over some rows, on record until it is done and after.

    Attributes:
        id: UUIDv7.
        model: The model.
        version: Number of the version that answers all of it, fixed when the job was made.
        request: The request as JSON values.
        request_digest: What equal requests share.
        content: A digest of what the source held.
        state: ``preparing`` until the parts are on record, then ``running`` until all are committed, then
            ``done``; or ``cancelled``.
        at: The moment of the job: when its rows count as scored, and as of which features are known.
        layout: How the rows lie; None while it is prepared.
        snapshots: The versions of the datasets that are read.
        rows: Rows of the source.
        parts: How many parts there are.
        parts_done: How many of them are committed.
        scored: Rows with an answer so far.
        rejected: Rows that cannot be scored so far.
        finished_at: When the last part was committed, or None.
        result: What else is to be said at the end: warnings.
    """

    id: str
    model: str
    version: int
    request: dict[str, Any]
    request_digest: str
    content: str
    state: JobState
    at: datetime
    layout: Layout | None = None
    snapshots: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    parts: int = 0
    parts_done: int = 0
    scored: int = 0
    rejected: int = 0
    finished_at: datetime | None = None
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        """Its name in the lineage."""
        return Ref("score", self.id)

    @property
    def version_id(self) -> str:
        """The id of the version, such as ``eta/3``."""
        return f"{self.model}/{self.version}"
