"""Which code this workspace vouches for.

Feature functions travel as pickled code, and so do models that no safe format holds: loading them runs what is
inside. Their digests are put on record here when this workspace packages them, or when a person vouches for an
import by name. Anything else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import UntrustedError
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from loopwright.core.storage.facts import Facts

trusted_digests = sa.Table(
    "trusted_digests",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("reason", sa.String(200), nullable=False),
    sa.Column("trusted_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class Vouched:
    """One digest on record: why, and since when."""

    digest: str
    reason: str
    trusted_at: datetime


def vouch(
    facts: Facts, connection: sa.Connection, digests: Iterable[str], *, reason: str, trusted_at: datetime
) -> None:
    """Put digests on record; one that is there already keeps its first reason."""
    rows: list[dict[str, object]] = [{"digest": d, "reason": reason, "trusted_at": trusted_at} for d in digests]
    if rows:
        facts.insert_missing(connection, trusted_digests, rows)


def vouched_for(facts: Facts, digests: Collection[str]) -> dict[str, Vouched]:
    """Give those of the digests that are on record."""
    table = trusted_digests
    with facts.read() as connection:
        rows = connection.execute(sa.select(table).where(table.c.digest.in_(list(digests)))).all()
    return {row.digest: Vouched(row.digest, row.reason, row.trusted_at) for row in rows}


def require_trust(facts: Facts, digests: Collection[str], *, what: str, trust: Collection[str] = ()) -> None:
    """Let code pass that is on record or named in `trust`.

    Raises:
        UntrustedError: When a digest is neither.
    """
    unknown = sorted(set(digests) - set(trust))
    if not unknown:
        return
    missing = [digest for digest in unknown if digest not in vouched_for(facts, unknown)]
    if missing:
        shown = ", ".join(f"{digest[:12]}…" for digest in missing)
        raise UntrustedError(
            f"{what} holds code that this workspace did not package and nobody vouched for ({shown}).",
            hint=f"If you know where it comes from, import it again with trust, or load it with trust={missing!r}.",
        )
