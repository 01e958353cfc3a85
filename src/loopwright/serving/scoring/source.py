"""Where the rows of a score job come from: a dataset's snapshot, files, or a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from loopwright.core.errors import UsageError
from loopwright.data.sources.secret import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

Moment: TypeAlias = Literal["scoring", "event_time"]


@dataclass(frozen=True)
class DatasetRows:
    """A snapshot of a dataset.

    Attributes:
        name: The dataset, or one of its snapshots: ``orders``, ``orders@3``, ``orders@a-tag``.
        moment: As of when feature views are joined: the moment of the job, as a request now would get them, or each
            row's event time, as in training.
    """

    name: str
    moment: Moment = "scoring"

    def __post_init__(self) -> None:
        if self.moment not in get_args(Moment):
            raise UsageError(f"Features as of {self.moment!r} are not known.", hint="Use 'scoring' or 'event_time'.")

    def describe(self) -> dict[str, object]:
        """Return the source as JSON values."""
        return {"kind": "dataset", "name": self.name, "moment": self.moment}

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class FileRows:
    """Tables in files: a path, a folder or a glob; Parquet, CSV, JSON Lines, Arrow, Avro or ORC."""

    pattern: str

    def describe(self) -> dict[str, object]:
        """Return the source as JSON values."""
        return {"kind": "files", "pattern": self.pattern}

    def __str__(self) -> str:
        return self.pattern


@dataclass(frozen=True)
class QueryRows:
    """What a query of a database gives; ``url`` is a URL, or the name of a connection of the settings."""

    url: str
    query: str

    def describe(self) -> dict[str, object]:
        """Return the source as JSON values; passwords are masked."""
        return {"kind": "sql", "url": masked(self.url), "query": self.query}

    def __str__(self) -> str:
        return f"a query of {masked(self.url)}"


ScoreSource: TypeAlias = "DatasetRows | FileRows | QueryRows"


def source_from(value: Mapping[str, Any]) -> ScoreSource:
    """Read a source as ``describe`` wrote it; the URL of a query has lost its password."""
    match value["kind"]:
        case "dataset":
            return DatasetRows(value["name"], cast("Moment", value["moment"]))
        case "files":
            return FileRows(value["pattern"])
        case _:
            return QueryRows(value["url"], value["query"])
