"""The facts of evaluation: what was measured, and what was concluded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.evaluation.evaluation import Evaluation
from loopwright.evaluation.verdict import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.ref import Ref
    from loopwright.core.storage.facts import Facts

evaluations = sa.Table(
    "evaluations",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("question", sa.String(64), nullable=False, unique=True),
    sa.Column("subject", sa.String(300), nullable=False),
    sa.Column("holdout", sa.String(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Index("ix_evaluations_subject", "subject"),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("question", sa.String(64), nullable=False, unique=True),
    sa.Column("subject", sa.String(300), nullable=False),
    sa.Column("champion", sa.String(300), nullable=True),
    sa.Column("holdout", sa.String(64), nullable=False),
    sa.Column("outcome", sa.String(24), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Index("ix_verdicts_subject", "subject"),
)


class EvaluationRecords:
    """Read and write evaluations and verdicts. A question that was answered is not answered twice."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def evaluation(self, question: str, *, connection: sa.Connection | None = None) -> Evaluation | None:
        """Find the evaluation that answered a question (a digest), if any."""
        row = self._one(sa.select(evaluations.c.document).where(evaluations.c.question == question), connection)
        return None if row is None else Evaluation.from_json(row.document)

    def evaluations(self, subject: Ref) -> list[Evaluation]:
        """List the evaluations of a subject, oldest first."""
        query = (
            sa.select(evaluations.c.document).where(evaluations.c.subject == str(subject)).order_by(evaluations.c.id)
        )
        with self._facts.read() as connection:
            return [Evaluation.from_json(row.document) for row in connection.execute(query)]

    def add_evaluation(
        self, evaluation: Evaluation, *, question: str, created_at: datetime, connection: sa.Connection
    ) -> None:
        """Write an evaluation within the caller's transaction."""
        connection.execute(
            evaluations.insert().values(
                id=evaluation.id,
                question=question,
                subject=evaluation.subject,
                holdout=evaluation.holdout,
                created_at=created_at,
                document=evaluation.to_json(),
            )
        )

    def verdict(self, question: str, *, connection: sa.Connection | None = None) -> Verdict | None:
        """Find the verdict that answered a question (a digest), if any."""
        row = self._one(sa.select(verdicts.c.document).where(verdicts.c.question == question), connection)
        return None if row is None else Verdict.from_json(row.document)

    def verdicts(self, subject: Ref) -> list[Verdict]:
        """List the verdicts about a subject, oldest first."""
        query = sa.select(verdicts.c.document).where(verdicts.c.subject == str(subject)).order_by(verdicts.c.id)
        with self._facts.read() as connection:
            return [Verdict.from_json(row.document) for row in connection.execute(query)]

    def add_verdict(self, verdict: Verdict, *, question: str, created_at: datetime, connection: sa.Connection) -> None:
        """Write a verdict within the caller's transaction."""
        connection.execute(
            verdicts.insert().values(
                id=verdict.id,
                question=question,
                subject=verdict.subject,
                champion=verdict.champion,
                holdout=verdict.holdout,
                outcome=verdict.outcome,
                created_at=created_at,
                document=verdict.to_json(),
            )
        )

    def passing_verdict(self, subject: Ref, *, champion: Ref | None = None) -> Verdict | None:
        """Find the latest verdict about a subject, if it is a pass.

        Args:
            subject: The challenger.
            champion: When given, only verdicts against this champion count.
        """
        query = sa.select(verdicts.c.document).where(verdicts.c.subject == str(subject))
        if champion is not None:
            query = query.where(verdicts.c.champion == str(champion))
        with self._facts.read() as connection:
            row = connection.execute(query.order_by(verdicts.c.id.desc()).limit(1)).one_or_none()
        verdict = None if row is None else Verdict.from_json(row.document)
        return verdict if verdict is not None and verdict.passed else None

    def _one(self, query: sa.Select[Any], connection: sa.Connection | None) -> sa.Row[Any] | None:
        if connection is not None:
            return connection.execute(query).one_or_none()
        with self._facts.read() as reading:
            return reading.execute(query).one_or_none()
