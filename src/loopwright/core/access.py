"""Who may see and do what: tokens, each with a role, and the record of sensitive values that left.

As long as no token was made, whoever can open the workspace's files is its admin: one person on one machine. The first
token turns access control on: from then on the command line and the server ask for one. A token is shown once; the
facts keep its SHA-256.

::

    viewer      figures, lineage, predictions; sensitive values are hidden
    operator    rows with their sensitive values (each reading is on record), pushing rows and outcomes
    admin       tokens, erasing
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import sqlalchemy as sa

from loopwright.core.errors import AccessDeniedError, DeclarationError, UnknownNameError
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.core.storage.facts import Facts

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
_PREFIX = "lw_"

access_tokens = sa.Table(
    "access_tokens",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("role", sa.String(12), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.UniqueConstraint("digest", name="uq_access_tokens_digest"),
)

sensitive_reads = sa.Table(
    "sensitive_reads",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("reader", sa.String(120), nullable=False),
    sa.Column("role", sa.String(12), nullable=False),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("columns", sa.JSON, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Index("ix_sensitive_reads_at", "at"),
)


@dataclass(frozen=True)
class Principal:
    """Who asks, and what they may do."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Tell whether this role includes another.

        >>> Principal("ada", "operator").may("viewer")
        True
        """
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class AccessToken:
    """A token on record; the secret itself is not."""

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class SensitiveRead:
    """Sensitive values that left the workspace: when, to whom, of which columns, how many rows, and what for."""

    at: datetime
    reader: str
    role: Role
    dataset: str
    columns: tuple[str, ...]
    rows: int
    purpose: str


class Access:
    """Tokens, roles and the audit trail of one workspace.

    Args:
        facts: Where they are kept.
        clock: The time.
        ids: New ids.
    """

    def __init__(self, facts: Facts, clock: Clock, ids: Ids) -> None:
        self._facts = facts
        self._clock = clock
        self._ids = ids

    def create(self, name: str, role: Role, *, expires_in: timedelta | None = None) -> str:
        """Make a token and return its secret, which is not kept and cannot be shown again.

        Raises:
            DeclarationError: If the role is unknown, the name is empty, or the first token is not an admin's: nobody
                could make another.
        """
        if role not in ROLES:
            unknown = UnknownNameError("role", str(role), ROLES)
            raise DeclarationError(unknown.message, hint=unknown.hint)
        if not name.strip():
            raise DeclarationError("A token needs a name.", hint="Name who or what will use it.")
        if role != "admin" and not self.is_on:
            raise DeclarationError(
                "The first token turns access control on and must be an admin's.",
                hint="Make one with the role admin, then the others.",
            )
        secret = _PREFIX + secrets.token_urlsafe(32)
        now = self._clock.now()
        with self._facts.write() as connection:
            connection.execute(
                access_tokens.insert().values(
                    id=self._ids.new(),
                    name=name.strip(),
                    role=role,
                    digest=_digest(secret),
                    created_at=now,
                    expires_at=None if expires_in is None else now + expires_in,
                )
            )
        return secret

    def revoke(self, name: str) -> int:
        """End the tokens of a name and return how many there were.

        Raises:
            UnknownNameError: If no token in use has the name.
            DeclarationError: If no admin's token would be left while others are.
        """
        alive = [token for token in self.tokens() if self._is_alive(token)]
        if name not in {token.name for token in alive}:
            raise UnknownNameError("token", name, sorted({token.name for token in alive}))
        left = [token for token in alive if token.name != name]
        if left and not any(token.role == "admin" for token in left):
            raise DeclarationError(
                f"'{name}' is the last admin, and other tokens are in use.",
                hint="Revoke those first, or make another admin.",
            )
        with self._facts.write() as connection:
            done = connection.execute(
                access_tokens.update()
                .where(access_tokens.c.name == name, access_tokens.c.revoked_at.is_(None))
                .values(revoked_at=self._clock.now())
            )
        return int(done.rowcount)

    def tokens(self) -> list[AccessToken]:
        """Return all tokens, the oldest first."""
        c = access_tokens.c
        query = sa.select(c.id, c.name, c.role, c.created_at, c.expires_at, c.revoked_at).order_by(c.created_at, c.id)
        with self._facts.read() as connection:
            return [AccessToken(*row) for row in connection.execute(query)]

    @property
    def is_on(self) -> bool:
        """Whether a token is needed: some token is in use."""
        return any(self._is_alive(token) for token in self.tokens())

    def principal(self, secret: str | None, *, local: str = "local") -> Principal:
        """Say who presents a secret; where no token is in use, whoever asks is the admin.

        Raises:
            AccessDeniedError: If a token is needed, and this is none, or one that ended.
        """
        if not self.is_on:
            return Principal(local, "admin")
        found = None if secret is None else self.find(secret)
        if found is None:
            what = "No token was given" if secret is None else "The token is not known, was revoked, or has expired"
            raise AccessDeniedError(f"{what}.", hint="Set LOOPWRIGHT_ACCESS_TOKEN; an admin makes tokens.")
        return found

    def find(self, secret: str) -> Principal | None:
        """Return who a secret belongs to, or None."""
        c = access_tokens.c
        query = sa.select(c.id, c.name, c.role, c.created_at, c.expires_at, c.revoked_at).where(
            c.digest == _digest(secret)
        )
        with self._facts.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not self._is_alive(token := AccessToken(*row)):
            return None
        return Principal(token.name, token.role)

    def note_read(self, principal: Principal, *, dataset: str, columns: Sequence[str], rows: int, purpose: str) -> None:
        """Put on record that sensitive values are about to leave."""
        with self._facts.write() as connection:
            connection.execute(
                sensitive_reads.insert().values(
                    id=self._ids.new(),
                    at=self._clock.now(),
                    reader=principal.name,
                    role=principal.role,
                    dataset=dataset,
                    columns=list(columns),
                    rows=rows,
                    purpose=purpose,
                )
            )

    def reads(self, *, dataset: str | None = None, limit: int = 100) -> list[SensitiveRead]:
        """Return the readings of sensitive values, the newest first."""
        c = sensitive_reads.c
        query = sa.select(c.at, c.reader, c.role, c.dataset, c.columns, c.rows, c.purpose)
        if dataset is not None:
            query = query.where(c.dataset == dataset)
        with self._facts.read() as connection:
            rows = connection.execute(query.order_by(c.at.desc(), c.id.desc()).limit(limit)).all()
        return [SensitiveRead(r.at, r.reader, r.role, r.dataset, tuple(r.columns), r.rows, r.purpose) for r in rows]

    def _is_alive(self, token: AccessToken) -> bool:
        return token.revoked_at is None and (token.expires_at is None or token.expires_at > self._clock.now())


def require(principal: Principal, role: Role, action: str) -> None:
    """Let pass who has a role.

    Raises:
        AccessDeniedError: If the role does not include it.
    """
    if not principal.may(role):
        raise AccessDeniedError(
            f"{principal.name} is {principal.role}, and {action} needs {role}.",
            hint=f"Use a token with the role {role}.",
        )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
