"""Incidents: what a person deals with. One per model and check, however many signals say the same.

`next_state` is the state machine, pure; `Incidents` keeps it in the facts, inside the transaction of whoever saw the
signal.

::

    (none) --alarm--> open --acknowledge--> acknowledged --two clean windows, or by hand--> resolved
                        └-----------two clean windows, or by hand------------------------------↑

A clean window counts only if the next one is clean too (hysteresis); an alarm starts the count anew. An alarm after the
end opens a new incident.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import sqlalchemy as sa

from loopwright.core.errors import RefusedError, UnknownNameError
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.monitoring.signal import SEVERITY_RANK, Dimension, Severity, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopwright.core.storage.stores import Stores

IncidentState: TypeAlias = Literal["open", "acknowledged", "resolved"]
CLEAN_WINDOWS: Final = 2
_REPEAT_AFTER: Final[dict[Severity, timedelta]] = {"page": timedelta(hours=4), "ticket": timedelta(hours=24)}

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("live_key", sa.String(330), nullable=True, unique=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("check", sa.String(120), nullable=False),
    sa.Column("version", sa.String(200), nullable=False),
    sa.Column("dimension", sa.String(20), nullable=False),
    sa.Column("severity", sa.String(10), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("last_alarm_at", UtcDateTime, nullable=False),
    sa.Column("notified_at", UtcDateTime, nullable=True),
    sa.Column("notifications", sa.Integer, nullable=False),
    sa.Column("acknowledged_at", UtcDateTime, nullable=True),
    sa.Column("acknowledged_by", sa.String(200), nullable=True),
    sa.Column("resolved_at", UtcDateTime, nullable=True),
    sa.Column("resolution", sa.String(400), nullable=True),
    sa.Column("clean_windows", sa.Integer, nullable=False),
    sa.Column("signals", sa.JSON, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Index("ix_incidents_model", "model", "opened_at"),
)


@dataclass(frozen=True)
class Incident:
    """One thing to deal with: all signals of one check on one model, from the first alarm to two clean windows."""

    id: str
    model: str
    check: str
    version: str
    dimension: Dimension
    severity: Severity
    state: IncidentState
    opened_at: datetime
    last_alarm_at: datetime
    notified_at: datetime | None = None
    notifications: int = 0
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None
    resolution: str | None = None
    clean_windows: int = 0
    signals: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Say whether somebody still has to deal with it."""
        return self.state != "resolved"


@dataclass(frozen=True)
class Alarm:
    """A check failed."""

    signal: Signal
    at: datetime


@dataclass(frozen=True)
class Clean:
    """A check looked at a whole window and found nothing."""

    at: datetime


@dataclass(frozen=True)
class Acknowledge:
    """A person took it."""

    by: str
    at: datetime


@dataclass(frozen=True)
class Resolve:
    """It was ended by hand, or by a new champion."""

    reason: str
    at: datetime


Event: TypeAlias = Alarm | Clean | Acknowledge | Resolve


@dataclass(frozen=True)
class Step:
    """What an event leads to: the incident afterwards, and whether somebody is told."""

    incident: Incident | None
    notify: bool = False


def next_state(incident: Incident | None, event: Event, new_id: Callable[[], str]) -> Step:
    """Give the incident after ``event``. Pure but for ``new_id``, which is called when an incident opens.

    Somebody is told when an incident opens, when it grows to a page, when alarms go on and nobody has acknowledged them
    for four hours (page) or a day (ticket), and when it is over.
    """
    live = incident if incident is not None and incident.live else None
    match event:
        case Alarm(signal, at):
            if signal.severity == "note":
                return Step(incident)
            if live is None:
                opened = Incident(
                    new_id(), signal.model, signal.check, signal.version, signal.dimension, signal.severity, "open", at,
                    at, at, 1, signals=(signal.id,), features=_features(signal),
                )  # fmt: skip
                return Step(opened, notify=True)
            return _again(live, signal, at)
        case Clean(at):
            if live is None:
                return Step(incident)
            counted = replace(live, clean_windows=live.clean_windows + 1)
            if counted.clean_windows < CLEAN_WINDOWS:
                return Step(counted)
            return _resolved(counted, f"{CLEAN_WINDOWS} clean windows", at)
        case Acknowledge(by, at):
            if live is None or live.state == "acknowledged":
                return Step(incident)
            return Step(replace(live, state="acknowledged", acknowledged_at=at, acknowledged_by=by))
        case Resolve(reason, at):
            return Step(incident) if live is None else _resolved(live, reason, at)


def _again(live: Incident, signal: Signal, at: datetime) -> Step:
    worse = SEVERITY_RANK[signal.severity] > SEVERITY_RANK[live.severity]
    severity = signal.severity if worse else live.severity
    silent_for = at - (live.notified_at or live.opened_at)
    overdue = live.state == "open" and silent_for >= _REPEAT_AFTER[severity]
    notify = worse or overdue
    return Step(
        replace(
            live,
            severity=severity,
            last_alarm_at=max(at, live.last_alarm_at),
            clean_windows=0,
            signals=(*live.signals, signal.id)[-100:],
            features=tuple(dict.fromkeys((*live.features, *_features(signal)))),
            notified_at=at if notify else live.notified_at,
            notifications=live.notifications + int(notify),
        ),
        notify=notify,
    )


