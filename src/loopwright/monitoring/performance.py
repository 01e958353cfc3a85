"""Realised loss of every labelled prediction, in the order in which labels came, against the holdout's.

Two sequential detectors per version watch the same losses: one whose false alarms are so rare that they may page, and a
quicker one for tickets. Both hold however late labels come and however rows depend on each other, as long as the mean
loss given the past stays at or below the upper end of the holdout's (`loopwright.core.statistics.edetector`). Only the
first label of a prediction counts here; revisions are in the outcomes table.

States, windows and the mark move in one transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import sqlalchemy as sa

from loopwright.core.storage.duck import borrowed, to_arrow
from loopwright.evaluation.loss import row_losses
from loopwright.monitoring.loss_state import (
    ArrivedLosses,
    LossState,
    MeanLoss,
    follow_change,
    loss_states,
    loss_windows,
)
from loopwright.monitoring.mark import Mark
from loopwright.monitoring.outcomes import outcomes_table
from loopwright.monitoring.signal import Severity, Signal, Signals

if TYPE_CHECKING:
    import pyarrow as pa

    from loopwright.core.statistics.edetector import EDetector
    from loopwright.core.storage.stores import Stores
    from loopwright.core.storage.table_changes import TableSpan
    from loopwright.monitoring.incident import Incidents
    from loopwright.monitoring.reference import ReferenceProfile
    from loopwright.monitoring.watched import WatchedModel

CHECK: Final = "loss"
_Z: Final = 1.96  # two-sided 95 %


@dataclass(frozen=True)
class _Seen:
    """When an alarm was raised, and since when the loss had been rising."""

    severity: Severity
    row: int
    at: datetime
    change_row: int
    change_at: str | None


class LossMonitor:
    """The stage of the monitor that watches realised loss."""

    def __init__(self, stores: Stores, signals: Signals, incidents: Incidents) -> None:
        self._stores = stores
        self._signals = signals
        self._incidents = incidents

    def look(self, watched: WatchedModel) -> list[Signal]:
        """Take the outcomes that came since the last look; return the signals about the champion."""
        mark = Mark(self._stores, watched.model, "loss")
        span = self._stores.tables.span(outcomes_table(watched.model), mark.position())
        crowned = self._newly_crowned(watched)
        if span.empty and not crowned:
            return []
        outcomes = self._new_outcomes(span)
        found: list[Signal] = []
        with self._stores.facts.write() as connection:
            if not mark.move(connection, after=span.after, until=span.until):
                return []
            for version, profile in sorted(watched.profiles.items()):
                rows = None if outcomes is None else _of_version(outcomes, version)
                if version == watched.champion or rows is not None:
                    found += self._take(connection, watched, profile, rows)
            self._dethrone(connection, watched)
        return found

    def _newly_crowned(self, watched: WatchedModel) -> bool:
        if watched.champion not in watched.profiles:
            return False
        with self._stores.facts.read() as connection:
            kept = connection.execute(
                sa.select(loss_states.c.state).where(loss_states.c.version == watched.champion)
            ).scalar()
        return kept is None or not kept["is_champion"]

    def _new_outcomes(self, span: TableSpan) -> pa.Table | None:
        source = self._stores.tables.added_sql(span, key=("prediction_id", "version", "route", "revision"))
        if source is None:
            return None
        with borrowed() as con:
            return to_arrow(
                con.sql(
                    "SELECT version, output_number, output_text, label, arrived_at, predicted_at "
                    f"FROM ({source}) WHERE revision = 0 ORDER BY batch, arrived_at, predicted_at, prediction_id, route"
                )
            )

    def _take(
        self, connection: sa.Connection, watched: WatchedModel, profile: ReferenceProfile, rows: pa.Table | None
    ) -> list[Signal]:
        """Feed one version's outcomes to its detectors, window by window."""
        watch, reference = watched.monitoring.loss, profile.loss
        champion = profile.version == watched.champion
        kept = connection.execute(sa.select(loss_states).where(loss_states.c.version == profile.version)).first()
        state = LossState.start(reference, watch) if kept is None else LossState.from_json(kept.state, kept.rows)
        if champion and not state.is_champion:  # a new champion starts with a clean slate, also when it comes back
            fresh = LossState.start(reference, watch)
            state = LossState(fresh.detectors, is_champion=True, windows=state.windows)
        found: list[Signal] = []
        if rows is not None:
            arrived = _losses(profile, rows)
            start = 0
            while start < len(arrived.losses):
                stop = start + watch.window_rows - len(state.open_losses)
                part = arrived.part(start, stop)
                state, signals = self._feed(connection, watched, profile, state, part, champion=champion)
                found += signals
                start = stop
        row: dict[str, object] = {
            "version": profile.version,
            "model": watched.model,
            "rows": state.rows,
            "state": state.to_json(),
            "updated_at": self._stores.clock.now(),
        }
        self._stores.facts.upsert(connection, loss_states, row)
        return found

    def _feed(
        self,
        connection: sa.Connection,
        watched: WatchedModel,
        profile: ReferenceProfile,
        state: LossState,
        part: ArrivedLosses,
        *,
        champion: bool,
    ) -> tuple[LossState, list[Signal]]:
        reference, losses, times = profile.loss, part.losses, part.arrived_at
        harm, change_row, change_at = follow_change(state, reference, part)  # as of the last row
        detectors: dict[Severity, EDetector] = {}
        alarms: dict[Severity, int] = {}
        for severity, detector in state.detectors.items():
            step = detector.update(reference.scaled(losses))
            detectors[severity] = step.detector
            if step.alarms:
                alarms[severity] = state.rows + step.alarms[0] + 1
        window = (*state.open_losses, *losses.tolist())
        since = state.open_since or times[0].isoformat()
        estimate = MeanLoss.of(np.array(window))
        rows = state.rows + len(losses)
        found: list[Signal] = []
        if champion and alarms:
            worst: Severity = "page" if "page" in alarms else "ticket"
            until = alarms[worst] - state.rows  # what is said is what was known at the alarm, however late one looks
            _, risen_row, risen_at = follow_change(state, reference, part.part(0, until))
            seen = _Seen(worst, alarms[worst], times[until - 1], risen_row, risen_at)
            since_change = np.array((*state.open_losses, *losses[:until])[risen_row - alarms[worst] :])
            found = self._alarm(connection, watched, profile, MeanLoss.of(since_change), detectors[worst], seen)
        full = len(window) >= watched.monitoring.loss.window_rows
        if full:
            values: dict[str, object] = {
                "version": profile.version,
                "number": state.windows,
                "model": watched.model,
                "rows": len(window),
                "loss": estimate.mean,
                "low": estimate.low,
                "high": estimate.high,
                "evidence": detectors["page"].evidence,
                "first_at": datetime.fromisoformat(since),
                "last_at": times[-1],
                "closed_at": self._stores.clock.now(),
            }
            connection.execute(sa.insert(loss_windows).values(**values))
            calm = float(reference.scaled(window).mean()) <= reference.null_rate(watched.monitoring.loss.tolerance)
            if champion and not alarms and calm:
                self._incidents.clean(connection, watched.model, CHECK)
        after = LossState(
            detectors,
            rows,
            state.total + float(losses.sum()),
            state.is_champion,
            state.windows + int(full),
            () if full else window,
            None if full else since,
            harm,
            change_row,
            change_at,
        )
        return after, found

    def _alarm(
        self,
        connection: sa.Connection,
        watched: WatchedModel,
        profile: ReferenceProfile,
        now: MeanLoss,
        detector: EDetector,
        seen: _Seen,
    ) -> list[Signal]:
        reference = profile.loss
        signal = Signal(
            id=self._stores.ids.new(),
            model=watched.model,
            version=profile.version,
            dimension="model",
            check=CHECK,
            severity=seen.severity,
            value=now.mean,
            threshold=reference.null_rate(watched.monitoring.loss.tolerance) * reference.scale,
            certainty={"rows_per_false_alarm": detector.average_run_length, "e": detector.average_run_length},
            rows=seen.row,
            window=f"row {seen.row}, {seen.at.isoformat()}",
            evidence={
                "loss": reference.kind,
                "rows_since_start": seen.row,
                "rows_since_change": seen.row - seen.change_row,
                "change_at": seen.change_at,
                "current": {"mean": now.mean, "low": now.low, "high": now.high, "rows": now.rows},
                "reference": {
                    "mean": reference.mean,
                    "upper": reference.unscaled_upper,
                    "rows": reference.rows,
                },
            },
            created_at=self._stores.clock.now(),
        )
        if not self._signals.add(connection, signal):
            return []
        self._incidents.alarm(connection, signal)
        return [signal]

    def _dethrone(self, connection: sa.Connection, watched: WatchedModel) -> None:
        """Note who is no longer champion, so that it starts anew should it come back."""
        query = sa.select(loss_states).where(
            loss_states.c.model == watched.model, loss_states.c.version != (watched.champion or "")
        )
        for row in connection.execute(query).all():
            if row.state["is_champion"]:
                changed = sa.update(loss_states).where(loss_states.c.version == row.version)
                connection.execute(changed.values(state=row.state | {"is_champion": False}))


