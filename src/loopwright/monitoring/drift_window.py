"""One window of drift: its counts on frozen bins, how it is judged, and how it is kept between two looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from loopwright.core.statistics.drift import FeatureDrift, two_stage
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.monitoring.reference import (
    FeatureReference,
    ReferenceProfile,
    count_cells,
    independent_share,
    series_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.core.storage.stores import Stores
    from loopwright.monitoring.watch import DriftWindows

_SERIES_ROWS: Final = 2048  # rows of a window from which the dependence between neighbours is estimated
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
SHOWN_WINDOWS: Final = 30

drift_windows = sa.Table(
    "drift_windows",
    metadata,
    sa.Column("version", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("first_at", UtcDateTime, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),
    sa.Column("series", sa.LargeBinary, nullable=True),
    sa.Column("result", sa.JSON, nullable=True),
    sa.Column("closed_at", UtcDateTime, nullable=True),
    sa.Index("ix_drift_windows_model", "model", "state"),
)


@dataclass(eq=False)
class DriftWindow:
    """One window while rows are added to it."""

    profile: ReferenceProfile
    number: int
    state: str = "open"
    rows: int = 0
    first_at: datetime = _NEVER
    last_at: datetime = _EPOCH
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    series: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    changed: bool = False

    def add(self, columns: dict[str, pa.Array], at: pa.Array) -> None:
        """Count rows, in time order."""
        rows = len(at)
        if rows == 0:
            return
        room = _SERIES_ROWS - self.series.shape[1] if self.state == "open" else 0
        heads = []
        for reference in self.profile.watched:
            values = columns.get(reference.name)
            if values is None:
                values = pa.nulls(rows, pa.float64())
            counted = count_cells(reference.bins, values)
            known = self.counts.get(reference.name)
            self.counts[reference.name] = counted if known is None else known + counted
            if room > 0:
                heads.append(series_of(reference.bins, values[:room]))
        if heads:
            head = np.stack(heads)
            self.series = head if self.series.size == 0 else np.concatenate([self.series, head], axis=1)
        self.rows += rows
        self.first_at, self.last_at = min(self.first_at, at[0].as_py()), max(self.last_at, at[-1].as_py())
        self.changed = True

    def judge(self, windows: DriftWindows) -> tuple[FeatureDrift, ...]:
        """Apply the two-stage rule to every watched column, all counted as so many independent rows."""
        shares = [independent_share(series) for series in self.series] or [1.0] * len(self.profile.watched)
        return two_stage(
            [reference.effective_counts for reference in self.profile.watched],
            [self.counts[one.name] * share for one, share in zip(self.profile.watched, shares, strict=True)],
            alpha=windows.alpha,
            gate=windows.material_psi,
        )


def load_window(row: sa.Row[tuple[object, ...]], profile: ReferenceProfile) -> DriftWindow:
    """Read a window as it was kept."""
    counts = {name: np.asarray(cells, dtype=np.int64) for name, cells in row.counts.items()}
    series = np.frombuffer(row.series or b"", dtype=np.float32).reshape(len(profile.watched), -1)
    return DriftWindow(profile, row.number, row.state, row.rows, row.first_at, row.last_at, counts, series)


def is_complete(window: DriftWindow, windows: DriftWindows, now: datetime) -> bool:
    """Say whether a window has all its rows, or its time and the wait for late ones are over."""
    if windows.every is None:
        return window.rows >= (windows.rows or 1)
    end = _EPOCH + (window.number + 1) * windows.every
    return now >= end + windows.grace


def alarms_before(connection: sa.Connection, version: str, number: int) -> int:
    """Count the alarmed windows directly before this one."""
    query = (
        sa.select(drift_windows.c.result)
        .where(drift_windows.c.version == version, drift_windows.c.number < number, drift_windows.c.state == "closed")
        .order_by(drift_windows.c.number.desc())
        .limit(SHOWN_WINDOWS)
    )
    alarms = 0
    for (result,) in connection.execute(query):
        if result is not None and result.get("tested"):
            if not result.get("alarm"):
                break
            alarms += 1
    return alarms


def feature_line(reference: FeatureReference, result: FeatureDrift, counts: NDArray[np.int64]) -> dict[str, object]:
    """Put one feature's verdict in plain values."""
    rows = max(int(counts.sum()), 1)
    return {
        "feature": reference.name,
        "drifted": result.drifted,
        "p": result.p_value,
        "psi": result.psi,
        "psi_corrected": result.psi_corrected,
        "js_distance": result.js_distance,
        "missing": float(counts[-1]) / rows,
        "missing_before": float(reference.counts[-1]) / max(sum(reference.counts), 1),
    }


def histograms(reference: FeatureReference, window: DriftWindow) -> dict[str, object]:
    """Give both distributions of a feature, cell by cell."""
    return {
        "cells": list(reference.bins.cells),
        "reference_counts": list(reference.counts),
        "window_counts": window.counts[reference.name].tolist(),
    }


def recent_windows(stores: Stores, version: str, limit: int = SHOWN_WINDOWS) -> list[dict[str, object]]:
    """Return the newest closed windows, oldest first: rows, times, whether it alarmed, a line per feature."""
    query = (
        sa.select(drift_windows)
        .where(drift_windows.c.version == version, drift_windows.c.state == "closed")
        .order_by(drift_windows.c.number.desc())
        .limit(limit)
    )
    with stores.facts.read() as connection:
        rows = connection.execute(query).all()
    return [
        {"number": row.number, "rows": row.rows, "first_at": row.first_at, "last_at": row.last_at, **(row.result or {})}
        for row in reversed(rows)
    ]
