"""Ask evaluation's record whether a version has a passing verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from loopwright.core.errors import GateRefusedError

if TYPE_CHECKING:
    from loopwright.core.lineage import Ref

verdicts = sa.table("verdicts", sa.column("id"), sa.column("subject"), sa.column("outcome"), sa.column("decided_at"))
ALLOWS: Final = "pass"


def require_passing(connection: sa.Connection, subject: Ref, *, verdict_id: str | None = None) -> str:
    """Give the id of the verdict that lets a version become champion.

    Args:
        connection: The transaction in which the alias moves.
        subject: The version, such as ``model:eta/3``.
        verdict_id: The verdict to look at; without it, the newest one on the version.

    Raises:
        GateRefusedError: When there is none, or it did not pass.
    """
    query = sa.select(verdicts).where(verdicts.c.subject == str(subject))
    if verdict_id is not None:
        query = query.where(verdicts.c.id == verdict_id)
    row = connection.execute(query.order_by(verdicts.c.decided_at.desc(), verdicts.c.id.desc()).limit(1)).first()
    if row is not None and row.outcome == ALLOWS:
        return str(row.id)
    said = "has no verdict" if row is None else f"has the verdict '{row.outcome}' ({row.id})"
    raise GateRefusedError(
        f"{subject.id} cannot become champion: it {said}, and only a passing one allows it.",
        hint="Evaluate it against its gates, or promote it with an override that names you and your reason.",
    )
