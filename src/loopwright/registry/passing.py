"""Ask evaluation's record whether a version has a passing verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import GateRefusedError
from loopwright.evaluation.records import verdicts

if TYPE_CHECKING:
    from loopwright.core.ref import Ref


def require_passing(
    connection: sa.Connection, subject: Ref, *, champion: Ref | None, verdict_id: str | None = None
) -> str:
    """Give the id of the verdict that lets a version become champion.

    Args:
        connection: The transaction in which the alias moves.
        subject: The version, such as ``model:eta/3``.
        champion: The version that is champion now, if any: a verdict against another one says nothing about it.
        verdict_id: The verdict to look at; without it, the newest one on the version.

    Raises:
        GateRefusedError: When there is none, it did not pass, or it was reached against another champion.
    """
    table = verdicts
    query = sa.select(table.c.id, table.c.outcome, table.c.champion).where(table.c.subject == str(subject))
    if verdict_id is not None:
        query = query.where(table.c.id == verdict_id)
    row = connection.execute(query.order_by(table.c.id.desc()).limit(1)).first()
    if row is None:
        said = "it has no verdict" if verdict_id is None else f"there is no verdict {verdict_id} on it"
    elif row.outcome != "pass":
        said = f"its verdict is '{row.outcome.replace('_', ' ')}' ({row.id})"
    elif row.champion is not None and row.champion != str(champion):
        now = "there is none now" if champion is None else f"that is {champion.id} now"
        said = f"its verdict was reached against {row.champion.removeprefix('model:')} as champion, and {now}"
    else:
        return str(row.id)
    raise GateRefusedError(
        f"{subject.id} cannot become champion: {said}.",
        hint=f"A person may decide otherwise: loopwright models promote {subject.id} --override 'the reason'.",
    )
