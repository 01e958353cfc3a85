"""Drift of inputs and answers: exact counts on frozen bins, and the two-stage rule on whole windows.

Reads new rows of ``predictions/<model>``, adds them to their windows and closes the windows that are complete. Counts
and the mark up to which rows are counted move in one transaction, so a killed monitor counts nothing twice and leaves
nothing out. Rows computed in the shadow are left out: nobody got those answers.

A window by rows is that many consecutive rows of one version. A window in time is tested once, a little after its end;
rows that come later still are added to its counts.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from loopwright.core.storage.duck import borrowed
from loopwright.core.storage.table_changes import TableSpan
from loopwright.monitoring.drift_window import (
    DriftWindow,
    alarms_before,
    drift_windows,
    feature_line,
    histograms,
    is_complete,
    load_window,
)
from loopwright.monitoring.mark import Mark
from loopwright.monitoring.reference import (
    ReferenceProfile,
    output_columns,
)
from loopwright.monitoring.served import served_columns
from loopwright.monitoring.signal import Signal, Signals
from loopwright.serving.log.compactor import predictions_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.core.storage.stores import Stores
    from loopwright.monitoring.incident import Incidents
    from loopwright.monitoring.watch import DriftWindows
    from loopwright.monitoring.watched import WatchedModel

CHECK: Final = "drift"
_BATCH_ROWS: Final = 100_000


class DriftWatch:
    """The stage of the monitor that looks at inputs and answers."""

    def __init__(self, stores: Stores, signals: Signals, incidents: Incidents) -> None:
        self._stores = stores
        self._signals = signals
        self._incidents = incidents

    def look(self, watched: WatchedModel) -> list[Signal]:
        """Count what is new, test what is complete, and return the signals about the champion."""
        windows = watched.monitoring.drift
        if windows is None:
            return []
        mark = Mark(self._stores, watched.model, "drift")
        after = mark.position()
        until = self._stores.tables.span(predictions_table(watched.model)).until
        open_windows = self._open_windows(watched)
        if until <= after and not self._due(open_windows, windows):
            return []
        kept = dict(open_windows)
        for profile, batch in self._new_rows(watched, TableSpan(predictions_table(watched.model), after, until)):
            self._fold(kept, profile, batch, windows)
        now = self._stores.clock.now()
        done = [window for window in kept.values() if window.state == "open" and is_complete(window, windows, now)]
        found: list[Signal] = []
        with self._stores.facts.write() as connection:
            if not mark.move(connection, after=after, until=until):
                return []
            for window in sorted(kept.values(), key=lambda one: one.number):
                result = self._result(connection, window, windows) if window in done else None
                if window.changed or result is not None:
                    self._store(connection, watched.model, window, result, now)
                if result is not None:
                    found += self._report(connection, watched, window, result)
        return found

    def _new_rows(self, watched: WatchedModel, span: TableSpan) -> Iterator[tuple[ReferenceProfile, pa.Table]]:
        """Read new answers, batch by batch in time order, of the versions that have a reference."""
        source = self._stores.tables.added_sql(span, key=("prediction_id", "version", "route"))
        numbers = [int(version.rpartition("/")[2]) for version in watched.profiles]
        if source is None or not numbers:
            return
        listed = ", ".join(map(str, numbers))
        query = (
            'SELECT "at", version, features, output_number, output_text, list_max(probabilities) AS confidence '
            f"FROM ({source}) WHERE route <> 'shadow' AND status = 200 AND version IN ({listed}) "
            'ORDER BY "at", prediction_id, version'
        )
        with borrowed() as con:
            reader = con.sql(query).to_arrow_reader(_BATCH_ROWS)
            for batch in reader:
                table = pa.Table.from_batches([batch])
                for number in sorted(set(table.column("version").to_pylist())):
                    profile = watched.profile(number)
                    if profile is not None:
                        yield profile, table.filter(pa.compute.equal(table.column("version"), number))

    def _fold(
        self, kept: dict[tuple[str, int], DriftWindow], profile: ReferenceProfile, rows: pa.Table, windows: DriftWindows
    ) -> None:
        columns = served_columns(rows.column("features"), profile.fields)
        answers = rows.column("output_number" if profile.kind == "regression" else "output_text").combine_chunks()
        confidence = rows.column("confidence").combine_chunks()
        columns |= output_columns(profile.kind, answers, confidence)
        at = rows.column("at").combine_chunks()
        for number, start, stop in self._cut(kept, profile, at, windows):
            place = (profile.version, number)
            if place not in kept:
                kept[place] = self._window(profile, number)
            kept[place].add({name: values[start:stop] for name, values in columns.items()}, at[start:stop])

    def _cut(
        self, kept: dict[tuple[str, int], DriftWindow], profile: ReferenceProfile, at: pa.Array, windows: DriftWindows
    ) -> Iterator[tuple[int, int, int]]:
        """Say which rows belong to which window: number, first row, row behind the last."""
        if windows.every is not None:
            micros = at.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy(zero_copy_only=False)
            numbers = micros // (windows.every // timedelta(microseconds=1))
            edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
            for start, stop in itertools.pairwise(edges):
                yield int(numbers[start]), start, stop
            return
        size, start = windows.rows or 1, 0
        number = self._current(kept, profile.version)
        while start < len(at):
            window = kept.get((profile.version, number))
            room = size - (0 if window is None else window.rows)
            if room <= 0:
                number += 1
                continue
            stop = min(start + room, len(at))
            yield number, start, stop
            start = stop

    def _current(self, kept: dict[tuple[str, int], DriftWindow], version: str) -> int:
        numbers = [number for name, number in kept if name == version]
        if numbers:
            return max(numbers)
        with self._stores.facts.read() as connection:
            query = sa.select(sa.func.max(drift_windows.c.number)).where(drift_windows.c.version == version)
            last = connection.execute(query).scalar()
        return 0 if last is None else int(last) + 1

    def _window(self, profile: ReferenceProfile, number: int) -> DriftWindow:
        """Open a window, or take up one that is closed when a late row belongs to it."""
        with self._stores.facts.read() as connection:
            row = connection.execute(
                sa.select(drift_windows).where(
                    drift_windows.c.version == profile.version, drift_windows.c.number == number
                )
            ).first()
        return DriftWindow(profile, number) if row is None else load_window(row, profile)

    def _open_windows(self, watched: WatchedModel) -> dict[tuple[str, int], DriftWindow]:
        query = sa.select(drift_windows).where(drift_windows.c.model == watched.model, drift_windows.c.state == "open")
        with self._stores.facts.read() as connection:
            rows = connection.execute(query).all()
        return {
            (row.version, row.number): load_window(row, watched.profiles[row.version])
            for row in rows
            if row.version in watched.profiles
        }

    def _due(self, kept: dict[tuple[str, int], DriftWindow], windows: DriftWindows) -> bool:
        now = self._stores.clock.now()
        return any(is_complete(window, windows, now) for window in kept.values())

    def _result(self, connection: sa.Connection, window: DriftWindow, windows: DriftWindows) -> dict[str, object]:
        """Judge a complete window; windows in time with too few rows are put on record without a test."""
        if window.rows < windows.min_rows:
            return {"tested": False, "alarm": False, "features": [], "windows_in_a_row": 0}
        judged = window.judge(windows)
        features = [
            feature_line(reference, result, window.counts[reference.name])
            for reference, result in zip(window.profile.watched, judged, strict=True)
        ]
        features.sort(key=lambda line: (not line["drifted"], -float(str(line["psi_corrected"]))))
        alarm = any(result.drifted for result in judged)
        before = alarms_before(connection, window.profile.version, window.number) if alarm else -1
        return {"tested": True, "alarm": alarm, "features": features, "windows_in_a_row": before + 1}

    def _store(
        self,
        connection: sa.Connection,
        model: str,
        window: DriftWindow,
        result: dict[str, object] | None,
        now: datetime,
    ) -> None:
        row: dict[str, object] = {
            "version": window.profile.version,
            "number": window.number,
            "model": model,
            "state": "open" if result is None and window.state == "open" else "closed",
            "rows": window.rows,
            "first_at": window.first_at,
            "last_at": window.last_at,
            "counts": {name: counts.tolist() for name, counts in window.counts.items()},
            "series": None,
        }
        if result is not None:
            row |= {"result": result, "closed_at": now}
        elif window.state == "open":
            row["series"] = window.series.tobytes()
        self._stores.facts.upsert(connection, drift_windows, row)

    def _report(
        self, connection: sa.Connection, watched: WatchedModel, window: DriftWindow, result: dict[str, object]
    ) -> list[Signal]:
        """Tell about a closed window of the champion: a signal and its incident, or one more clean window."""
        if watched.champion != window.profile.version or not result["tested"]:
            return []
        if not result["alarm"]:
            self._incidents.clean(connection, watched.model, CHECK)
            return []
        features = result["features"]
        drifted = [line for line in features if line["drifted"]] if isinstance(features, list) else []
        by_name = {reference.name: reference for reference in window.profile.watched}
        windows = watched.monitoring.drift
        signal = Signal(
            id=self._stores.ids.new(),
            model=watched.model,
            version=window.profile.version,
            dimension="data",
            check=CHECK,
            severity="ticket",
            value=max(float(line["psi_corrected"]) for line in drifted),
            threshold=None if windows is None else windows.material_psi,
            certainty={
                "p": min(float(line["p"]) for line in drifted),
                "alpha": 0.0 if windows is None else windows.alpha,
            },
            rows=window.rows,
            window=f"{windows} #{window.number}",
            evidence={
                "features": [line | histograms(by_name[line["feature"]], window) for line in drifted[:20]],
                "features_drifted": len(drifted),
                "features_tested": len(by_name),
                "windows_in_a_row": result["windows_in_a_row"],
                "from": window.first_at.isoformat(),
                "to": window.last_at.isoformat(),
            },
            created_at=self._stores.clock.now(),
        )
        if not self._signals.add(connection, signal):
            return []
        self._incidents.alarm(connection, signal)
        return [signal]
