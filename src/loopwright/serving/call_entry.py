"""How one request enters the prediction log: its rows' records, built when the answer (or the failure) is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopwright.serving.prediction_record import PredictionRecord, features_json, output_cells, unfound_views

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from loopwright.core.clock import Clock
    from loopwright.core.errors import RequestError
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.prediction_log import PredictionLog
    from loopwright.serving.predictor import Answers
    from loopwright.serving.router import Assignment


class CallEntry(msgspec.Struct, frozen=True):
    """What the records of one request share.

    Attributes:
        began: Moment of acceptance on the monotonic clock, seconds.
        at: The same moment, in UTC.
        keeps_features: Whether the features as served are kept.
    """

    model: str
    protocol: str
    request_id: str
    prediction_ids: list[str]
    keys: Sequence[str | None] | None
    at: datetime
    began: float
    experiment: str | None
    keeps_features: bool
    clock: Clock
    log: PredictionLog
    metrics: ServingMetrics

    def write(self, version: int, assignment: Assignment, answers: Answers, *, route: str | None = None) -> None:
        """Log the answered rows and count the request."""
        seconds = self.clock.monotonic() - self.began
        latency_us = int(seconds * 1e6)
        at_us = _micros(self.at)
        rows = len(self.prediction_ids)
        taken = route or assignment.route
        features = answers.features if self.keeps_features else None
        lookups = answers.assembled.lookups
        unfound = unfound_views(lookups, rows) if lookups else None
        records = []
        for index, prediction_id in enumerate(self.prediction_ids):
            number, text = output_cells(answers.values[index], classifies=answers.classifies)
            records.append(
                PredictionRecord(
                    prediction_id,
                    self.request_id,
                    at_us,
                    self.model,
                    version,
                    taken,
                    self.experiment,
                    assignment.propensity,
                    assignment.unit_hash,
                    None if self.keys is None else self.keys[index],
                    "" if features is None else features_json(features[index]),
                    number,
                    text,
                    None if answers.probabilities is None else answers.probabilities[index],
                    latency_us,
                    rows,
                    200,
                    None,
                    None if unfound is None else unfound[index],
                )
            )
        self.log.write(records)
        for lookup in lookups:
            self.metrics.lookup(self.model, lookup)
        self.metrics.request(self.model, version, taken, self.protocol, 200, seconds, rows)

    def write_failure(
        self, version: int, assignment: Assignment, error: RequestError, *, route: str | None = None
    ) -> None:
        """Log the rows of a request that failed after it was accepted, and count it."""
        seconds = self.clock.monotonic() - self.began
        at_us = _micros(self.at)
        rows = len(self.prediction_ids)
        taken = route or assignment.route
        self.log.write(
            [
                PredictionRecord(
                    prediction_id,
                    self.request_id,
                    at_us,
                    self.model,
                    version,
                    taken,
                    self.experiment,
                    assignment.propensity,
                    assignment.unit_hash,
                    None if self.keys is None else self.keys[index],
                    "",
                    None,
                    None,
                    None,
                    int(seconds * 1e6),
                    rows,
                    error.status,
                    type(error).__name__,
                )
                for index, prediction_id in enumerate(self.prediction_ids)
            ]
        )
        self.metrics.request(self.model, version, taken, self.protocol, error.status, seconds, rows)


def _micros(moment: datetime) -> int:
    """Return microseconds since 1970 UTC, exactly."""
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
