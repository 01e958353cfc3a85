"""Telling somebody: an outbox in the facts, and the channels it is delivered through.

A message is put into the outbox in the same transaction as the incident it is about, so none is lost; delivery is at
least once, with an idempotency key, a back-off up to a quarter of an hour, and an end after a day. The address of a
channel may hold a secret: the facts hold only its scheme and a digest.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

import sqlalchemy as sa
import structlog

from loopwright.core.errors import MissingExtraError, SettingsError
from loopwright.core.hashing import digest_bytes, digest_json
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.monitoring.incident import Incident

alert_outbox = sa.Table(
    "alert_outbox",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("idempotency_key", sa.String(64), nullable=False, unique=True),
    sa.Column("incident_id", sa.String(36), nullable=False),
    sa.Column("channel", sa.String(60), nullable=False),
    sa.Column("message", sa.JSON, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", UtcDateTime, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("sent_at", UtcDateTime, nullable=True),
    sa.Column("last_error", sa.String(300), nullable=True),
    sa.Index("ix_alert_outbox_state", "state", "next_at"),
)

_FIRST_WAIT: Final = timedelta(seconds=15)
_LONGEST_WAIT: Final = timedelta(minutes=15)
_GIVE_UP_AFTER: Final = timedelta(hours=24)
_CLAIM: Final = timedelta(minutes=2)
_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Message:
    """What is sent: a line, a paragraph and the incident as JSON."""

    title: str
    body: str
    incident: Mapping[str, object]
    idempotency_key: str


class Channel(Protocol):
    """Where messages go. `send` raises when the message did not arrive; it may be called twice for one message."""

    @property
    def name(self) -> str:
        """A name without secrets, the same for the same address."""

    def send(self, message: Message) -> None:
        """Deliver one message, or raise."""


@dataclass(frozen=True)
class LogChannel:
    """Writes alerts into the structured log."""

    name: str = "log"

    def send(self, message: Message) -> None:
        """Write one line."""
        structlog.get_logger("loopwright.alert").warning(
            message.title, body=message.body, incident=message.incident.get("id")
        )


@dataclass(frozen=True)
class WebhookChannel:
    """Posts alerts as JSON to an HTTP address, with the key in the ``Idempotency-Key`` header."""

    url: str = field(repr=False)
    timeout_s: float = _TIMEOUT_S

    @property
    def name(self) -> str:
        """Scheme and digest of the address."""
        return _channel_name(self.url)

    def send(self, message: Message) -> None:
        """Post one message.

        Raises:
            OSError: If the address cannot be reached or answers with an error status.
        """
        content = {"title": message.title, "body": message.body, "incident": dict(message.incident)}
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked in `channel`
            self.url,
            data=json.dumps(content, default=str).encode(),
            headers={"Content-Type": "application/json", "Idempotency-Key": message.idempotency_key},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:  # noqa: S310 - as above
            answer.read()


@dataclass(frozen=True)
class AppriseChannel:
    """Sends alerts through Apprise: Slack, PagerDuty, mail and a hundred others, one URL each."""

    url: str = field(repr=False)

    def __post_init__(self) -> None:
        try:
            import apprise  # noqa: PLC0415 - an extra, and slow to import
        except ImportError:
            raise MissingExtraError("apprise", extra="alerts") from None
        if not apprise.Apprise().add(self.url):
            scheme = self.url.partition("://")[0]
            raise SettingsError(
                f"Apprise cannot use the alert address with scheme '{scheme}://'.",
                hint="See https://appriseit.com for its form.",
            )

    @property
    def name(self) -> str:
        """Scheme and digest of the address."""
        return _channel_name(self.url)

    def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            ConnectionError: If the service did not accept it.
        """
        import apprise  # noqa: PLC0415 - an extra, and slow to import

        target = apprise.Apprise()
        target.add(self.url)
        if not target.notify(title=message.title, body=message.body):
            raise ConnectionError(f"{self.name} did not accept the message")


