"""Something that monitoring saw, with its evidence and its certainty.

The loop reads signals from here and decides; monitoring itself decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import sqlalchemy as sa

from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from loopwright.core.storage.stores import Stores

Dimension: TypeAlias = Literal["system", "model", "data", "business"]
Severity: TypeAlias = Literal["page", "ticket", "note"]
SEVERITY_RANK: Final[dict[Severity, int]] = {"note": 0, "ticket": 1, "page": 2}

signals = sa.Table(
    "signals",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("occasion", sa.String(400), nullable=False, unique=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(200), nullable=False),
    sa.Column("dimension", sa.String(20), nullable=False),
    sa.Column("check", sa.String(120), nullable=False),
    sa.Column("severity", sa.String(10), nullable=False),
    sa.Column("value", sa.Float, nullable=True),
    sa.Column("threshold", sa.Float, nullable=True),
    sa.Column("certainty", sa.JSON, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("window", sa.String(120), nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_signals_model", "model", "created_at"),
)


@dataclass(frozen=True)
class Signal:
    """One thing that monitoring saw.

    Attributes:
        id: UUIDv7; ids sort in the order in which signals were made.
        model: The model watched.
        version: The model version that answered, such as ``"eta/3"``; empty where a signal is about no version.
        dimension: Which of the four kinds of health it is about.
        check: The check that saw it: ``"drift"``, ``"loss"``, ``"latency"``, ``"errors"``, ``"kpi:<name>"``,
            ``"monitor:<stage>"``.
        severity: ``page`` wakes somebody, ``ticket`` opens an incident, ``note`` is for the record.
        value: The number seen.
        threshold: The bound it was held against.
        certainty: How sure: ``{"p": …}``, ``{"e": …}``, ``{"rows_per_false_alarm": …}`` or a confidence interval.
        rows: How many rows it rests on.
        window: The rows or the time it is about.
        evidence: What a person needs to believe it, as JSON.
        created_at: When it was seen.
    """

    id: str
    model: str
    version: str
    dimension: Dimension
    check: str
    severity: Severity
    value: float | None
    threshold: float | None
    certainty: Mapping[str, float]
    rows: int
    window: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    created_at: datetime | None = None

    @property
    def occasion(self) -> str:
        """Name what the signal is about; a second signal on the same occasion is the same signal."""
        return f"{self.model}|{self.version}|{self.check}|{self.severity}|{self.window}"


class Signals:
    """The signals seen so far, in order."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def add(self, connection: sa.Connection, signal: Signal) -> bool:
        """Record a signal inside the transaction of ``connection``; False if this occasion is on record already."""
        known = connection.execute(sa.select(signals.c.id).where(signals.c.occasion == signal.occasion)).first()
        if known is not None:
            return False
        values = {column.name: getattr(signal, column.name) for column in signals.columns}
        values["certainty"], values["evidence"] = dict(signal.certainty), dict(signal.evidence)
        values["created_at"] = signal.created_at or self._stores.clock.now()
        connection.execute(sa.insert(signals).values(**values))
        return True

    def list(
        self, model: str | None = None, *, after: str | None = None, check: str | None = None, limit: int = 1000
    ) -> list[Signal]:
        """Return signals, oldest first: of one model, of one check, or the first ones with ids behind ``after``.

        Without ``after`` the newest ``limit`` ones.
        """
        query = sa.select(signals).limit(limit).order_by(signals.c.id if after else signals.c.id.desc())
        if model is not None:
            query = query.where(signals.c.model == model)
        if check is not None:
            query = query.where(signals.c.check == check)
        if after is not None:
            query = query.where(signals.c.id > after)
        with self._stores.facts.read() as connection:
            found = [_signal(row) for row in connection.execute(query)]
        return found if after else found[::-1]

    def get(self, signal_id: str) -> Signal | None:
        """Return one signal, or None."""
        with self._stores.facts.read() as connection:
            row = connection.execute(sa.select(signals).where(signals.c.id == signal_id)).first()
        return None if row is None else _signal(row)


def _signal(row: sa.Row[tuple[object, ...]]) -> Signal:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values.pop("occasion")
    return Signal(**values)
