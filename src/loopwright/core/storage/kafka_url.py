"""Where a Kafka cluster is, and how to talk to it, written as one URL.

``kafka://user:password@host:9092,other:9092/prefix?security.protocol=SASL_SSL&ssl.ca.location=/ca.pem``: the
brokers, a user with a password (SASL), a prefix for the names of topics, and any setting of librdkafka.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from loopwright.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "kafka://"
_OWN = frozenset({"group.id", "enable.auto.commit", "enable.partition.eof", "auto.offset.reset", "bootstrap.servers"})
_QUIET = {"log_level": 2}  # librdkafka writes to the terminal; what matters arrives as an exception


@dataclass(frozen=True)
class KafkaUrl:
    """A cluster's brokers, the settings of its clients and the prefix of its topics.

    >>> url = KafkaUrl.parse("kafka://lw:secret@b1:9092,b2:9092/shop?security.protocol=SASL_SSL")
    >>> url.servers, url.prefix, url
    ('b1:9092,b2:9092', 'shop', KafkaUrl(servers='b1:9092,b2:9092', prefix='shop'))
    >>> sorted(url.client())[2:]
    ['sasl.mechanism', 'sasl.password', 'sasl.username', 'security.protocol']
    """

    servers: str
    prefix: str = ""
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a password

    @classmethod
    def parse(cls, url: str) -> KafkaUrl:
        """Read a URL; a bare list of brokers is one, too.

        Raises:
            SettingsError: If there is no broker, or a setting is one that must not be changed.
        """
        address, _, query = url.removeprefix(SCHEME).partition("?")
        user, _, place = address.rpartition("@")
        servers, _, prefix = place.partition("/")
        if not servers or "://" in servers:
            raise SettingsError(f"'{masked(url)}' names no Kafka broker.", hint="Write kafka://host:9092.")
        settings = dict(parse_qsl(query))
        if user:
            name, _, password = user.partition(":")
            settings = {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "PLAIN",
                **settings,
                "sasl.username": unquote(name),
                "sasl.password": unquote(password),
            }
        refused = sorted(_OWN & settings.keys())
        if refused:
            raise SettingsError(
                f"The Kafka setting '{refused[0]}' is not free to choose.", hint="Take it out of the URL."
            )
        return cls(servers, prefix.strip("/"), settings)

    def client(self) -> dict[str, str | int]:
        """Return the configuration of a client."""
        return {**_QUIET, **self.settings, "bootstrap.servers": self.servers}


def masked(url: str) -> str:
    """Return a URL that may be shown: without password and without settings.

    >>> masked("kafka://lw:secret@b1:9092/shop?ssl.key.password=x")
    'kafka://lw:***@b1:9092/shop'
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    address = rest.partition("?")[0]
    user, at, place = address.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{scheme}{mark}{name}{colon}{'***' if colon else ''}{at}{place}"