def channel(url: str) -> Channel:
    """Make the channel of an alert address: ``log://``, ``http(s)://…`` (a plain webhook), or any Apprise URL.

    Raises:
        SettingsError: If the text is no address.
        MissingExtraError: If it takes Apprise and that is not installed.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme:
        raise SettingsError("An alert address is a URL such as log://, https://example.com/hook or slack://token.")
    if scheme == "log":
        return LogChannel()
    return WebhookChannel(url) if scheme in {"http", "https"} else AppriseChannel(url)


def _channel_name(url: str) -> str:
    return f"{url.partition('://')[0]}#{digest_bytes(url.encode())[:12]}"


@dataclass(frozen=True)
class DeliveryReport:
    """What one round of delivery did."""

    sent: int = 0
    failed: int = 0
    given_up: int = 0


class Alerts:
    """The outbox and its delivery.

    Concurrency: several processes may deliver; each message is claimed by one of them for two minutes. A process that
    dies after sending and before saying so leads to a second sending with the same key.
    """

    def __init__(self, stores: Stores, channels: Sequence[Channel] = ()) -> None:
        self._stores = stores
        self._channels = {one.name: one for one in channels}

    def put(self, connection: sa.Connection, incident: Incident) -> None:
        """Put the news about an incident into the outbox, one message per channel, inside the caller's transaction."""
        now = self._stores.clock.now()
        rows: list[dict[str, object]] = []
        for name in self._channels:
            key = digest_json([incident.id, incident.notifications, name])
            rows.append(
                {
                    "id": self._stores.ids.new(), "idempotency_key": key, "incident_id": incident.id, "channel": name,
                    "message": _content(incident), "state": "waiting", "attempts": 0, "next_at": now, "created_at": now,
                }
            )  # fmt: skip
        if rows:
            self._stores.facts.insert_missing(connection, alert_outbox, rows)

    def deliver_due(self, limit: int = 100) -> DeliveryReport:
        """Send what is due; a channel that fails is tried again later and never stops the others."""
        sent = failed = given_up = 0
        for _ in range(limit):
            claimed = self._claim()
            if claimed is None:
                break
            error = self._try(claimed)
            outcome = self._settle(claimed, error)
            sent, failed, given_up = (
                sent + (outcome == "sent"),
                failed + (outcome == "waiting"),
                given_up + (outcome == "dead"),
            )
        return DeliveryReport(sent, failed, given_up)

    def _claim(self) -> sa.Row[tuple[object, ...]] | None:
        now = self._stores.clock.now()
        due = (
            (alert_outbox.c.state == "waiting")
            & (alert_outbox.c.next_at <= now)
            & alert_outbox.c.channel.in_(list(self._channels))
        )
        with self._stores.facts.read() as connection:
            if connection.execute(sa.select(alert_outbox.c.id).where(due).limit(1)).first() is None:
                return None
        with self._stores.facts.write() as connection:
            row = connection.execute(
                sa.select(alert_outbox).where(due).order_by(alert_outbox.c.created_at, alert_outbox.c.id).limit(1)
            ).first()
            if row is not None:
                claim = sa.update(alert_outbox).where(alert_outbox.c.id == row.id)
                connection.execute(claim.values(next_at=now + _CLAIM, attempts=row.attempts + 1))
            return row

    def _try(self, row: sa.Row[tuple[object, ...]]) -> str | None:
        content = row.message
        message = Message(content["title"], content["body"], content["incident"], row.idempotency_key)
        try:
            self._channels[row.channel].send(message)
        except Exception as error:  # noqa: BLE001 - whatever a channel raises, the message stays in the outbox
            return f"{type(error).__name__}: {error}"[:300]
        return None

    def _settle(self, row: sa.Row[tuple[object, ...]], error: str | None) -> str:
        now: datetime = self._stores.clock.now()
        values: dict[str, object]
        if error is None:
            values = {"state": "sent", "sent_at": now, "last_error": None}
        elif now - row.created_at >= _GIVE_UP_AFTER:
            values = {"state": "dead", "last_error": error}
        else:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(row.attempts, 10))
            values = {"state": "waiting", "next_at": now + wait, "last_error": error}
        with self._stores.facts.write() as connection:
            connection.execute(sa.update(alert_outbox).where(alert_outbox.c.id == row.id).values(**values))
        return str(values["state"])


def _content(incident: Incident) -> dict[str, object]:
    features = f" Features: {', '.join(incident.features[:10])}." if incident.features else ""
    state = "resolved" if incident.state == "resolved" else incident.severity
    return {
        "title": f"[{state}] {incident.model}: {incident.check}",
        "body": (
            f"Incident {incident.id} on {incident.version or incident.model}, {incident.dimension}, is {incident.state}"
            f"{f' ({incident.resolution})' if incident.resolution else ''}; {len(incident.signals)} signals.{features}"
        ),
        "incident": {
            "id": incident.id, "model": incident.model, "version": incident.version, "check": incident.check,
            "severity": incident.severity, "state": incident.state, "opened_at": incident.opened_at.isoformat(),
            "features": list(incident.features),
        },
    }  # fmt: skip
