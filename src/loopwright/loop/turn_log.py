"""The record of turns: what began each, its steps with what they made, and how it ended.

A step is named by the key of all that it depends on. A finished step with the same key is never done again: neither
when a killed turn is resumed, nor by a later turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from loopwright.core.errors import UnknownNameError
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.storage.stores import Stores

TurnStatus = Literal["running", "finished", "failed"]
StepStatus = Literal["running", "finished", "reused", "failed"]
Output = dict[str, object]

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("loop", sa.String(120), nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("cause", sa.JSON, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("outcome", sa.JSON, nullable=False),
    sa.Index("ix_turns_loop_started_at", "loop", "started_at"),
)
turn_steps = sa.Table(
    "turn_steps",
    metadata,
    sa.Column("turn_id", sa.String(36), sa.ForeignKey("turns.id"), primary_key=True),
    sa.Column("name", sa.String(160), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("key", sa.String(64)),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("output", sa.JSON, nullable=False),
    sa.Column("error", sa.Text),
    sa.Index("ix_turn_steps_name_key", "name", "key"),
)


@dataclass(frozen=True)
class Cause:
    """What began a turn: ``"manual"``, or the trigger, with the signals it answers.

    ``text`` says it in words.
    """

    trigger: str
    text: str
    signals: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the cause as JSON values."""
        return {"trigger": self.trigger, "text": self.text, "signals": list(self.signals)}

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Cause:
        """Read what ``to_json`` wrote."""
        signals = value["signals"]
        return cls(str(value["trigger"]), str(value["text"]), tuple(signals) if isinstance(signals, list) else ())


MANUAL = Cause("manual", "asked for by hand")


@dataclass(frozen=True)
class StepRecord:
    """One step of a turn."""

    turn_id: str
    name: str
    key: str | None
    status: StepStatus
    started_at: datetime
    finished_at: datetime | None
    output: Output
    error: str | None


@dataclass(frozen=True)
class TurnRecord:
    """One time round the loop."""

    id: str
    loop: str
    models: tuple[str, ...]
    cause: Cause
    status: TurnStatus
    started_at: datetime
    finished_at: datetime | None
    outcome: Output


class TurnLog:
    """Reads and writes the record of turns."""

    def __init__(self, stores: Stores) -> None:
        self._facts = stores.facts
        self._clock = stores.clock
        self._ids = stores.ids

    def begin(self, loop: str, models: tuple[str, ...], cause: Cause) -> TurnRecord:
        """Record a new turn as running, or return the unfinished one of a process that died.

        The caller holds the turn lock, so an unfinished turn has no living process.
        """
        with self._facts.write() as connection:
            row = connection.execute(
                sa.select(turns).where(turns.c.loop == loop, turns.c.status == "running").order_by(turns.c.started_at)
            ).first()
            if row is not None:
                return _turn(row)
            record = TurnRecord(self._ids.new(), loop, models, cause, "running", self._clock.now(), None, {})
            values = {**vars(record), "models": list(models), "cause": cause.to_json()}
            connection.execute(sa.insert(turns).values(values))
        return record

    def finish(self, turn_id: str, status: TurnStatus, outcome: Output) -> None:
        """Record how a turn ended."""
        with self._facts.write() as connection:
            connection.execute(
                sa.update(turns)
                .where(turns.c.id == turn_id)
                .values(status=status, outcome=outcome, finished_at=self._clock.now())
            )

    def finished_step(self, turn_id: str, name: str, key: str | None) -> StepRecord | None:
        """Return a finished step with this key: of this turn, or, where it has a key, of any turn."""
        done = turn_steps.c.status.in_(("finished", "reused"))
        same = sa.and_(turn_steps.c.turn_id == turn_id, turn_steps.c.name == name)
        if key is not None:
            same = sa.and_(turn_steps.c.name == name, turn_steps.c.key == key)
        query = sa.select(turn_steps).where(done, same).order_by(turn_steps.c.finished_at.desc()).limit(1)
        with self._facts.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _step(row)

    def start_step(self, turn_id: str, name: str, key: str | None) -> None:
        """Record that a step runs."""
        self._put(turn_id, name, key, "running")

    def end_step(
        self, turn_id: str, name: str, key: str | None, status: StepStatus, *, output: Output, error: str | None = None
    ) -> None:
        """Record how a step ended and what it made; what it made is visible from then on."""
        self._put(turn_id, name, key, status, output=output, error=error)

    def latest(self, loop: str, *, limit: int = 50) -> list[TurnRecord]:
        """Return the latest turns, newest first."""
        query = sa.select(turns).where(turns.c.loop == loop).order_by(turns.c.started_at.desc(), turns.c.id.desc())
        with self._facts.read() as connection:
            return [_turn(row) for row in connection.execute(query.limit(limit))]

    def get(self, turn_id: str) -> TurnRecord:
        """Return one turn.

        Raises:
            UnknownNameError: If there is none with this id.
        """
        with self._facts.read() as connection:
            row = connection.execute(sa.select(turns).where(turns.c.id == turn_id)).first()
        if row is None:
            raise UnknownNameError("turn", turn_id)
        return _turn(row)

    def steps(self, turn_id: str) -> list[StepRecord]:
        """Return the steps of a turn, in order."""
        query = sa.select(turn_steps).where(turn_steps.c.turn_id == turn_id).order_by(turn_steps.c.position)
        with self._facts.read() as connection:
            return [_step(row) for row in connection.execute(query)]

    def _put(
        self,
        turn_id: str,
        name: str,
        key: str | None,
        status: StepStatus,
        *,
        output: Output | None = None,
        error: str | None = None,
    ) -> None:
        now = self._clock.now()
        values: dict[str, object] = {"key": key, "status": status, "output": output or {}, "error": error}
        if status == "running":  # also where a killed or failed attempt left its times
            values |= {"started_at": now, "finished_at": None}
        else:
            values["finished_at"] = now
        this = sa.and_(turn_steps.c.turn_id == turn_id, turn_steps.c.name == name)
        with self._facts.write() as connection:
            if connection.execute(sa.update(turn_steps).where(this).values(values)).rowcount:
                return
            before = sa.select(sa.func.count()).select_from(turn_steps).where(turn_steps.c.turn_id == turn_id)
            first = {"turn_id": turn_id, "name": name, "position": before.scalar_subquery(), "started_at": now}
            connection.execute(sa.insert(turn_steps).values(first | values))


def _turn(row: sa.Row[tuple[object, ...]]) -> TurnRecord:
    return TurnRecord(
        id=row.id,
        loop=row.loop,
        models=tuple(row.models),
        cause=Cause.from_json(row.cause),
        status=row.status,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=row.outcome,
    )


def _step(row: sa.Row[tuple[object, ...]]) -> StepRecord:
    return StepRecord(
        turn_id=row.turn_id,
        name=row.name,
        key=row.key,
        status=row.status,
        started_at=row.started_at,
        finished_at=row.finished_at,
        output=row.output,
        error=row.error,
    )
