"""Keeps secrets out of what is shown: declarations, facts, errors and logs name them and never hold them.

A declaration names a connection of the settings (``[sources] orders_db = "postgresql://…"``, or the variable
``LOOPWRIGHT_SOURCES_ORDERS_DB``), or writes ``{name}`` where the secret belongs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from loopwright.core.errors import SourceError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HIDDEN = "***"
_SECRET_WORD = re.compile(r"pass|pwd|token|secret|key|sig|auth|credential|cookie", re.IGNORECASE)
_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SHORTEST = 3  # a secret that is shorter would blot out ordinary text


def masked(url: str) -> str:
    """Return a URL without its password and without the values of parameters that look like secrets.

    >>> masked("postgresql://ann:pa%40ss@db/shop?sslmode=require&sslpassword=x")
    'postgresql://ann:***@db/shop?sslmode=require&sslpassword=***'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    place = parts.netloc
    if "@" in place:
        who, _, host = place.rpartition("@")
        user, colon, _ = who.partition(":")
        place = f"{user}:{HIDDEN}@{host}" if colon else place
    pairs = [
        (name, HIDDEN if is_secret(name) else value) for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    query = urlencode(pairs, safe="*{}/:,", quote_via=quote)
    return urlunsplit(parts._replace(netloc=place, query=query)) if place or query else url


def is_secret(name: str) -> bool:
    """Tell whether a parameter or header with this name is likely to hold a secret."""
    return _SECRET_WORD.search(name) is not None


def shown_value(name: str, value: object) -> object:
    """Return a parameter or header as it may be shown: a placeholder as written, a likely secret hidden."""
    return HIDDEN if is_secret(name) and not _PLACE.search(str(value)) else value


def filled(template: str, connections: Mapping[str, str]) -> str:
    """Put the secrets in their places.

    Raises:
        SourceError: If the settings have none of that name.
    """
    return _PLACE.sub(lambda match: connection(match[1], connections), template)


def connection(name: str, connections: Mapping[str, str]) -> str:
    """Return a connection or secret of the settings.

    Raises:
        SourceError: If there is none of that name.
    """
    if name not in connections:
        unknown = UnknownNameError("connection", name, connections, where="in the settings")
        known = f"{unknown.hint} " if connections else ""
        raise SourceError(
            unknown.message,
            hint=f'{known}Write [sources] {name} = "…" in loopwright.toml or set LOOPWRIGHT_SOURCES_{name.upper()}.',
        )
    return connections[name]


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """Return a message, its first line, without the secrets and the passwords in URLs.

    Args:
        text: What an engine said.
        secrets: Values, or URLs whose passwords are meant.
    """
    line = next((one.strip() for one in text.splitlines() if one.strip()), "no reason was given")
    words: set[str] = set()
    for secret in secrets:
        if "://" in secret:
            words |= _in_url(secret)
        else:
            words |= {secret, secret.rpartition(" ")[2]}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= _SHORTEST:
            line = line.replace(word, HIDDEN)
    return line


def _in_url(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query)
    except ValueError:
        return {url}
    words = {value for name, value in pairs if is_secret(name)}
    if parts.password:
        words |= {parts.password, unquote(parts.password)}
    return words | {url}
