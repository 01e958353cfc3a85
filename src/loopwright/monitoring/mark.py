"""How far each stage of the monitor has come: one position per model and stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores

monitor_marks = sa.Table(
    "monitor_marks",
    metadata,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("stage", sa.String(60), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("moved_at", UtcDateTime, nullable=False),
)


class Mark:
    """The position of one stage: the last version of its input that is counted.

    Two monitors may do the same work at once; only the one that moves the mark from where it read it keeps its result.
    """

    def __init__(self, stores: Stores, model: str, stage: str) -> None:
        self._stores = stores
        self._model = model
        self._stage = stage

    def position(self) -> int:
        """Return the position, 0 at the start."""
        with self._stores.facts.read() as connection:
            return self._position(connection)

    def move(self, connection: sa.Connection, *, after: int, until: int) -> bool:
        """Move the mark in a write transaction; False if it is no longer at ``after``: somebody did the work."""
        if self._position(connection) != after:
            return False
        row: dict[str, object] = {
            "model": self._model,
            "stage": self._stage,
            "position": until,
            "moved_at": self._stores.clock.now(),
        }
        self._stores.facts.upsert(connection, monitor_marks, row)
        return True

    def _position(self, connection: sa.Connection) -> int:
        query = sa.select(monitor_marks.c.position).where(
            monitor_marks.c.model == self._model, monitor_marks.c.stage == self._stage
        )
        return int(connection.execute(query).scalar() or 0)
