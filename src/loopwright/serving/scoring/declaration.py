"""How a model scores rows by schedule: the declaration behind ``loop.deploy(model, batch=lw.batch(…))``.

Light on purpose: a project file imports this, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.data.dataset import Dataset
from loopwright.data.sources.sql import SqlSource

if TYPE_CHECKING:
    from collections.abc import Iterable

_CRON_FIELDS = 5
_MOMENTS = ("scoring", "event_time")
_FORMATS = ("parquet", "csv")


@dataclass(frozen=True)
class BatchDeployment:
    """When a model's champion scores which rows, and where the answers go. Make it with :func:`batch`.

    Attributes:
        cron: When, five fields, in UTC.
        dataset: The dataset whose newest snapshot is scored, or None.
        files: The files that are scored, or None.
        sql: The query that is scored, or None.
        to: ``lake``, ``lake:NAME``, or a folder, in which each due time has one of its own.
        columns: Columns of the rows to hand on.
        key: Columns that name a row; by default the dataset's.
        log: Whether the answers also go to the prediction log.
        log_features: Whether the log keeps the features too.
        features: As of when views are joined to a dataset's rows.
        format: Of files: ``parquet`` or ``csv``.
    """

    cron: str
    dataset: Dataset | None = None
    files: str | None = None
    sql: SqlSource | None = None
    to: str = "lake"
    columns: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    log: bool = True
    log_features: bool = True
    features: str = "scoring"
    format: str = "parquet"

    @property
    def source(self) -> str:
        """What is scored, in words."""
        if self.dataset is not None:
            return self.dataset.name
        return self.files if self.files is not None else "a query"


def batch(
    *,
    cron: str,
    dataset: Dataset | None = None,
    files: str | None = None,
    sql: SqlSource | None = None,
    to: str = "lake",
    columns: Iterable[str] = (),
    key: Iterable[str] = (),
    log: bool = True,
    log_features: bool = True,
    features: str = "scoring",
    format: str = "parquet",
) -> BatchDeployment:
    """Declare that a model's champion scores rows at the times of a cron expression, in UTC.

    While ``loopwright up`` runs, each due time is one job: in a process of its own, one at a time, gone on with after a
    crash, and each row answered once. Of several times that were missed only the last is made up for.

    Args:
        cron: Such as ``"0 2 * * *"``.
        dataset: Score the newest snapshot of this dataset.
        files: Score these files: a path, a folder or a glob.
        sql: Score a query: ``lw.sql(url, query=…)``.
        to: ``"lake"`` (the table ``scores/<model>``), ``"lake:NAME"``, or a folder, in which each due time makes one.
        columns: Columns of the rows to hand on with the answers.
        key: Columns that name a row; by default the key of the dataset.
        log: Also log the answers (``predictions/<model>``, route ``batch``): monitoring sees them, and outcomes join.
        log_features: Keep the features of each row in that log.
        features: ``"scoring"`` joins views as known at the moment of the job, ``"event_time"`` as at each row's time.
        format: Of files: ``"parquet"`` or ``"csv"``.

    Raises:
        DeclarationError: If it does not name one source, or a value is not known.

    >>> batch(cron="0 2 * * *", files="in/*.parquet", to="lake").source
    'in/*.parquet'
    """
    if not isinstance(cron, str) or len(cron.split()) != _CRON_FIELDS:
        raise DeclarationError(
            f"batch(cron={cron!r}) needs five fields: minute, hour, day of month, month, day of week.",
            hint="Write '0 2 * * *' for 02:00 each day.",
        )
    given = [name for name, value in (("dataset", dataset), ("files", files), ("sql", sql)) if value is not None]
    if len(given) != 1:
        named = ", ".join(f"{name}=" for name in given) or "none"
        raise DeclarationError(f"batch() scores one of dataset=, files= and sql=, got {named}.", hint="Give one.")
    if dataset is not None and not isinstance(dataset, Dataset):
        raise DeclarationError(f"dataset={dataset!r} is no dataset.", hint="Pass what loop.dataset(…) returned.")
    if sql is not None and (not isinstance(sql, SqlSource) or sql.query is None):
        raise DeclarationError(f"sql={sql!r} is no query.", hint='Write sql=lw.sql(url, query="SELECT …").')
    if features not in _MOMENTS or format not in _FORMATS:
        raise DeclarationError(
            f"batch() knows features= {' or '.join(_MOMENTS)} and format= {' or '.join(_FORMATS)}; got {features!r} "
            f"and {format!r}."
        )
    named_columns, named_key = _names("columns", columns), _names("key", key)
    return BatchDeployment(cron, dataset, files, sql, to, named_columns, named_key, log, log_features, features, format)


def _names(what: str, given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise DeclarationError(f"{what}={given!r} is one text.", hint=f"Write {what}=[{given!r}].")
    return tuple(given)
