"""What each arm of a release saw in its present step, counted from the prediction log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from loopwright.core.statistics.histogram import LatencyHistogram
from loopwright.core.storage import duck
from loopwright.serving.judge import ArmCounts, StepEvidence
from loopwright.serving.release import elapsed

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

    from loopwright.serving.compactor import PredictionTable
    from loopwright.serving.release import Release

_REQUESTS = """
SELECT request_id, any_value(unit_hash) AS unit, max(status) AS status, max(latency_us) AS latency_us
FROM ({scan}) WHERE experiment = ? AND route = ? GROUP BY request_id
"""
# Shadow copies may be dropped under load: only requests that both versions saw are compared.
_MIRRORED = " HAVING request_id IN (SELECT request_id FROM ({scan}) WHERE experiment = ? AND route = 'shadow')"
_PAIRS = """
SELECT count(*), count(*) FILTER (WHERE a.output_number IS DISTINCT FROM b.output_number
    OR a.output_text IS DISTINCT FROM b.output_text)
FROM ({scan}) a JOIN ({scan}) b USING (prediction_id)
WHERE a.experiment = ? AND b.experiment = ? AND a.route = 'champion' AND b.route = 'shadow'
    AND a.status = 200 AND b.status = 200
"""


def step_evidence(release: Release, predictions: PredictionTable, *, now: datetime) -> StepEvidence:
    """Count what the present step of an open release has shown; brings the newest predictions into the lake first."""
    predictions.compact()
    stage: Literal["shadow", "canary"] = "shadow" if release.stage == "shadow" else "canary"
    pairs = disagreements = 0
    champion = challenger = ArmCounts()
    if predictions.exists():
        scan = predictions.scan_sql()
        connection = duck.connect()
        try:
            if stage == "shadow":
                champion = _arm(connection, scan, release.experiment, "champion", mirrored=True)
                challenger = _arm(connection, scan, release.experiment, "shadow")
                found = connection.execute(
                    _PAIRS.format(scan=scan), [release.experiment, release.experiment]
                ).fetchone()
                pairs, disagreements = found or (0, 0)
            else:
                champion = _arm(connection, scan, release.experiment, "champion")
                challenger = _arm(connection, scan, release.experiment, "canary")
        finally:
            connection.close()
    return StepEvidence(
        stage=stage,
        share=release.share,
        champion=champion,
        challenger=challenger,
        elapsed_s=elapsed(release, now).total_seconds(),
        min_time_s=release.min_step_time_s(),
        pairs=pairs,
        disagreements=disagreements,
    )


def _arm(
    connection: duckdb.DuckDBPyConnection, scan: str, experiment: str, route: str, *, mirrored: bool = False
) -> ArmCounts:
    query = _REQUESTS + (_MIRRORED if mirrored else "")
    parameters = [experiment, route] + ([experiment] if mirrored else [])
    columns = connection.execute(query.format(scan=scan), parameters).fetchnumpy()
    status, units = np.asarray(columns["status"]), np.asarray(columns["unit"])
    return ArmCounts(
        requests=len(status),
        units=len(np.unique(units)),
        errors=int((status >= 500).sum()),
        latency=LatencyHistogram.of(np.asarray(columns["latency_us"]) / 1000.0),
    )
