"""Requests, errors and latencies from the prediction log, against their objectives.

Buckets of five minutes hold counts on the fixed latency grid; they add up to any longer window. An alarm asks that the
error budget burns too fast over a long and a short window at once (`loopwright.core.statistics.burn_rate`), so it
starts for a reason and ends when the trouble does. An error is an answer with status 429 or 500 and above; a client's
own mistakes are none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import sqlalchemy as sa

from loopwright.core.durations import format_duration
from loopwright.core.statistics.burn_rate import BURN_RULES, BurnRule, Traffic, burn_rate, burning
from loopwright.core.statistics.histogram import EDGES_MS, LatencyHistogram
from loopwright.core.storage.duck import borrowed, to_arrow
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.monitoring.mark import Mark
from loopwright.monitoring.signal import Signal, Signals
from loopwright.serving.log.compactor import predictions_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.core.storage.stores import Stores
    from loopwright.monitoring.incident import Incidents
    from loopwright.monitoring.watched import WatchedModel

BUCKET: Final = timedelta(minutes=5)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SLOW_SHARE: Final = 0.01  # what a 99th percentile leaves over
_LARGEST_ALARM_SHARE: Final = 0.5  # a budget so wide that its burn rate cannot be reached alarms when half of all fails

system_buckets = sa.Table(
    "system_buckets",
    metadata,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("started_at", UtcDateTime, primary_key=True),
    sa.Column("requests", sa.Integer, nullable=False),
    sa.Column("errors", sa.Integer, nullable=False),
    sa.Column("latency", sa.JSON, nullable=False),
    sa.Column("error_classes", sa.JSON, nullable=False),
)


@dataclass(frozen=True)
class SystemFigures:
    """What a model's traffic was over some time. ``requests`` counts rows; latencies are of answered rows."""

    requests: int = 0
    errors: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    error_classes: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: SystemFigures) -> SystemFigures:
        names = sorted({*self.error_classes, *other.error_classes})
        return SystemFigures(
            self.requests + other.requests,
            self.errors + other.errors,
            self.latency + other.latency,
            {name: self.error_classes.get(name, 0) + other.error_classes.get(name, 0) for name in names},
        )

    @property
    def error_share(self) -> float:
        """Share of rows that failed."""
        return self.errors / self.requests if self.requests else 0.0

    def latency_ms(self, quantile: float) -> float | None:
        """Return a quantile of the latency in milliseconds, to within a bucket of the grid; None without answers."""
        return self.latency.quantile_ms(quantile) if self.latency.rows else None


@dataclass(frozen=True)
class _Buckets:
    """Buckets in one block of numbers, so that any window is one sum."""

    ends: NDArray[np.int64]
    figures: tuple[SystemFigures, ...]
    latency: NDArray[np.int64]

    @classmethod
    def of(cls, history: list[tuple[datetime, SystemFigures]]) -> _Buckets | None:
        """Stack buckets; None where there are none."""
        if not history:
            return None
        ends = np.array([_bucket_number(at) + 1 for at, _ in history], dtype=np.int64)
        latency = np.array([figures.latency.counts for _, figures in history], dtype=np.int64)
        return cls(ends, tuple(figures for _, figures in history), latency)

    def within(self, since: datetime) -> SystemFigures:
        """Add up the buckets that end after a moment."""
        chosen = np.flatnonzero(self.ends > (since - _EPOCH) / BUCKET)
        classes: Counter[str] = Counter()
        for index in chosen:
            classes.update(self.figures[index].error_classes)
        return SystemFigures(
            sum(self.figures[index].requests for index in chosen),
            sum(self.figures[index].errors for index in chosen),
            LatencyHistogram(tuple(self.latency[chosen].sum(axis=0).tolist())),
            dict(sorted(classes.items())),
        )