def _resolved(live: Incident, reason: str, at: datetime) -> Step:
    ended = replace(
        live, state="resolved", resolved_at=at, resolution=reason, notified_at=at, notifications=live.notifications + 1
    )
    return Step(ended, notify=True)


def _features(signal: Signal) -> tuple[str, ...]:
    found = signal.evidence.get("features", ())
    if not isinstance(found, (list, tuple)):
        return ()
    return tuple(str(entry["feature"]) if isinstance(entry, dict) else str(entry) for entry in found)


@dataclass(frozen=True)
class Incidents:
    """The incidents on record. Writes happen inside the caller's transaction; ``on_notify`` is called there too."""

    stores: Stores
    on_notify: Callable[[sa.Connection, Incident], None] = field(default=lambda _connection, _incident: None)

    def alarm(self, connection: sa.Connection, signal: Signal) -> Incident | None:
        """Put a signal into the incident of its model and check, opening one where there is none."""
        return self._apply(
            connection, signal.model, signal.check, Alarm(signal, signal.created_at or self.stores.clock.now())
        )

    def clean(self, connection: sa.Connection, model: str, check: str) -> Incident | None:
        """Count one clean window."""
        return self._apply(connection, model, check, Clean(self.stores.clock.now()))

    def resolve_all(
        self, connection: sa.Connection, model: str, reason: str, *, checks: tuple[str, ...] | None = None
    ) -> None:
        """End the live incidents of a model (of some checks)."""
        query = sa.select(incidents.c.check).where(incidents.c.model == model, incidents.c.state != "resolved")
        for (check,) in connection.execute(query).all():
            if checks is None or check in checks:
                self._apply(connection, model, check, Resolve(reason, self.stores.clock.now()))

    def acknowledge(self, incident_id: str, by: str) -> Incident:
        """Take an incident.

        Raises:
            UnknownNameError: If there is none with this id.
            RefusedError: If it is resolved.
        """
        return self._by_hand(incident_id, Acknowledge(by, self.stores.clock.now()))

    def resolve(self, incident_id: str, reason: str) -> Incident:
        """End an incident by hand.

        Raises:
            UnknownNameError: If there is none with this id.
            RefusedError: If it is resolved.
        """
        return self._by_hand(incident_id, Resolve(reason, self.stores.clock.now()))

    def list(self, model: str | None = None, *, live: bool | None = None) -> list[Incident]:
        """Return incidents, newest first."""
        query = sa.select(incidents).order_by(incidents.c.opened_at.desc(), incidents.c.id.desc())
        if model is not None:
            query = query.where(incidents.c.model == model)
        if live is not None:
            query = query.where((incidents.c.state != "resolved") if live else (incidents.c.state == "resolved"))
        with self.stores.facts.read() as connection:
            return [_incident(row) for row in connection.execute(query)]

    def _by_hand(self, incident_id: str, event: Event) -> Incident:
        with self.stores.facts.write() as connection:
            row = connection.execute(sa.select(incidents).where(incidents.c.id == incident_id)).first()
            if row is None:
                known = [str(name) for (name,) in connection.execute(sa.select(incidents.c.id)).all()]
                raise UnknownNameError("incident", incident_id, known)
            if not _incident(row).live:
                raise RefusedError(
                    f"The incident {incident_id} is resolved already.", hint="A new alarm opens a new one."
                )
            changed = self._apply(connection, row.model, row.check, event)
        if changed is None:  # the row above is live, so this only tells the type checker
            raise UnknownNameError("incident", incident_id)
        return changed

    def _apply(self, connection: sa.Connection, model: str, check: str, event: Event) -> Incident | None:
        row = connection.execute(sa.select(incidents).where(incidents.c.live_key == f"{model}|{check}")).first()
        before = None if row is None else _incident(row)
        step = next_state(before, event, self.stores.ids.new)
        after = step.incident
        if after is None or after == before:
            return after
        values: dict[str, object] = {
            column.name: getattr(after, column.name) for column in incidents.columns if column.name != "live_key"
        }
        values |= {
            "live_key": f"{model}|{check}" if after.live else None,
            "signals": list(after.signals),
            "features": list(after.features),
        }
        if before is None:
            connection.execute(sa.insert(incidents).values(**values))
        else:
            connection.execute(sa.update(incidents).where(incidents.c.id == after.id).values(**values))
        if step.notify:
            self.on_notify(connection, after)
        return after


def _incident(row: sa.Row[tuple[object, ...]]) -> Incident:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values.pop("live_key")
    values["signals"], values["features"] = tuple(values["signals"]), tuple(values["features"])
    return Incident(**values)
