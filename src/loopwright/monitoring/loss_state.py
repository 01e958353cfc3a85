"""What is known about the losses of one version between two looks: detectors, running sums and finished windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import sqlalchemy as sa

from loopwright.core.statistics.binomial import wilson
from loopwright.core.statistics.edetector import EDetector
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from loopwright.evaluation.loss import ReferenceLoss
    from loopwright.monitoring.signal import Severity
    from loopwright.monitoring.watch import LossWatch

_Z: Final = 1.96  # two-sided 95 %

loss_states = sa.Table(
    "loss_states",
    metadata,
    sa.Column("version", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)
loss_windows = sa.Table(
    "loss_windows",
    metadata,
    sa.Column("version", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("loss", sa.Float, nullable=False),
    sa.Column("low", sa.Float, nullable=False),
    sa.Column("high", sa.Float, nullable=False),
    sa.Column("evidence", sa.Float, nullable=False),
    sa.Column("first_at", UtcDateTime, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
    sa.Column("closed_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class MeanLoss:
    """A mean loss with its 95 % interval, in the loss's own unit."""

    mean: float
    low: float
    high: float
    rows: int

    @classmethod
    def of(cls, losses: NDArray[np.float64]) -> MeanLoss:
        """Average losses: Wilson's interval for 0/1 losses, the normal one for others. Shape (n,), n at least 1."""
        rows, mean = len(losses), float(losses.mean())
        if np.isin(losses, (0.0, 1.0)).all():
            interval = wilson(int(losses.sum()), rows)
            return cls(mean, interval.low, interval.high, rows)
        half = _Z * float(losses.std(ddof=1)) / math.sqrt(rows) if rows > 1 else mean
        return cls(mean, max(0.0, mean - half), mean + half, rows)


@dataclass(frozen=True)
class LossState:
    """What is kept of one version between rounds."""

    detectors: Mapping[Severity, EDetector]
    rows: int = 0
    total: float = 0.0
    is_champion: bool = False
    windows: int = 0
    open_losses: tuple[float, ...] = ()
    open_since: str | None = None
    harm: float = 0.0
    change_row: int = 0
    change_at: str | None = None

    @classmethod
    def start(cls, reference: ReferenceLoss, watch: LossWatch) -> LossState:
        """Begin at a reference."""
        lengths: dict[Severity, float] = {"ticket": watch.rows_per_false_ticket, "page": watch.rows_per_false_page}
        return cls(
            {
                severity: reference.detector(average_run_length=length, tolerance=watch.tolerance)
                for severity, length in lengths.items()
            }
        )

    def to_json(self) -> dict[str, object]:
        """Write it as plain JSON values."""
        kept: dict[str, object] = dict(vars(self))
        kept["detectors"] = {severity: detector.to_json() for severity, detector in self.detectors.items()}
        kept["open_losses"] = list(self.open_losses)
        return kept

    @classmethod
    def from_json(cls, data: dict[str, object], rows: int) -> LossState:
        """Read what `to_json` wrote."""
        values = dict(data)
        detectors = values.pop("detectors")
        losses = values.pop("open_losses")
        values |= {"rows": rows}
        read = {name: EDetector.from_json(state) for name, state in detectors.items()}  # type: ignore[attr-defined]
        return cls(read, open_losses=tuple(losses), **values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ArrivedLosses:
    """Losses in the order in which their labels came, with both times of each row."""

    losses: NDArray[np.float64]
    arrived_at: Sequence[datetime]
    predicted_at: Sequence[datetime]

    def part(self, start: int, stop: int) -> ArrivedLosses:
        """Take some of the rows, in order."""
        return ArrivedLosses(self.losses[start:stop], self.arrived_at[start:stop], self.predicted_at[start:stop])


def follow_change(state: LossState, reference: ReferenceLoss, part: ArrivedLosses) -> tuple[float, int, str | None]:
    """Follow when the loss began to rise: the last row at which the evidence for harm was used up.

    Source: E. Page (1954), Continuous inspection schemes: the last zero of the cumulative sum.
    """
    detector = state.detectors["page"]
    middle = detector.bets[len(detector.bets) // 2]
    gains = np.log1p(middle * (reference.scaled(part.losses) - detector.reference_rate))
    sums = state.harm + np.cumsum(gains)
    floor = np.minimum(np.minimum.accumulate(sums), 0.0)
    zeros = np.flatnonzero(sums <= floor)
    if len(zeros) == 0:
        return float(sums[-1]), state.change_row, state.change_at or part.predicted_at[0].isoformat()
    last = int(zeros[-1])
    return float(sums[-1] - floor[-1]), state.rows + last + 1, part.predicted_at[last].isoformat()
