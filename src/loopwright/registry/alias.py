"""Aliases: movable names of versions, moved by compare-and-set, each move on record.

``champion`` is the version that answers. It moves only to a version with a passing verdict, or by an override that
carries a name and a reason. Every other alias (``challenger``, or a name of the user's) moves freely.

The audit trail is the truth: the moves of one alias are numbered 1, 2, 3 …, each begins where the one before it
ended, and the table of aliases is its last line. Any number of processes may move the same alias at once; of those
that expected the same version one succeeds, and the others are told what they lost to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from loopwright.core.errors import (
    AliasConflictError,
    DeclarationError,
    RefusedError,
    UnknownNameError,
)
from loopwright.core.lineage import Ref
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.registry.passing import require_passing
from loopwright.registry.version import model_versions

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.storage.stores import Stores

CHAMPION = "champion"
CHALLENGER = "challenger"
ALIAS_NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")

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
_IS_VERSION = sa.select(model_versions.c.version).where(
    (model_versions.c.model == sa.bindparam("of_model"))
    & (model_versions.c.version == sa.bindparam("of_version"))
    & model_versions.c.archived_at.is_(None)
)


@dataclass(frozen=True)
class Override:
    """A person's decision to move ``champion`` without a passing verdict.

    Raises:
        DeclarationError: When the name or the reason is empty.
    """

    by: str
    reason: str

    def __post_init__(self) -> None:
        if not self.by.strip() or not self.reason.strip():
            raise DeclarationError("an override needs a name and a reason; both are kept in the audit trail")


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


class Aliases:
    """Move and read the aliases of models.

    Args:
        stores: The stores of the workspace.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def move(
        self,
        model: str,
        alias: str,
        to_version: int,
        *,
        expected: int | None,
        by: str,
        verdict_id: str | None = None,
        override: Override | None = None,
    ) -> AliasMove:
        """Point an alias to a version, if it still points where the caller expects.

        Args:
            model: Name of the model.
            alias: The alias; it is made when it does not exist.
            to_version: Where it shall point.
            expected: Where it points now, to the caller's knowledge; None when it does not exist.
            by: Who moves it, for the audit trail.
            verdict_id: The passing verdict; without it, the newest verdict on the version counts.
            override: Moves ``champion`` without a passing verdict.

        Raises:
            AliasConflictError: When the alias points elsewhere than expected.
            GateRefusedError: When ``champion`` would move without a passing verdict or an override.
            UnknownNameError: When there is no such version, or it is archived.
        """
        if not ALIAS_NAME.fullmatch(alias) or alias == "latest":
            raise DeclarationError(
                f"the alias {alias!r} cannot be used: small letters, digits, '_' and '-', a letter first; not 'latest'"
            )
        with self._stores.facts.write() as connection:
            before = _expect(connection, model, alias, expected)
            _require_version(connection, model, to_version)
            if alias == CHAMPION and override is None:
                verdict_id = require_passing(
                    connection,
                    Ref("model", f"{model}/{to_version}"),
                    champion=None if expected is None else Ref("model", f"{model}/{expected}"),
                    verdict_id=verdict_id,
                )
            return self._append(
                connection,
                before,
                AliasMove(
                    model,
                    alias,
                    0,
                    expected,
                    to_version,
                    self._stores.clock.now(),
                    by if override is None else override.by,
                    verdict_id,
                    None if override is None else override.reason,
                ),
            )

    def rollback(self, model: str, *, by: str, reason: str, alias: str = CHAMPION) -> AliasMove:
        """Point an alias back to the version before the present one; called again, to the one before that.

        It needs no verdict: that version was let through before.

        Raises:
            RefusedError: When there is no version to go back to.
            DeclarationError: When the name or the reason is empty.
        """
        named = Override(by, reason)
        with self._stores.facts.write() as connection:
            moves = _moves(connection, model, alias)
            path = _path(moves)
            if len(path) < 2:
                raise RefusedError(
                    f"'{alias}' of '{model}' has no version to go back to.",
                    hint=f"It has pointed to: {', '.join(map(str, path)) or 'nothing'}.",
                )
            now = self._stores.clock.now()
            back = AliasMove(
                model, alias, 0, moves[-1].to_version, path[-2], now, named.by, None, named.reason, rollback=True
            )
            return self._append(connection, moves[-1], back)

    def drop(self, model: str, alias: str, *, expected: int, by: str) -> AliasMove:
        """Remove an alias, if it still points where the caller expects; its audit trail stays.

        Raises:
            AliasConflictError: When the alias points elsewhere than expected.
            RefusedError: When the alias is ``champion``: something has to answer.
        """
        if alias == CHAMPION:
            raise RefusedError("'champion' cannot be dropped.", hint="Move it to another version, or roll it back.")
        with self._stores.facts.write() as connection:
            before = _expect(connection, model, alias, expected)
            gone = AliasMove(model, alias, 0, expected, None, self._stores.clock.now(), by)
            return self._append(connection, before, gone)

    def current(self, model: str, alias: str = CHAMPION) -> int | None:
        """Give the version that an alias points to, or None."""
        query = sa.select(aliases.c.version).where((aliases.c.model == model) & (aliases.c.alias == alias))
        with self._stores.facts.read() as connection:
            return connection.execute(query).scalar_one_or_none()

    def of_model(self, model: str) -> dict[str, int]:
        """Give all aliases of a model and the versions they point to."""
        query = sa.select(aliases.c.alias, aliases.c.version).where(aliases.c.model == model).order_by(aliases.c.alias)
        with self._stores.facts.read() as connection:
            return {row.alias: row.version for row in connection.execute(query)}

    def history(self, model: str, alias: str = CHAMPION) -> list[AliasMove]:
        """Give the moves of an alias, oldest first."""
        with self._stores.facts.read() as connection:
            return _moves(connection, model, alias)

    def _append(self, connection: sa.Connection, before: AliasMove | None, move: AliasMove) -> AliasMove:
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


