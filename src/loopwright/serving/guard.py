"""Who may ask what of the server: bearer tokens, and the role that each path needs.

The token of the server's settings may do everything. Tokens on record have a role: a viewer reads and asks for
predictions; pushing rows and outcomes takes an operator. Where no token is in use, everybody may (the server then
listens on the loopback address only).
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from loopwright.core.errors import ForbiddenRequestError, UnauthorizedRequestError

if TYPE_CHECKING:
    from loopwright.core.access import Access, Principal, Role
    from loopwright.core.clock import Clock
    from loopwright.serving.http.message import HttpRequest

REMEMBERED_S = 5.0  # how long what the record says of a token is believed
_KEPT = 10_000
_OPERATOR_PATHS = ("/ingest/", "/outcomes")


class Guard:
    """Lets requests pass, or says why not.

    Args:
        tokens: Secrets that may do everything.
        access: The tokens on record.
        clock: Ages what is remembered.
    """

    def __init__(self, tokens: tuple[str, ...], access: Access, *, clock: Clock) -> None:
        self._tokens = tuple(token.encode() for token in tokens)
        self._access = access
        self._clock = clock
        self._read_at = float("-inf")
        self._is_on = False
        self._known: dict[str, Principal | None] = {}

    @property
    def is_on(self) -> bool:
        """Whether a token is needed."""
        self._refresh()
        return bool(self._tokens) or self._is_on

    def check(self, request: HttpRequest) -> None:
        """Let a request pass.

        Raises:
            UnauthorizedRequestError: If it has no valid token, where one is needed.
            ForbiddenRequestError: If the token's role does not include what is asked.
        """
        if self.is_on:
            needed: Role = "operator" if request.path.startswith(_OPERATOR_PATHS) else "viewer"
            self.admit(request.header(b"authorization"), needs=needed, asked=request.path)

    def admit(self, authorization: str | None, *, needs: Role, asked: str) -> None:
        """Let the bearer of a token pass.

        Args:
            authorization: ``Bearer <token>``, or None.
            needs: The role that takes.
            asked: What is asked for, for the message.

        Raises:
            UnauthorizedRequestError: If it is no valid token, where one is needed.
            ForbiddenRequestError: If the token's role does not include what is asked.
        """
        if not self.is_on:
            return
        scheme, _, token = (authorization or "").partition(" ")
        secret = token.strip()
        presented = secret.encode("latin-1", "replace")
        if scheme.lower() != "bearer":
            raise _unauthorized()
        if any(hmac.compare_digest(presented, known) for known in self._tokens):
            return
        found = self._principal(secret)
        if found is None:
            raise _unauthorized()
        if not found.may(needs):
            raise ForbiddenRequestError(
                f"{found.name} is {found.role}, and {asked} needs {needs}.", hint="Use another token."
            )

    def _principal(self, secret: str) -> Principal | None:
        if secret not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[secret] = self._access.find(secret)
        return self._known[secret]

    def _refresh(self) -> None:
        now = self._clock.monotonic()
        if now - self._read_at >= REMEMBERED_S:
            self._is_on = self._access.is_on
            self._known.clear()
            self._read_at = now


def _unauthorized() -> UnauthorizedRequestError:
    return UnauthorizedRequestError("A valid token is needed.", hint="Send Authorization: Bearer <token>.")
