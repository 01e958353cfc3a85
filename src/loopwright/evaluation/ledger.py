"""The holdout ledger: who asked what of which sealed rows, and what was released.

Each answer goes through the Ladder, so repeated asking cannot overfit the holdout: what a person or a search sees is
the released answer, which changes only on a real improvement. Informative answers are counted, and a holdout that has
given its budget of them is retired. A holdout that rolls forward in time (`lw.latest`) is a new one each turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from loopwright.core.errors import BudgetSpentError
from loopwright.core.statistics.ladder import Ladder, LadderStep, ask, ask_score
from loopwright.core.storage.facts import UtcDateTime, metadata

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from loopwright.core.ref import Ref
    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.estimate import Estimate
    from loopwright.evaluation.metrics import Metric

DEFAULT_BUDGET = 100  # informative answers of one holdout

holdout_reads = sa.Table(
    "holdout_reads",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("holdout", sa.String(64), nullable=False),
    sa.Column("metric", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(300), nullable=False),
    sa.Column("reader", sa.String(200), nullable=False),
    sa.Column("asked_at", UtcDateTime, nullable=False),
    sa.Column("informative", sa.Boolean, nullable=False),
    sa.Column("released", sa.Float, nullable=True),
    sa.Column("ladder_loss", sa.Float, nullable=True),
    sa.Column("ladder_losses", sa.String(64), nullable=True),
    sa.UniqueConstraint("holdout", "metric", "subject", name="uq_holdout_reads_holdout"),
)


@dataclass(frozen=True)
class HoldoutRead:
    """Hold one row of the ledger.

    Attributes:
        holdout: Digest of the holdout.
        metric: What was asked.
        subject: Ref of the model that was asked about.
        reader: Who asked.
        asked_at: When, UTC.
        informative: Whether the answer said something new.
        released: The answer that may be shown, in the metric's unit; None where the metric is undefined.
    """

    holdout: str
    metric: str
    subject: str
    reader: str
    asked_at: datetime
    informative: bool
    released: float | None


class HoldoutLedger:
    """Keep the ledger of all holdouts.

    Args:
        stores: Where the ledger lives.
        budget: Informative answers that a holdout may give.
    """

    def __init__(self, stores: Stores, *, budget: int = DEFAULT_BUDGET) -> None:
        self._stores = stores
        self.budget = budget

    def spent(self, holdout: str, *, connection: sa.Connection | None = None) -> int:
        """Count the informative answers that a holdout has given."""
        query = sa.select(sa.func.count()).where(holdout_reads.c.holdout == holdout, holdout_reads.c.informative)
        if connection is not None:
            return int(connection.execute(query).scalar_one())
        with self._stores.facts.read() as reading:
            return int(reading.execute(query).scalar_one())

    def reads(self, holdout: str) -> list[HoldoutRead]:
        """List what was asked of a holdout, oldest first."""
        query = sa.select(holdout_reads).where(holdout_reads.c.holdout == holdout).order_by(holdout_reads.c.id)
        with self._stores.facts.read() as connection:
            return [
                HoldoutRead(
                    holdout=row.holdout,
                    metric=row.metric,
                    subject=row.subject,
                    reader=row.reader,
                    asked_at=row.asked_at,
                    informative=row.informative,
                    released=row.released,
                )
                for row in connection.execute(query)
            ]

    def released(self, holdout: str, metric: str, subject: Ref, *, connection: sa.Connection) -> HoldoutRead | None:
        """Find the answer already given about a subject, if any: it is given again and costs nothing."""
        query = sa.select(holdout_reads).where(
            holdout_reads.c.holdout == holdout,
            holdout_reads.c.metric == metric,
            holdout_reads.c.subject == str(subject),
        )
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return HoldoutRead(
            row.holdout, row.metric, row.subject, row.reader, row.asked_at, row.informative, row.released
        )

    def check_budget(self, holdout: str, *, connection: sa.Connection | None = None) -> None:
        """Refuse when a holdout has given all its informative answers.

        Raises:
            BudgetSpentError: Then; the message says what to do.
        """
        spent = self.spent(holdout, connection=connection)
        if spent >= self.budget:
            raise BudgetSpentError(
                f"The holdout {holdout[:12]} has given {spent} of {self.budget} informative answers: it is retired.",
                hint="Take new rows: a holdout by time (lw.latest) rolls forward with each training set; for "
                "lw.fraction or lw.entities give another seed.",
            )

    def record(
        self,
        holdout: str,
        metric: Metric,
        subject: Ref,
        *,
        reader: str,
        estimate: Estimate,
        losses: NDArray[np.float64] | None,
        connection: sa.Connection,
    ) -> HoldoutRead:
        """Put one question to the ladder and write the answer down, within the caller's transaction.

        Args:
            holdout: Digest of the holdout.
            metric: What is asked.
            subject: The model asked about.
            reader: Who asks.
            estimate: The true answer; it is used and not written here.
            losses: Shape (n,), loss per row where the metric has one.
            connection: A writing one.

        Raises:
            BudgetSpentError: When the holdout is retired.
        """
        before = self.released(holdout, metric.name, subject, connection=connection)
        if before is not None:
            return before
        self.check_budget(holdout, connection=connection)
        ladder = self._ladder(holdout, metric, connection)
        step = _step(ladder, metric, estimate, losses)
        loss = step.ladder.best
        released = None
        if np.isfinite(step.released):
            if losses is not None:
                released = metric.from_mean_loss(step.released)
            else:
                released = -step.released if metric.greater_is_better else step.released
        kept = step.ladder.best_losses if step.informative else None
        read = HoldoutRead(
            holdout, metric.name, str(subject), reader, self._stores.clock.now(), step.informative, released
        )
        connection.execute(
            holdout_reads.insert().values(
                id=self._stores.ids.new(),
                holdout=holdout,
                metric=metric.name,
                subject=read.subject,
                reader=reader,
                asked_at=read.asked_at,
                informative=step.informative,
                released=released,
                ladder_loss=loss if step.informative else None,
                ladder_losses=None if kept is None else self._stores.blobs.put(kept.tobytes()),
            )
        )
        return read

    def _ladder(self, holdout: str, metric: Metric, connection: sa.Connection) -> Ladder:
        query = (
            sa.select(holdout_reads.c.ladder_loss, holdout_reads.c.ladder_losses)
            .where(
                holdout_reads.c.holdout == holdout,
                holdout_reads.c.metric == metric.name,
                holdout_reads.c.informative,
            )
            .order_by(holdout_reads.c.ladder_loss)
        )
        rows = connection.execute(query).all()
        if not rows:
            return Ladder()
        best = rows[0]
        losses = None if best.ladder_losses is None else np.frombuffer(self._stores.blobs.get(best.ladder_losses))
        return Ladder(best.ladder_loss, losses, len(rows))


def _step(ladder: Ladder, metric: Metric, estimate: Estimate, losses: NDArray[np.float64] | None) -> LadderStep:
    if losses is not None and len(losses):
        return ask(ladder, losses)
    loss = -estimate.value if metric.greater_is_better else estimate.value
    if not np.isfinite(loss):
        # An undefined metric says nothing; it is written down as a read without an answer.
        return LadderStep(ladder, float("nan"), informative=False)
    error = estimate.standard_error if np.isfinite(estimate.standard_error) else 0.0
    return ask_score(ladder, loss, standard_error=error)
