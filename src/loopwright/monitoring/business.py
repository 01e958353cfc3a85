"""Business numbers that the project reports, tied to the version that was live, held against declared bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from loopwright.core.errors import DeclarationError
from loopwright.core.statistics.anytime import Interval, Moments, mean_interval, rate_interval
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.monitoring.mark import Mark
from loopwright.monitoring.signal import Signal, Signals

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.core.storage.stores import Stores
    from loopwright.monitoring.incident import Incidents
    from loopwright.monitoring.watch import Kpi
    from loopwright.monitoring.watched import WatchedModel

_LEAST_VALUES: Final = 50  # asymptotic confidence sequences are not to be read in the first few dozen values
_SHARP_AT_VALUES: Final = 1000

kpi_values = sa.Table(
    "kpi_values",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("version", sa.String(200), nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.Index("ix_kpi_values_model", "model", "name", "version"),
)


def record_kpi(
    stores: Stores, model: str, name: str, value: float, *, at: datetime | None = None, version: str = ""
) -> str:
    """Report a business number and return the id of the record.

    Args:
        stores: The stores.
        model: The model it belongs to.
        name: Which number.
        value: Its value; for a rate over events, 0 or 1 per event.
        at: When it held; now by default.
        version: The version it is due to, such as ``"eta/3"``; without one it counts for whichever is champion.

    Raises:
        DeclarationError: If the value is not finite.
    """
    if not math.isfinite(value):
        raise DeclarationError(f"The business number '{name}' must be finite, got {value}.")
    now = stores.clock.now()
    row = {
        "id": stores.ids.new(),
        "model": model,
        "name": name,
        "version": version,
        "value": float(value),
        "at": at or now,
        "recorded_at": now,
    }
    with stores.facts.write() as connection:
        connection.execute(sa.insert(kpi_values).values(**row))
    return str(row["id"])


@dataclass(frozen=True)
class KpiFigures:
    """One business number of one version.

    Attributes:
        name: Which number.
        value: The mean of its values, or the newest one.
        low: Lower end of the confidence sequence; the value itself where there is none.
        high: Upper end.
        rows: How many values were reported.
        broken: ``"at_most"`` or ``"at_least"``, the bound that is broken with the declared confidence; None when none
            is.
    """

    name: str
    value: float
    low: float
    high: float
    rows: int
    broken: str | None


def kpi_figures(stores: Stores, model: str, declared: Kpi, version: str | None) -> KpiFigures | None:
    """Return a declared number for a version, or None before the first value."""
    mine = (kpi_values.c.model == model) & (kpi_values.c.name == declared.name)
    mine &= kpi_values.c.version.in_(["", version or ""])
    value = kpi_values.c.value
    with stores.facts.read() as connection:
        mean, rows = connection.execute(sa.select(sa.func.avg(value), sa.func.count()).where(mine)).one()
        if not rows:
            return None
        newest = connection.execute(
            sa.select(value).where(mine).order_by(kpi_values.c.at.desc(), kpi_values.c.id.desc()).limit(1)
        ).scalar_one()
        spread = sa.func.sum((value - mean) * (value - mean))
        squares, fractions = connection.execute(sa.select(spread, sa.func.sum(sa.func.abs(value * (1 - value))))
                                                .where(mine)).one()  # fmt: skip
    if not declared.per_event:
        return _figures(declared, float(newest), Interval(float(newest), float(newest)), rows, trusted=True)
    alpha = 1.0 - declared.confidence
    if fractions == 0:
        interval = rate_interval(round(mean * rows), rows, alpha=alpha, sharp_at_rows=_SHARP_AT_VALUES)
    else:
        moments = Moments(rows, float(mean), float(squares))
        interval = mean_interval(moments, alpha=alpha, sharp_at_rows=_SHARP_AT_VALUES)
    return _figures(declared, float(mean), interval, rows, trusted=fractions == 0 or rows >= _LEAST_VALUES)


def _figures(declared: Kpi, value: float, interval: Interval, rows: int, *, trusted: bool) -> KpiFigures:
    broken = None
    if trusted and declared.at_most is not None and interval.low > declared.at_most:
        broken = "at_most"
    elif trusted and declared.at_least is not None and interval.high < declared.at_least:
        broken = "at_least"
    return KpiFigures(declared.name, value, interval.low, interval.high, rows, broken)


class BusinessWatch:
    """The stage of the monitor that looks at business numbers."""

    def __init__(self, stores: Stores, signals: Signals, incidents: Incidents) -> None:
        self._stores = stores
        self._signals = signals
        self._incidents = incidents

    def look(self, watched: WatchedModel) -> list[Signal]:
        """Hold the declared bounds against the values, where new ones have come."""
        found: list[Signal] = []
        for declared in watched.monitoring.business:
            mark = Mark(self._stores, watched.model, f"kpi:{declared.name}"[:60])
            mine = (kpi_values.c.model == watched.model) & (kpi_values.c.name == declared.name)
            with self._stores.facts.read() as connection:
                rows = connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()
            after = mark.position()
            figures = kpi_figures(self._stores, watched.model, declared, watched.champion) if rows > after else None
            if figures is None:
                continue
            with self._stores.facts.write() as connection:
                if not mark.move(connection, after=after, until=rows):
                    continue
                if figures.broken is None:
                    self._incidents.clean(connection, watched.model, f"kpi:{declared.name}")
                else:
                    found += self._alarm(connection, watched, declared, figures, rows)
        return found

    def _alarm(
        self, connection: sa.Connection, watched: WatchedModel, declared: Kpi, figures: KpiFigures, rows: int
    ) -> list[Signal]:
        signal = Signal(
            id=self._stores.ids.new(),
            model=watched.model,
            version=watched.champion or "",
            dimension="business",
            check=f"kpi:{declared.name}",
            severity="ticket",
            value=figures.value,
            threshold=declared.at_most if figures.broken == "at_most" else declared.at_least,
            certainty={"confidence": declared.confidence} if declared.per_event else {},
            rows=figures.rows,
            window=f"{rows} values",
            evidence={"bound": figures.broken, "low": figures.low, "high": figures.high, "values": figures.rows},
            created_at=self._stores.clock.now(),
        )
        if not self._signals.add(connection, signal):
            return []
        self._incidents.alarm(connection, signal)
        return [signal]
