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
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import (
    AliasConflictError,
    DeclarationError,
    RefusedError,
    UnknownNameError,
)
from loopwright.core.ref import Ref
from loopwright.registry.passing import require_passing
from loopwright.registry.trail import AliasMove, aliases, append, last_move, moves_of, way_back
from loopwright.registry.version import model_versions

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores

CHAMPION = "champion"
CHALLENGER = "challenger"
ALIAS_NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")

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
            return append(
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
            moves = moves_of(connection, model, alias)
            path = way_back(moves)
            if len(path) < 2:
                raise RefusedError(
                    f"'{alias}' of '{model}' has no version to go back to.",
                    hint=f"It has pointed to: {', '.join(map(str, path)) or 'nothing'}.",
                )
            now = self._stores.clock.now()
            back = AliasMove(
                model, alias, 0, moves[-1].to_version, path[-2], now, named.by, None, named.reason, rollback=True
            )
            return append(connection, moves[-1], back)

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
            return append(connection, before, gone)

    def drop_challenger(self, connection: sa.Connection, model: str, version: int, *, by: str) -> AliasMove | None:
        """Remove ``challenger`` within the caller's transaction; None where it does not point to this version.

        Raises:
            AliasConflictError: When somebody moves it at the same moment; the caller's transaction is lost then.
        """
        last = last_move(connection, model, CHALLENGER)
        if last is None or last.to_version != version:
            return None
        gone = AliasMove(model, CHALLENGER, 0, version, None, self._stores.clock.now(), by)
        return append(connection, last, gone)

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
            return moves_of(connection, model, alias)


def _require_version(connection: sa.Connection, model: str, version: int) -> None:
    if connection.execute(_IS_VERSION, {"of_model": model, "of_version": version}).first() is None:
        table = model_versions
        query = sa.select(table.c.version).where((table.c.model == model) & table.c.archived_at.is_(None))
        known = connection.execute(query.order_by(table.c.version.desc()).limit(20)).scalars()
        raise UnknownNameError("model version", f"{model}/{version}", [f"{model}/{number}" for number in known])


def _expect(connection: sa.Connection, model: str, alias: str, expected: int | None) -> AliasMove | None:
    """Give the last move, if it ended where the caller expects."""
    last = last_move(connection, model, alias)
    points = None if last is None else last.to_version
    if points != expected:
        by = "" if last is None else f"; {last.moved_by} moved it at {last.moved_at:%Y-%m-%d %H:%M:%S} UTC"
        raise AliasConflictError(
            f"'{alias}' of '{model}' points to {_shown(points)}, not to {_shown(expected)}{by}.",
            hint="Look again at what it points to, and decide anew.",
        )
    return last


def _shown(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
