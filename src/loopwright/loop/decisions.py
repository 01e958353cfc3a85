"""Decisions on record: what the policy concluded, what a person answered, and which turn came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from loopwright.core.errors import RefusedError, UnknownNameError
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.storage.stores import Stores
    from loopwright.loop.policy import Decision

DecisionStatus = Literal["waiting", "approved", "declined", "turned"]

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("loop", sa.String(120), nullable=False),
    sa.Column("model", sa.String(120), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("trigger", sa.String(60), nullable=False),
    sa.Column("signals", sa.JSON, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.Column("answered_by", sa.String(120)),
    sa.Column("answered_at", UtcDateTime),
    sa.Column("turn_id", sa.String(36)),
    sa.Index("ix_decisions_model_decided_at", "model", "decided_at"),
)


@dataclass(frozen=True)
class DecisionRecord:
    """One decision to turn the loop again: waiting for a person, approved, declined, or turned."""

    id: str
    loop: str
    model: str
    text: str
    trigger: str
    signals: tuple[str, ...]
    status: DecisionStatus
    decided_at: datetime
    answered_by: str | None
    answered_at: datetime | None
    turn_id: str | None


class DecisionLog:
    """Reads and writes decisions that ask for a turn."""

    def __init__(self, stores: Stores) -> None:
        self._facts = stores.facts
        self._clock = stores.clock
        self._ids = stores.ids

    def record(self, loop: str, model: str, decision: Decision) -> DecisionRecord:
        """Record a decision: as waiting where it proposes, as approved by the policy where it starts."""
        starts = decision.action == "start"
        now = self._clock.now()
        record = DecisionRecord(
            id=self._ids.new(),
            loop=loop,
            model=model,
            text=decision.text,
            trigger="+".join(dict.fromkeys(reason.trigger for reason in decision.reasons)),
            signals=tuple(dict.fromkeys(signal for reason in decision.reasons for signal in reason.signals)),
            status="approved" if starts else "waiting",
            decided_at=now,
            answered_by="policy" if starts else None,
            answered_at=now if starts else None,
            turn_id=None,
        )
        with self._facts.write() as connection:
            connection.execute(sa.insert(decisions).values({**vars(record), "signals": list(record.signals)}))
        return record

    def answer(self, decision_id: str, *, approve: bool, by: str) -> DecisionRecord:
        """Approve or decline a waiting decision.

        Raises:
            UnknownNameError: If there is no such decision.
            RefusedError: If it was answered before.
        """
        status: DecisionStatus = "approved" if approve else "declined"
        with self._facts.write() as connection:
            row = connection.execute(sa.select(decisions).where(decisions.c.id == decision_id)).first()
            if row is None:
                raise UnknownNameError("decision", decision_id)
            if row.status != "waiting":
                raise RefusedError(
                    f"The decision {decision_id} is {row.status} already.", hint="Nothing is left to do."
                )
            connection.execute(
                sa.update(decisions)
                .where(decisions.c.id == decision_id)
                .values(status=status, answered_by=by, answered_at=self._clock.now())
            )
        return self.get(decision_id)

    def turned(self, decision_id: str, turn_id: str) -> None:
        """Record which turn a decision led to.

        Raises:
            UnknownNameError: If there is no such decision.
        """
        change = sa.update(decisions).where(decisions.c.id == decision_id).values(status="turned", turn_id=turn_id)
        with self._facts.write() as connection:
            if not connection.execute(change).rowcount:
                raise UnknownNameError("decision", decision_id)

    def get(self, decision_id: str) -> DecisionRecord:
        """Return one decision.

        Raises:
            UnknownNameError: If there is none with this id.
        """
        with self._facts.read() as connection:
            row = connection.execute(sa.select(decisions).where(decisions.c.id == decision_id)).first()
        if row is None:
            raise UnknownNameError("decision", decision_id)
        return _record(row)

    def list(
        self, loop: str, *, model: str | None = None, status: DecisionStatus | None = None, limit: int = 100
    ) -> list[DecisionRecord]:
        """Return decisions, newest first."""
        query = sa.select(decisions).where(decisions.c.loop == loop)
        query = query.order_by(decisions.c.decided_at.desc(), decisions.c.id.desc())
        if model is not None:
            query = query.where(decisions.c.model == model)
        if status is not None:
            query = query.where(decisions.c.status == status)
        with self._facts.read() as connection:
            return [_record(row) for row in connection.execute(query.limit(limit))]


def _record(row: sa.Row[tuple[object, ...]]) -> DecisionRecord:
    return DecisionRecord(**{**row._asdict(), "signals": tuple(row.signals)})
