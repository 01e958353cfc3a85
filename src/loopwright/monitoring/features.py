"""Are the looked-up features there, and fresh? Shares of lookups without a value, and the age of the newest value.

A lookup that found nothing, or only a value past its time to live, leaves its row without a feature: the model answers,
and worse. The share is judged in windows of 100 rows or more, each by the exact binomial interval: a true share that
keeps its bound alarms in one window of ten thousand at most. Freshness is no statistic: the newest online value of a
view is older than ``fresh=`` allows, or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from loopwright.core.durations import format_duration
from loopwright.core.statistics.binomial import clopper_pearson
from loopwright.core.storage.duck import borrowed, to_arrow
from loopwright.features.materialize import newest_online
from loopwright.monitoring.mark import Mark
from loopwright.monitoring.signal import Signal
from loopwright.serving.log.compactor import predictions_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import sqlalchemy as sa

    from loopwright.core.storage.stores import Stores
    from loopwright.features.online import OnlineStore
    from loopwright.monitoring.incident import Incidents
    from loopwright.monitoring.signal import Signals
    from loopwright.monitoring.watched import WatchedModel, WatchedView

WINDOW_ROWS: Final = 100
_FALSE_ALARMS: Final = 1e-4  # per window, at a share that just keeps its bound
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLEAN_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class _Lookups:
    """What the rows of a window found in one view."""

    rows: int
    missing: int
    expired: int

    @property
    def unfound(self) -> int:
        return self.missing + self.expired


class FeatureWatch:
    """The stage of the monitor that looks at looked-up features.

    Args:
        stores: The stores.
        signals: Where what is seen goes.
        incidents: What opens and ends.
        online: Opens the online store; None where there is none.
    """

    def __init__(
        self, stores: Stores, signals: Signals, incidents: Incidents, online: Callable[[], OnlineStore] | None = None
    ) -> None:
        self._stores = stores
        self._signals = signals
        self._incidents = incidents
        self._online = online
        self._seen: dict[str, int] = {}

    def look(self, watched: WatchedModel) -> list[Signal]:
        """Hold new lookups and the age of the newest values against what is declared."""
        if watched.champion is None or not watched.views:
            return []
        found = self._look_at_age(watched)
        if watched.monitoring.missing_features is not None:
            found += self._look_at_lookups(watched, watched.champion, watched.monitoring.missing_features)
        return found

    def _look_at_lookups(self, watched: WatchedModel, champion: str, allowed: float) -> list[Signal]:
        mark = Mark(self._stores, watched.model, "lookups")
        after = mark.position()
        span = self._stores.tables.span(predictions_table(watched.model), after)
        if span.empty or self._seen.get(watched.model) == span.until:
            return []  # a window that is not full is read again only when rows have come
        self._seen[watched.model] = span.until
        schema = self._stores.tables.schema(span.table, span.until)
        source = self._stores.tables.added_sql(span, key=("prediction_id", "version", "route"))
        if source is None or "unfound" not in schema.names:
            return []
        windows = _counted(source, watched.views, int(champion.rpartition("/")[2]))
        if all(window.rows < WINDOW_ROWS for window in windows.values()):
            return []
        found: list[Signal] = []
        with self._stores.facts.write() as connection:
            if not mark.move(connection, after=span.after, until=span.until):
                return []
            for name, window in windows.items():
                check = f"lookups:{name}"
                interval = clopper_pearson(window.unfound, window.rows, confidence=1 - 2 * _FALSE_ALARMS)
                if interval.low <= allowed:
                    self._incidents.clean(connection, watched.model, check)
                    continue
                evidence = {
                    "view": name,
                    "missing": window.missing,
                    "expired": window.expired,
                    "low": interval.low,
                    "high": interval.high,
                }
                certainty = {"false_alarms_per_window": _FALSE_ALARMS}
                found += self._alarm(
                    connection, watched, check, value=window.unfound / window.rows, threshold=allowed, rows=window.rows,
                    window=f"versions {span.after + 1} to {span.until}", evidence=evidence, certainty=certainty,
                )  # fmt: skip
        return found

    def _look_at_age(self, watched: WatchedModel) -> list[Signal]:
        found: list[Signal] = []
        timed = [view for view in watched.views if view.fresh is not None]
        if self._online is None or not timed:
            return found
        online, now = self._online(), self._stores.clock.now()
        live = {incident.check for incident in self._incidents.list(watched.model, live=True)}
        for view in timed:
            check, newest = f"fresh:{view.name}", newest_online(online, view.key)
            age = None if newest is None else now - newest
            allowed = view.fresh or timedelta(0)
            if age is not None and age <= allowed:
                if check in live:
                    self._clean(watched.model, check, now)
                continue
            evidence: dict[str, object] = {
                "view": view.name,
                "newest": None if newest is None else newest.isoformat(),
                "age": "never filled" if age is None else format_duration(age),
                "target": format_duration(allowed),
            }
            with self._stores.facts.write() as connection:
                found += self._alarm(
                    connection, watched, check, value=None if age is None else age.total_seconds(),
                    threshold=allowed.total_seconds(), rows=0, window=f"{now:%Y-%m-%d %H} h", evidence=evidence,
                    certainty={},
                )  # fmt: skip
        return found

    def _clean(self, model: str, check: str, now: datetime) -> None:
        """Count a clean window, one a minute: so that an incident ends when values have stayed fresh."""
        mark = Mark(self._stores, model, check[:60])
        minute, position = (now - _EPOCH) // _CLEAN_EVERY, mark.position()
        if minute > position:
            with self._stores.facts.write() as connection:
                if mark.move(connection, after=position, until=minute):
                    self._incidents.clean(connection, model, check)

    def _alarm(
        self,
        connection: sa.Connection,
        watched: WatchedModel,
        check: str,
        *,
        value: float | None,
        threshold: float,
        rows: int,
        window: str,
        evidence: Mapping[str, object],
        certainty: Mapping[str, float],
    ) -> list[Signal]:
        signal = Signal(
            id=self._stores.ids.new(),
            model=watched.model,
            version=watched.champion or "",
            dimension="data",
            check=check,
            severity="ticket",
            value=value,
            threshold=threshold,
            certainty=certainty,
            rows=rows,
            window=window,
            evidence=evidence,
            created_at=self._stores.clock.now(),
        )
        if not self._signals.add(connection, signal):
            return []
        self._incidents.alarm(connection, signal)
        return [signal]


def _counted(source: str, views: tuple[WatchedView, ...], version: int) -> dict[str, _Lookups]:
    """Count, for each view, the answered rows of a version and those that found nothing."""
    columns = ["count(*) AS n"]
    params: dict[str, object] = {"version": version}
    for place, view in enumerate(views):
        params |= {f"m{place}": view.name, f"e{place}": f"{view.name}:expired"}
        columns.append(f"count(*) FILTER (list_contains(names, $m{place})) AS m{place}")
        columns.append(f"count(*) FILTER (list_contains(names, $e{place})) AS e{place}")
    query = (
        f"SELECT {', '.join(columns)} FROM (SELECT string_split(unfound, ',') AS names FROM ({source}) "
        "WHERE version = $version AND status = 200 AND route <> 'shadow')"
    )
    with borrowed() as con:
        row = to_arrow(con.sql(query, params=params)).to_pylist()[0]
    return {view.name: _Lookups(row["n"], row[f"m{place}"], row[f"e{place}"]) for place, view in enumerate(views)}