def _of_version(outcomes: pa.Table, version: str) -> pa.Table | None:
    mask = np.asarray(outcomes.column("version").to_numpy() == int(version.rpartition("/")[2]))
    return outcomes.filter(mask) if mask.any() else None


def _losses(profile: ReferenceProfile, rows: pa.Table) -> ArrivedLosses:
    answers = rows.column("output_number" if profile.kind == "regression" else "output_text").to_pylist()
    labels = [json.loads(text) for text in rows.column("label").to_pylist()]
    losses = row_losses(profile.kind, answers, labels)
    usable = np.isfinite(losses)
    arrived, predicted = (rows.column(name).filter(usable).to_pylist() for name in ("arrived_at", "predicted_at"))
    return ArrivedLosses(losses[usable], arrived, predicted)


@dataclass(frozen=True)
class LossFigures:
    """How one version does: the mean since it began, the newest window, and the windows before it."""

    version: str
    rows: int
    mean: float | None
    current: MeanLoss | None
    reference: float
    reference_upper: float
    windows: tuple[dict[str, object], ...]


def loss_figures(stores: Stores, profile: ReferenceProfile, limit: int = 60) -> LossFigures:
    """Return the loss of a version for people to look at."""
    query = sa.select(loss_windows).where(loss_windows.c.version == profile.version)
    with stores.facts.read() as connection:
        kept = connection.execute(sa.select(loss_states).where(loss_states.c.version == profile.version)).first()
        rows = connection.execute(query.order_by(loss_windows.c.number.desc()).limit(limit)).all()
    windows = tuple(
        {name: getattr(row, name) for name in ("number", "rows", "loss", "low", "high", "first_at", "last_at")}
        for row in reversed(rows)
    )
    current = None
    if kept is not None and kept.state["open_losses"]:
        current = MeanLoss.of(np.array(kept.state["open_losses"], dtype=np.float64))
    elif rows:
        current = MeanLoss(rows[0].loss, rows[0].low, rows[0].high, rows[0].rows)
    mean = kept.state["total"] / kept.rows if kept is not None and kept.rows else None
    return LossFigures(
        profile.version,
        0 if kept is None else kept.rows,
        mean,
        current,
        profile.loss.mean,
        profile.loss.unscaled_upper,
        windows,
    )