class SystemWatch:
    """The stage of the monitor that looks at latency and errors."""

    def __init__(self, stores: Stores, signals: Signals, incidents: Incidents) -> None:
        self._stores = stores
        self._signals = signals
        self._incidents = incidents

    def look(self, watched: WatchedModel) -> list[Signal]:
        """Count what is new and hold the objectives against it."""
        self._count(watched.model)
        wanted = self._objectives(watched)
        if not wanted:
            return []
        now = self._stores.clock.now()
        longest = max(rule.long for rule in BURN_RULES)
        buckets = _Buckets.of(system_history(self._stores, watched.model, since=now - longest))
        if buckets is None:
            return []
        mark = Mark(self._stores, watched.model, "system-clean")
        ended = _bucket_number(now) - 1
        found: list[Signal] = []
        with self._stores.facts.write() as connection:
            position = mark.position()
            fresh = ended > position and mark.move(connection, after=position, until=ended)
            for check, allowed in wanted.items():
                fired = self._fired(watched, buckets, check, allowed, now)
                if fired is not None:
                    found += self._alarm(connection, watched, check, buckets, fired, now)
                elif fresh and buckets.within(now - 2 * BUCKET).requests:
                    self._incidents.clean(connection, watched.model, check)
        return found

    def _count(self, model: str) -> None:
        mark = Mark(self._stores, model, "system")
        span = self._stores.tables.span(predictions_table(model), mark.position())
        source = self._stores.tables.added_sql(span, key=("prediction_id", "version", "route"))
        if span.empty:
            return
        added: dict[datetime, SystemFigures] = {} if source is None else _counted(source)
        with self._stores.facts.write() as connection:
            if not mark.move(connection, after=span.after, until=span.until):
                return
            for started_at, figures in added.items():
                place = (system_buckets.c.model == model) & (system_buckets.c.started_at == started_at)
                row = connection.execute(sa.select(system_buckets).where(place)).first()
                total = figures if row is None else _figures(row) + figures
                kept: dict[str, object] = {
                    "model": model,
                    "started_at": started_at,
                    "requests": total.requests,
                    "errors": total.errors,
                    "latency": list(total.latency.counts),
                    "error_classes": total.error_classes,
                }
                self._stores.facts.upsert(connection, system_buckets, kept)

    def _objectives(self, watched: WatchedModel) -> dict[str, float]:
        declared = watched.monitoring
        wanted = {} if declared.latency_p99 is None else {"latency": _SLOW_SHARE}
        return wanted if declared.errors is None else wanted | {"errors": declared.errors}

    def _fired(
        self,
        watched: WatchedModel,
        buckets: _Buckets,
        check: str,
        allowed: float,
        now: datetime,
    ) -> tuple[BurnRule, Traffic, Traffic] | None:
        for rule in BURN_RULES:
            long = self._traffic(watched, buckets.within(now - rule.long), check)
            short = self._traffic(watched, buckets.within(now - rule.short), check)
            reachable = min(allowed, _LARGEST_ALARM_SHARE / rule.rate)
            if burning(long, short, rule=rule, allowed_share=reachable):
                return rule, long, short
        return None

    def _traffic(self, watched: WatchedModel, figures: SystemFigures, check: str) -> Traffic:
        if check == "errors":
            return Traffic(figures.errors, figures.requests)
        limit = watched.monitoring.latency_p99 or timedelta(0)
        slow = figures.latency.share_above(_edge_at_or_above(limit / timedelta(milliseconds=1)))
        return Traffic(round(slow * figures.latency.rows), figures.latency.rows)

    def _alarm(
        self,
        connection: sa.Connection,
        watched: WatchedModel,
        check: str,
        buckets: _Buckets,
        fired: tuple[BurnRule, Traffic, Traffic],
        now: datetime,
    ) -> list[Signal]:
        rule, long, short = fired
        allowed, recent = self._objectives(watched)[check], buckets.within(now - rule.long)
        signal = Signal(
            id=self._stores.ids.new(),
            model=watched.model,
            version=watched.champion or "",
            dimension="system",
            check=check,
            severity=rule.severity,
            value=long.bad_share,
            threshold=allowed,
            certainty={"burn_rate": burn_rate(long, allowed_share=allowed), "burn_rate_least": rule.rate},
            rows=long.total,
            window=f"{format_duration(rule.long)} to {now.replace(minute=0, second=0, microsecond=0).isoformat()}",
            evidence={
                "bad": long.bad,
                "total": long.total,
                "bad_short_window": short.bad,
                "total_short_window": short.total,
                "latency_p50_ms": _finite(recent.latency_ms(0.50)),
                "latency_p95_ms": _finite(recent.latency_ms(0.95)),
                "latency_p99_ms": _finite(recent.latency_ms(0.99)),
                "error_classes": recent.error_classes,
            },
            created_at=now,
        )
        added = self._signals.add(connection, signal)
        if added:
            self._incidents.alarm(connection, signal)
        return [signal] if added else []


def system_history(
    stores: Stores, model: str, *, since: datetime | None = None
) -> list[tuple[datetime, SystemFigures]]:
    """Return the buckets that end after ``since``, oldest first, each with the moment it starts."""
    query = sa.select(system_buckets).where(system_buckets.c.model == model).order_by(system_buckets.c.started_at)
    if since is not None:
        query = query.where(system_buckets.c.started_at > since - BUCKET)
    with stores.facts.read() as connection:
        return [(row.started_at, _figures(row)) for row in connection.execute(query)]


def system_figures(stores: Stores, model: str, *, since: datetime | None = None) -> SystemFigures:
    """Return the sum of the buckets that end after ``since``."""
    buckets = _Buckets.of(system_history(stores, model, since=since))
    return SystemFigures() if buckets is None else buckets.within(_EPOCH)


def _counted(source: str) -> dict[datetime, SystemFigures]:
    """Count new rows by bucket."""
    micros = BUCKET // timedelta(microseconds=1)
    columns = f'epoch_us("at") // {micros} AS bucket, latency_us, status, error_class'
    query = f"SELECT {columns} FROM ({source}) WHERE route NOT IN ('shadow', 'batch')"  # nobody waits for a batch
    with borrowed() as con:
        rows = to_arrow(con.sql(query))
    numbers = rows.column("bucket").to_numpy()
    latency = rows.column("latency_us").to_numpy() / 1000.0
    status = rows.column("status").to_numpy()
    failed = (status >= 500) | (status == 429)
    classes = np.array([name or "" for name in rows.column("error_class").to_pylist()], dtype=object)
    found = {}
    for number in np.unique(numbers):
        mine = numbers == number
        names, tally = np.unique(classes[mine & failed].astype(str), return_counts=True)
        found[_EPOCH + int(number) * BUCKET] = SystemFigures(
            int(mine.sum()),
            int((mine & failed).sum()),
            LatencyHistogram.of(latency[mine & (status == 200)]),
            {name or "unnamed": int(rows) for name, rows in zip(names.tolist(), tally.tolist(), strict=True)},
        )
    return found


def _figures(row: sa.Row[tuple[object, ...]]) -> SystemFigures:
    return SystemFigures(row.requests, row.errors, LatencyHistogram(tuple(row.latency)), dict(row.error_classes))


def _bucket_number(at: datetime) -> int:
    return (at - _EPOCH) // BUCKET


def _edge_at_or_above(latency_ms: float) -> float:
    """Return the grid's next edge, so that no answer within the objective counts as slow."""
    return next((edge for edge in EDGES_MS if edge >= latency_ms), EDGES_MS[-1])


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