def _require_version(connection: sa.Connection, model: str, version: int) -> None:
    if connection.execute(_IS_VERSION, {"of_model": model, "of_version": version}).first() is None:
        table = model_versions
        query = sa.select(table.c.version).where((table.c.model == model) & table.c.archived_at.is_(None))
        known = connection.execute(query.order_by(table.c.version.desc()).limit(20)).scalars()
        raise UnknownNameError("model version", f"{model}/{version}", [f"{model}/{number}" for number in known])


def _expect(connection: sa.Connection, model: str, alias: str, expected: int | None) -> AliasMove | None:
    """Give the last move, if it ended where the caller expects."""
    last = _last(connection, model, alias)
    points = None if last is None else last.to_version
    if points != expected:
        by = "" if last is None else f"; {last.moved_by} moved it at {last.moved_at:%Y-%m-%d %H:%M:%S} UTC"
        raise AliasConflictError(
            f"'{alias}' of '{model}' points to {_shown(points)}, not to {_shown(expected)}{by}.",
            hint="Look again at what it points to, and decide anew.",
        )
    return last


def _last(connection: sa.Connection, model: str, alias: str) -> AliasMove | None:
    row = connection.execute(_LAST, {"of_model": model, "of_alias": alias}).one_or_none()
    return None if row is None else AliasMove(**row._mapping)  # noqa: SLF001  (SQLAlchemy's public name)


def _moves(connection: sa.Connection, model: str, alias: str) -> list[AliasMove]:
    rows = connection.execute(_TRAIL, {"of_model": model, "of_alias": alias})
    return [AliasMove(**row._mapping) for row in rows]  # noqa: SLF001  (SQLAlchemy's public name)


def _path(moves: list[AliasMove]) -> list[int]:
    """Give the versions an alias would go back through: a move adds one, a rollback takes the newest off."""
    path: list[int] = []
    for move in moves:
        if move.rollback:
            path.pop()
        elif move.to_version is not None and path[-1:] != [move.to_version]:
            path.append(move.to_version)
    return path


def _shown(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
