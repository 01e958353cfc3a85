"""The audit trail of the aliases: each move a line, the lines of one alias numbered, each begun where the last ended.

The table of aliases is the last line of each, for quick reading. Both are only written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.errors import AliasConflictError
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from datetime import datetime

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("model", sa.String(120), primary_key=True),
    sa.Column("alias", sa.String(60), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("move", sa.Integer, nullable=False),
    sa.Column("moved_at", UtcDateTime, nullable=False),
)

alias_moves = sa.Table(
    "alias_moves",
    metadata,
    sa.Column("model", sa.String(120), primary_key=True),
    sa.Column("alias", sa.String(60), primary_key=True),
    sa.Column("move", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("from_version", sa.Integer),
    sa.Column("to_version", sa.Integer),
    sa.Column("moved_at", UtcDateTime, nullable=False),
    sa.Column("moved_by", sa.String(200), nullable=False),
    sa.Column("verdict_id", sa.String(64)),
    sa.Column("override_reason", sa.String(1000)),
    sa.Column("rollback", sa.Boolean, nullable=False),
)

# Built once: putting a statement together costs more than running it, and a move is made while others wait.
_this_move = (alias_moves.c.model == sa.bindparam("of_model")) & (alias_moves.c.alias == sa.bindparam("of_alias"))
_this_alias = (aliases.c.model == sa.bindparam("of_model")) & (aliases.c.alias == sa.bindparam("of_alias"))
_TRAIL = sa.select(alias_moves).where(_this_move).order_by(alias_moves.c.move)
_LAST = sa.select(alias_moves).where(_this_move).order_by(alias_moves.c.move.desc()).limit(1)
_RECORD = alias_moves.insert()
_POINTS: dict[str, Any] = {name: sa.bindparam(name) for name in ("version", "move", "moved_at")}
_POINT = aliases.update().where(_this_alias).values(_POINTS)
_MAKE = aliases.insert().values({**_POINTS, "model": sa.bindparam("of_model"), "alias": sa.bindparam("of_alias")})
_DROP = aliases.delete().where(_this_alias)


@dataclass(frozen=True)
class AliasMove:
    """One line of the audit trail.

    Attributes:
        model: Name of the model.
        alias: The alias.
        move: 1, 2, 3 … within the alias.
        from_version: Where it pointed before; None when it did not exist.
        to_version: Where it points now; None when it was dropped.
        moved_at: When.
        moved_by: Who: a person or a part of the loop.
        verdict_id: The passing verdict that allowed it.
        override_reason: Why it was allowed without one, or why it was rolled back.
        rollback: Whether it went back to what the alias pointed to before.
    """

    model: str
    alias: str
    move: int
    from_version: int | None
    to_version: int | None
    moved_at: datetime
    moved_by: str
    verdict_id: str | None = None
    override_reason: str | None = None
    rollback: bool = False


def append(connection: sa.Connection, before: AliasMove | None, move: AliasMove) -> AliasMove:
    """Write the next line of the trail after `before`, and let the alias point where it ends.

    Raises:
        AliasConflictError: When another writer wrote that line first.
    """
    number = 1 if before is None else before.move + 1
    values: dict[str, Any] = {**vars(move), "move": number}
    try:
        connection.execute(_RECORD, values)
    except sa.exc.IntegrityError as error:  # PostgreSQL: two writers side by side, and the other was first
        raise AliasConflictError(
            f"'{move.alias}' of '{move.model}' was moved by someone else at the same time.",
            hint="Look again at what it points to, and decide anew.",
        ) from error
    points: dict[str, object] = {"of_model": move.model, "of_alias": move.alias}
    if move.to_version is None:
        connection.execute(_DROP, points)
    else:
        points |= {"version": move.to_version, "move": number, "moved_at": move.moved_at}
        if connection.execute(_POINT, points).rowcount == 0:
            connection.execute(_MAKE, points)
    return AliasMove(**values)


def last_move(connection: sa.Connection, model: str, alias: str) -> AliasMove | None:
    """Give the newest line of an alias, or None."""
    row = connection.execute(_LAST, {"of_model": model, "of_alias": alias}).one_or_none()
    return None if row is None else AliasMove(**row._mapping)  # noqa: SLF001  (SQLAlchemy's public name)


def moves_of(connection: sa.Connection, model: str, alias: str) -> list[AliasMove]:
    """Give the lines of an alias, oldest first."""
    rows = connection.execute(_TRAIL, {"of_model": model, "of_alias": alias})
    return [AliasMove(**row._mapping) for row in rows]  # noqa: SLF001  (SQLAlchemy's public name)


def way_back(moves: list[AliasMove]) -> list[int]:
    """Give the versions an alias would go back through: a move adds one, a rollback takes the newest off."""
    path: list[int] = []
    for move in moves:
        if move.rollback:
            path.pop()
        elif move.to_version is not None and path[-1:] != [move.to_version]:
            path.append(move.to_version)
    return path
