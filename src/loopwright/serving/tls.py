"""The files that let a server speak TLS: a certificate with its chain, and its key."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypedDict

from loopwright.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HANDSHAKE_TIMEOUT_S = 10.0  # who connects and says nothing does not stay
_SHUTDOWN_TIMEOUT_S = 5.0
_HINT = "[serving] tls_certificate and tls_key are PEM files: the certificate with its chain, and its key."


class TlsArguments(TypedDict, total=False):
    """What an event loop's ``create_server`` and ``connect_accepted_socket`` take for TLS."""

    ssl: ssl.SSLContext
    ssl_handshake_timeout: float
    ssl_shutdown_timeout: float


def tls_arguments(context: ssl.SSLContext | None) -> TlsArguments:
    """Return how an event loop speaks TLS; nothing for none."""
    if context is None:
        return {}
    return {
        "ssl": context,
        "ssl_handshake_timeout": _HANDSHAKE_TIMEOUT_S,
        "ssl_shutdown_timeout": _SHUTDOWN_TIMEOUT_S,
    }


@dataclass(frozen=True)
class TlsFiles:
    """Where a server's certificate and key are; read when a process begins to listen.

    Attributes:
        certificate: PEM: the certificate, then those that vouch for it.
        key: PEM: its private key, not encrypted.
    """

    certificate: Path
    key: Path

    @classmethod
    def of(cls, certificate: str | None, key: str | None, *, project: Path) -> TlsFiles | None:
        """Return the files that the settings name, relative to the project's folder; None where they name none.

        Raises:
            SettingsError: When only one is named.
        """
        if not certificate and not key:
            return None
        if not certificate or not key:
            lacking = "tls_key" if certificate else "tls_certificate"
            raise SettingsError(f"[serving] {lacking} is missing: TLS takes a certificate and its key.", hint=_HINT)
        return cls(project / certificate, project / key)

    def context(self, *, protocols: Sequence[str]) -> ssl.SSLContext:
        """Return the server's side of TLS 1.2 and 1.3.

        Args:
            protocols: What is spoken over it, by the names of ALPN (RFC 7301).

        Raises:
            SettingsError: When a file is missing or cannot be read, is no PEM, or the two do not belong together.
        """
        for name, path in (("tls_certificate", self.certificate), ("tls_key", self.key)):
            try:
                with path.open("rb"):
                    pass
            except OSError as error:
                raise SettingsError(
                    f"[serving] {name} cannot be read: {path} ({error.strerror}).", hint=_HINT
                ) from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(list(protocols))
        try:
            context.load_cert_chain(self.certificate, self.key, password=self._refuse_password)
        except ssl.SSLError as error:
            raise SettingsError(self._why(error), hint=_HINT) from None
        return context

    def _why(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"The key {self.key} does not belong to the certificate {self.certificate}."
        return f"The certificate {self.certificate} with the key {self.key} cannot be used ({error.reason or error})."

    def _refuse_password(self) -> NoReturn:
        raise SettingsError(
            f"The key {self.key} is encrypted, and a server has nobody to ask for the password.",
            hint="Write it without one (openssl pkey -in … -out …), readable by the server only.",
        )
