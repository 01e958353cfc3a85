"""How much of what was predicted has its label by now: the figure without which no loss may be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import borrowed, to_arrow
from loopwright.monitoring.outcomes import outcomes_table
from loopwright.serving.log.compactor import predictions_table

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores
    from loopwright.features.label import Label

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LabelCoverage:
    """One window of answered rows.

    Attributes:
        started_at: When the window begins.
        predictions: Answers given.
        mature: Answers whose label should have arrived by now.
        labelled: Answers whose label has arrived.
        labelled_mature: Those among the mature ones.
    """

    started_at: datetime
    predictions: int
    mature: int
    labelled: int
    labelled_mature: int

    @property
    def share(self) -> float:
        """Share of the answers with a label."""
        return self.labelled / self.predictions if self.predictions else 0.0

    @property
    def mature_share(self) -> float | None:
        """Share of the labels that should be there and are; None while none should."""
        return self.labelled_mature / self.mature if self.mature else None


def label_coverage(
    stores: Stores,
    model: str,
    label: Label | None,
    *,
    every: timedelta = timedelta(days=1),
    since: datetime | None = None,
) -> list[LabelCoverage]:
    """Return the coverage per window of prediction time, oldest first; shadow answers are left out.

    An answer is mature when its label's ``arrives_after`` has passed, by the rule that training uses.
    """
    tables = stores.tables
    predictions = tables.added_sql(tables.span(predictions_table(model)))
    if predictions is None:
        return []
    outcomes = tables.added_sql(tables.span(outcomes_table(model)))
    labelled = "SELECT NULL::VARCHAR AS prediction_id WHERE false" if outcomes is None else outcomes
    micros = every // timedelta(microseconds=1)
    mature_until = stores.clock.now() - (timedelta(0) if label is None else label.arrives_after)
    start = _EPOCH if since is None else since
    query = f"""
        SELECT epoch_us(p."at") // {micros} AS bucket, count(*) AS predictions,
            count(*) FILTER (p."at" <= $mature) AS mature,
            count(l.prediction_id) AS labelled, count(l.prediction_id) FILTER (p."at" <= $mature) AS labelled_mature
        FROM (
            SELECT prediction_id, "at" FROM ({predictions}) WHERE route <> 'shadow' AND status = 200 AND "at" >= $start
        ) AS p
        LEFT JOIN (SELECT DISTINCT prediction_id FROM ({labelled})) AS l USING (prediction_id)
        GROUP BY ALL ORDER BY bucket
    """
    with borrowed() as con:
        rows = to_arrow(con.sql(query, params={"mature": mature_until, "start": start})).to_pylist()
    return [
        LabelCoverage(
            _EPOCH + row["bucket"] * every, row["predictions"], row["mature"], row["labelled"], row["labelled_mature"]
        )
        for row in rows
    ]
