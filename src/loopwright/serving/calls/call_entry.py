"""One call between its arrival and its answer, and how the calls of a batch enter the prediction log together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from loopwright.core.errors import RequestError
from loopwright.features.served_struct import served_struct
from loopwright.serving.log.prediction_columns import COLUMNAR_ROWS, records_table
from loopwright.serving.log.prediction_record import PredictionRecord, features_json, output_cells, unfound_views
from loopwright.serving.releases.router import Assignment

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import pyarrow as pa

    from loopwright.core.clock import Clock
    from loopwright.serving.calls.inference_call import InferenceCall, Served
    from loopwright.serving.log.prediction_log import PredictionLog
    from loopwright.serving.metrics import ServingMetrics
    from loopwright.serving.predictor import Answers


UNASSIGNED = Assignment("champion", "champion", 1.0, 0)


class Waiting(Protocol):
    """Where a call waits for its batch."""

    def forget(self, entry: CallEntry) -> None:
        """Let a call that is done no longer wait."""


class CallEntry(msgspec.Struct, eq=False):
    """A call that has arrived and is not answered yet.

    Attributes:
        call: What is asked.
        rows: How many rows it has.
        began: Moment of arrival on the monotonic clock, seconds.
        at: The moment of its turn of the event loop, in UTC.
        then: Gets the answer, or the error, once.
        outcome: The answer or the error, where there was no ``then`` to get it.
        on_cancel: Hears that nobody wants the answer any more.
        done: Whether it has been answered, failed or was cancelled.
        queued: Whether it waits in its batcher.
        batcher: Where it was put; None until it is accepted.
        timer: Fails it at its deadline, where it must wait.
        request_id: The caller's id of the request, or the first row's; set, as what follows, when the turn ends.
        prediction_ids: The ids of its rows.
        assignment: Which version it goes to.
        experiment: Release and step that it belongs to, or None.
    """

    call: InferenceCall
    rows: int
    began: float
    at: datetime
    then: Callable[[Served | RequestError], None] | None = None
    on_cancel: Callable[[CallEntry], None] | None = None
    done: bool = False
    queued: bool = False
    batcher: Waiting | None = None
    timer: TimerHandle | None = None
    request_id: str = ""
    prediction_ids: Sequence[str] = ()
    assignment: Assignment = UNASSIGNED
    experiment: str | None = None
    outcome: Served | RequestError | None = None

    def cancel(self) -> None:
        """Say that no answer is wanted any more; what is not being computed yet never will be."""
        if not self.done and self.on_cancel is not None:
            self.on_cancel(self)

    def settle(self, outcome: Served | RequestError | None) -> None:
        """Hand over the outcome; None tells nobody."""
        self.done = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        then = self.then
        self.then = self.on_cancel = None  # what they hold on to may go
        if then is None:
            self.outcome = outcome
        elif outcome is not None:
            then(outcome)

    def mirrored(self) -> CallEntry:
        """Return a copy for the shadow: the same rows and ids, answered to nobody."""
        return CallEntry(
            self.call,
            self.rows,
            self.began,
            self.at,
            request_id=self.request_id,
            prediction_ids=self.prediction_ids,
            assignment=msgspec.structs.replace(self.assignment, route="shadow"),
            experiment=self.experiment,
        )


class Computed(msgspec.Struct, frozen=True):
    """Calls that were computed together.

    Attributes:
        entries: The calls, in the order of their rows.
        answers: The answers to all their rows, or why they failed.
        rows: How many rows were computed.
    """

    entries: Sequence[CallEntry]
    answers: Answers | RequestError
    rows: int


class CallLog:
    """Write the records of whole batches in one frame, and count their calls.

    Args:
        model: Name of the model.
        keeps_features: Whether the features as served are kept.
    """

    def __init__(
        self, model: str, *, log: PredictionLog, metrics: ServingMetrics, clock: Clock, keeps_features: bool
    ) -> None:
        self._model = model
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._keeps_features = keeps_features

    def write(self, version: int, parts: Sequence[Computed]) -> None:
        """Log and count the calls of a batch that nobody cancelled; they are on disk when this returns."""
        now = self._clock.monotonic()
        records: list[PredictionRecord] = []
        for part in parts:
            if isinstance(part.answers, RequestError):
                self._add_failures(records, version, part, part.answers, now)
            else:
                self._add_answers(records, version, part, part.answers, now)
        if records:
            self._log.write(records)

    def _add_answers(
        self, records: list[PredictionRecord], version: int, part: Computed, answers: Answers, now: float
    ) -> None:
        values, probabilities, classifies = answers.values, answers.probabilities, answers.classifies
        is_large = part.rows >= COLUMNAR_ROWS and len(part.entries) == 1
        features = answers.features if self._keeps_features and not is_large else None
        lookups = answers.assembled.lookups
        unfound = unfound_views(lookups, part.rows) if lookups else None
        for lookup in lookups:
            self._metrics.lookup(self._model, lookup)
        model, count = self._model, self._metrics.request
        row, at, at_us = -1, None, 0
        for entry in part.entries:
            if entry.done:
                row += entry.rows
                continue
            assignment, call, seconds = entry.assignment, entry.call, now - entry.began
            count(model, version, assignment.route, call.protocol, 200, seconds, entry.rows)
            if is_large:
                self._log.write_table(self._table(version, entry, answers, unfound, now))
                continue
            if entry.at is not at:
                at, at_us = entry.at, _micros(entry.at)  # the calls of a turn share their moment
            keys, latency_us = call.keys, int(seconds * 1e6)
            for index, prediction_id in enumerate(entry.prediction_ids):
                row += 1
                number, text = output_cells(values[row], classifies=classifies)
                records.append(
                    PredictionRecord(
                        prediction_id,
                        entry.request_id,
                        at_us,
                        self._model,
                        version,
                        assignment.route,
                        entry.experiment,
                        assignment.propensity,
                        assignment.unit_hash,
                        None if keys is None else keys[index],
                        "" if features is None else features_json(features[row]),
                        number,
                        text,
                        None if probabilities is None else probabilities[row],
                        latency_us,
                        part.rows,
                        200,
                        None,
                        None if unfound is None else unfound[row],
                    )
                )

    def _table(
        self, version: int, entry: CallEntry, answers: Answers, unfound: Sequence[str | None] | None, now: float
    ) -> pa.Table:
        """Lay a large call out by column."""
        assignment, assembled = entry.assignment, answers.assembled
        return records_table(
            prediction_ids=entry.prediction_ids,
            request_id=entry.request_id,
            ts_us=_micros(entry.at),
            model=self._model,
            version=version,
            route=assignment.route,
            experiment=entry.experiment,
            propensity=assignment.propensity,
            unit_hash=assignment.unit_hash,
            latency_us=int((now - entry.began) * 1e6),
            keys=entry.call.keys,
            features=served_struct(assembled.columns, assembled.fields) if self._keeps_features else None,
            values=answers.values,
            classifies=answers.classifies,
            probabilities=answers.probabilities,
            unfound=unfound,
        )

    def _add_failures(
        self, records: list[PredictionRecord], version: int, part: Computed, error: RequestError, now: float
    ) -> None:
        name, count = type(error).__name__, self._metrics.request
        for entry in part.entries:
            if entry.done:
                continue
            assignment, call, seconds = entry.assignment, entry.call, now - entry.began
            count(self._model, version, assignment.route, call.protocol, error.status, seconds, entry.rows)
            keys, at_us, latency_us = call.keys, _micros(entry.at), int(seconds * 1e6)
            records.extend(
                PredictionRecord(
                    prediction_id,
                    entry.request_id,
                    at_us,
                    self._model,
                    version,
                    assignment.route,
                    entry.experiment,
                    assignment.propensity,
                    assignment.unit_hash,
                    None if keys is None else keys[index],
                    "",
                    None,
                    None,
                    None,
                    latency_us,
                    part.rows,
                    error.status,
                    name,
                )
                for index, prediction_id in enumerate(entry.prediction_ids)
            )


def _micros(moment: datetime) -> int:
    """Return microseconds since 1970 UTC, exactly."""
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
