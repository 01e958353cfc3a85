"""Score jobs and their parts in the facts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import UnknownNameError
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.serving.scoring.job import Layout, PartCounts, ScoreJob, ScorePart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from loopwright.core.ref import Ref
    from loopwright.core.storage.stores import Stores

score_jobs = sa.Table(
    "score_jobs",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("request_digest", sa.String(64), nullable=False),
    sa.Column("open_request", sa.String(64), nullable=True, unique=True),  # the digest while open: one open job each
    sa.Column("content", sa.String(64), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("layout", sa.JSON, nullable=True),
    sa.Column("snapshots", sa.JSON, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=True),
    sa.Column("result", sa.JSON, nullable=False),
    sa.Index("ix_score_jobs_model", "model", "at"),
    sa.Index("ix_score_jobs_request", "request_digest"),
)

score_parts = sa.Table(
    "score_parts",
    metadata,
    sa.Column("job_id", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("part", sa.JSON, nullable=False),
    sa.Column("scored", sa.BigInteger, nullable=True),  # counts once it is committed
    sa.Column("rejected", sa.BigInteger, nullable=True),
)

_COUNTS = (
    sa.select(
        score_parts.c.job_id,
        sa.func.count().label("parts"),
        sa.func.count(score_parts.c.scored).label("parts_done"),
        sa.func.coalesce(sa.func.sum(score_parts.c.scored), 0).label("scored"),
        sa.func.coalesce(sa.func.sum(score_parts.c.rejected), 0).label("rejected"),
    )
    .group_by(score_parts.c.job_id)
    .subquery()
)
_JOBS = sa.select(score_jobs, _COUNTS).outerjoin(_COUNTS, _COUNTS.c.job_id == score_jobs.c.id)


class JobStore:
    """Keep score jobs; any number of processes may use it at once."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def open(self, job: ScoreJob) -> ScoreJob:
        """Put a new job on record, or return the open one of the same request."""
        row = {name: value for name, value in asdict(job).items() if name in score_jobs.c} | {
            "open_request": job.request_digest,
            "layout": None,
        }
        with self._stores.facts.write() as connection:
            self._stores.facts.insert_missing(connection, score_jobs, [row])
        return self.unfinished(job.request_digest) or self.get(job.id)

    def unfinished(self, request_digest: str) -> ScoreJob | None:
        """Return the job of a request that is not done, or None."""
        return self._one(score_jobs.c.open_request == request_digest)

    def open_ids(self) -> set[str]:
        """Return the ids of the jobs that are not done."""
        query = sa.select(score_jobs.c.id).where(score_jobs.c.open_request.is_not(None))
        with self._stores.facts.read() as connection:
            return set(connection.execute(query).scalars())

    def finished(self, request_digest: str, *, version: int, content: str) -> ScoreJob | None:
        """Return a job that is done and asked the same of the same version and rows, or None."""
        c = score_jobs.c
        return self._one(
            (c.request_digest == request_digest) & (c.version == version) & (c.content == content) & (c.state == "done")
        )

    def is_done(self, request_digest: str) -> bool:
        """Say whether some job of a request is done, or was given up."""
        c = score_jobs.c
        query = sa.select(c.id).where(c.request_digest == request_digest, c.open_request.is_(None)).limit(1)
        with self._stores.facts.read() as connection:
            return connection.execute(query).first() is not None

    def get(self, job_id: str) -> ScoreJob:
        """Return a job by its id, or by what its id begins with.

        Raises:
            UnknownNameError: If there is none.
        """
        with self._stores.facts.read() as connection:
            rows = connection.execute(
                _JOBS.where(score_jobs.c.id.startswith(job_id, autoescape=True)).limit(2)
            ).mappings()
            found = [_job(row) for row in rows]
        if len(found) != 1:
            raise UnknownNameError("score job", job_id, [job.id for job in found or self.latest(limit=20)])
        return found[0]

    def latest(self, model: str | None = None, *, limit: int = 50) -> list[ScoreJob]:
        """Return jobs, the newest first."""
        query = _JOBS.order_by(score_jobs.c.at.desc(), score_jobs.c.id.desc()).limit(limit)
        if model is not None:
            query = query.where(score_jobs.c.model == model)
        with self._stores.facts.read() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def planned(
        self, job: ScoreJob, *, layout: Layout, content: str, parts: Sequence[ScorePart], refs: Sequence[Ref]
    ) -> ScoreJob:
        """Put the parts of a job on record: from here on it is running. Done again, it changes nothing."""
        rows = [{"job_id": job.id, "number": part.number, "part": asdict(part)} for part in parts]
        with self._stores.facts.write() as connection:
            changed = connection.execute(
                score_jobs.update()
                .where(score_jobs.c.id == job.id, score_jobs.c.state == "preparing")
                .values(
                    state="running",
                    layout=layout.to_json(),
                    content=content,
                    rows=sum(part.rows for part in parts),
                )
            )
            if changed.rowcount == 1:
                for first in range(0, len(rows), 500):
                    connection.execute(score_parts.insert(), rows[first : first + 500])
                for ref in refs:
                    self._stores.lineage.link(ref, job.ref, "scored", connection=connection)
        return self.get(job.id)

    def parts(self, job: ScoreJob, *, done: bool) -> list[ScorePart]:
        """Return the parts that are committed, or those that are not."""
        c = score_parts.c
        query = sa.select(c.part).where(c.job_id == job.id, c.scored.is_not(None) if done else c.scored.is_(None))
        with self._stores.facts.read() as connection:
            found = connection.execute(query.order_by(c.number)).scalars().all()
        return [ScorePart.from_json(one) for one in found]

    def counts(self, job: ScoreJob) -> dict[int, PartCounts]:
        """Return what became of the rows of each part that is committed."""
        c = score_parts.c
        query = sa.select(c.number, c.scored, c.rejected).where(c.job_id == job.id, c.scored.is_not(None))
        with self._stores.facts.read() as connection:
            return {row.number: PartCounts(row.scored, row.rejected) for row in connection.execute(query)}

    def committed(self, job: ScoreJob, number: int, counts: PartCounts) -> None:
        """Note that a part is committed."""
        this = (score_parts.c.job_id == job.id) & (score_parts.c.number == number)
        with self._stores.facts.write() as connection:
            connection.execute(score_parts.update().where(this).values(scored=counts.scored, rejected=counts.rejected))

    def finish(self, job: ScoreJob, at: datetime, result: dict[str, object]) -> ScoreJob:
        """Note that all parts are committed."""
        values = {"state": "done", "open_request": None, "finished_at": at, "result": result}
        with self._stores.facts.write() as connection:
            connection.execute(score_jobs.update().where(score_jobs.c.id == job.id).values(**values))
        return self.get(job.id)

    def cancel(self, job: ScoreJob, at: datetime) -> ScoreJob:
        """Give a job up that is not done: what it committed stays, and the same request makes a new one."""
        values = {"state": "cancelled", "open_request": None, "finished_at": at}
        this = (score_jobs.c.id == job.id) & (score_jobs.c.state != "done")
        with self._stores.facts.write() as connection:
            connection.execute(score_jobs.update().where(this).values(**values))
        return self.get(job.id)

    def forget(self, job: ScoreJob) -> None:
        """Take a job off the record whose rows nobody has begun to score."""
        with self._stores.facts.write() as connection:
            connection.execute(score_jobs.delete().where(score_jobs.c.id == job.id, score_jobs.c.state == "preparing"))

    def _one(self, condition: sa.ColumnElement[bool]) -> ScoreJob | None:
        query = _JOBS.where(condition).order_by(score_jobs.c.at.desc()).limit(1)
        with self._stores.facts.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _job(row)


def _job(row: sa.RowMapping) -> ScoreJob:
    values = {name: row[name] for name in row if name not in ("open_request", "job_id")}
    for name in ("parts", "parts_done", "scored", "rejected"):
        values[name] = int(values[name] or 0)
    layout = values.pop("layout")
    return ScoreJob(**values, layout=None if layout is None else Layout.from_json(layout))
