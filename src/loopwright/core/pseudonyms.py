"""Pseudonyms: the same value always gets the same name, and the name does not tell the value.

HMAC-SHA-256 (RFC 2104) under a salt of 32 random bytes that each workspace makes once and keeps among its facts, cut to
32 hexadecimal digits: two of a billion different values share one with a probability below 1e-20. Whoever holds the
salt can test a guess; whoever holds only the data cannot.
"""

from __future__ import annotations

import hmac
import os
from functools import cached_property
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.storage.facts import metadata

if TYPE_CHECKING:
    from loopwright.core.storage.facts import Facts

DIGITS = 32

salts = sa.Table(
    "salts",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("salt", sa.String(64), nullable=False),
)


class Pseudonyms:
    """The pseudonyms of one workspace.

    Args:
        facts: Where the salt is kept; it is made when the first pseudonym is asked for.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def of(self, value: str) -> str:
        """Return the pseudonym of a text: 32 hexadecimal digits."""
        return hmac.digest(self._salt, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:DIGITS]

    @cached_property
    def _salt(self) -> bytes:
        query = sa.select(salts.c.salt).where(salts.c.name == "pseudonyms")
        with self._facts.read() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            with self._facts.write() as connection:
                made: dict[str, object] = {"name": "pseudonyms", "salt": os.urandom(32).hex()}
                self._facts.insert_missing(connection, salts, [made])
                found = connection.execute(query).scalar_one()
        return bytes.fromhex(found)
