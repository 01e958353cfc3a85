"""From events to what is made of them: predictions, dead letters and prediction records, in one call of the model.

Every event has one answer. A row that a version cannot take fails alone: the batch is halved until it stands by itself.
What fails because something else is down is no fault of the event; it is raised as a whole, to be tried again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from loopwright.core.errors import (
    InvalidRequestError,
    RequestError,
    StoreCorruptError,
    StoreError,
    StoreTooNewError,
)
from loopwright.core.storage.events import Event
from loopwright.core.storage.exchange import Made
from loopwright.serving.log.prediction_record import PredictionRecord, features_json, output_cells, unfound_views
from loopwright.serving.stream.dead_letter import letter_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from loopwright.core.clock import Clock
    from loopwright.core.storage.exchange import Taken
    from loopwright.serving.calls.endpoint import Active, Slot
    from loopwright.serving.predictor import Answers
    from loopwright.serving.releases.router import Assignment
    from loopwright.serving.stream.rows import Row, RowReader

_record = msgspec.msgpack.Encoder()
_json = msgspec.json.Encoder(enc_hook=str)


class Asked(NamedTuple):
    """An event as a version is asked it."""

    place: int
    taken: Taken
    prediction_id: str
    key: str | None
    row: Row
    assignment: Assignment


class Span(NamedTuple):
    """Neighbouring rows of a call with their answers, or one row with what is wrong with it."""

    first: int
    rows: int
    outcome: Answers | RequestError


Shadowed: TypeAlias = "tuple[Slot, list[Asked]]"


class Tried(NamedTuple):
    """How a version did on its events of a batch.

    Attributes:
        version: Its number.
        predicted: Events that it answered.
        failed: Events on which it failed, as opposed to events that it may refuse.
        reason: Of the last failure; empty without one.
    """

    version: int
    predicted: int
    failed: int
    reason: str


class Batch(NamedTuple):
    """What was made of a batch of events.

    Attributes:
        made: One for each event, in order.
        dead: How many of them are dead letters.
        tried: The versions that were asked, the champion first.
        copies: What the challenger is to compute unseen, or None.
    """

    made: list[Made]
    dead: int
    tried: tuple[Tried, ...]
    copies: Shadowed | None


class EventAnswers:
    """Answer events of one topic for one model.

    Args:
        model: Name of the model.
        topic: The topic that the events come from.
        rows: Reads their values.
        clock: For the moments in the records.
        key: The field that names a row, or None for the event's key.
        keeps_features: Whether records hold the features as served.
        pseudonym: Turns keys into what the dataset has in their place, or None.
    """

    def __init__(
        self,
        model: str,
        topic: str,
        rows: RowReader,
        *,
        clock: Clock,
        key: str | None = None,
        keeps_features: bool = True,
        pseudonym: Callable[[str], str] | None = None,
    ) -> None:
        self._model = model
        self._topic = topic
        self._rows = rows
        self._clock = clock
        self._key = key
        self._keeps_features = keeps_features
        self._pseudonym = pseudonym

    def answer(self, active: Active, events: Sequence[Taken], *, attempts: int = 1) -> Batch:
        """Answer all events with the versions in force.

        Args:
            active: The versions, read once for the whole batch.
            events: Events in their order.
            attempts: How often they have been tried by now, this time included.

        Raises:
            RequestError: If something that the features need is down; nothing is wrong with the events.
        """
        at, began = self._clock.now(), self._clock.monotonic()
        made: list[Made | None] = [None] * len(events)
        asked = self._asked(active, events, made, at, attempts)
        tried: list[Tried] = []
        for slot, group in _by_slot(active, asked):
            version, refused, failed, reason = slot.predictor.version, 0, 0, ""
            for span in _spans(slot, [one.row for one in group], at):
                of_span = group[span.first : span.first + span.rows]
                latency_us = int((self._clock.monotonic() - began) * 1e6)
                notes = self._notes(of_span, version, active, span.outcome, at, latency_us)
                if isinstance(span.outcome, RequestError):
                    letter = letter_of(self._topic, of_span[0].taken, span.outcome, at, attempts, version=version)
                    made[of_span[0].place] = Made(letter, is_dead=True, note=notes[0])
                    refused += 1
                    if span.outcome.status >= 500:
                        failed, reason = failed + 1, span.outcome.message
                    continue
                for one, value, note in zip(of_span, self._values(of_span, version, span.outcome), notes, strict=True):
                    made[one.place] = Made(Event(one.taken.key, value), is_dead=False, note=note)
            tried.append(Tried(version, len(group) - refused, failed, reason))
        done = [one for one in made if one is not None]
        copied = [one for one in asked if one.assignment.mirrored]
        copies = (active.challenger, copied) if copied and active.challenger is not None else None
        return Batch(done, sum(one.is_dead for one in done), tuple(tried), copies)

    def shadow(self, active: Active, copies: Shadowed) -> list[PredictionRecord]:
        """Return the challenger's records of rows that the champion has answered."""
        slot, asked = copies
        at, began = self._clock.now(), self._clock.monotonic()
        records: list[PredictionRecord] = []
        for span in _spans(slot, [one.row for one in asked], at):
            latency_us = int((self._clock.monotonic() - began) * 1e6)
            group = asked[span.first : span.first + span.rows]
            records += self._records(
                group, slot.predictor.version, active, span.outcome, at, latency_us, route="shadow"
            )
        return records

    def _asked(
        self, active: Active, events: Sequence[Taken], made: list[Made | None], at: datetime, attempts: int
    ) -> list[Asked]:
        asked = []
        rows = self._rows.read([event.value for event in events])
        for place, (event, row) in enumerate(zip(events, rows, strict=True)):
            if isinstance(row, InvalidRequestError):
                made[place] = Made(letter_of(self._topic, event, row, at, attempts), is_dead=True)
                continue
            key = event.key if self._key is None else row.get(self._key)
            text = None if key is None else str(key)
            unit = text if text is not None else f"{event.partition}/{event.offset}"
            if text is not None and self._pseudonym is not None:
                text = self._pseudonym(text)
            identity = prediction_id(self._model, self._topic, event)
            asked.append(Asked(place, event, identity, text, row, active.routing.assign(unit)))
        return asked

    def _values(self, asked: Sequence[Asked], version: int, answers: Answers) -> Iterator[bytes]:
        """Write the value of each prediction."""
        probabilities, encode = answers.probabilities, _json.encode
        for index, one in enumerate(asked):
            document: dict[str, object] = {
                "prediction_id": one.prediction_id,
                "key": one.key,
                "model": self._model,
                "version": version,
                "route": one.assignment.route,
                "prediction": answers.values[index],
                "partition": one.taken.partition,
                "offset": one.taken.offset,
            }
            if probabilities is not None:
                document["probabilities"] = probabilities[index]
                document["classes"] = answers.classes
            yield encode(document)

    def _notes(
        self,
        asked: Sequence[Asked],
        version: int,
        active: Active,
        outcome: Answers | RequestError,
        at: datetime,
        latency_us: int,
    ) -> list[bytes]:
        return [_record.encode(record) for record in self._records(asked, version, active, outcome, at, latency_us)]

    def _records(
        self,
        asked: Sequence[Asked],
        version: int,
        active: Active,
        outcome: Answers | RequestError,
        at: datetime,
        latency_us: int,
        *,
        route: str | None = None,
    ) -> list[PredictionRecord]:
        at_us = int(at.timestamp()) * 1_000_000 + at.microsecond
        failure = outcome if isinstance(outcome, RequestError) else None
        answers = None if isinstance(outcome, RequestError) else outcome
        features = answers.features if answers is not None and self._keeps_features else None
        lookups = () if answers is None else answers.assembled.lookups
        unfound = unfound_views(lookups, len(asked)) if lookups else None
        records = []
        for index, one in enumerate(asked):
            number = text = probabilities = None
            if answers is not None:
                number, text = output_cells(answers.values[index], classifies=answers.classifies)
                probabilities = None if answers.probabilities is None else answers.probabilities[index]
            records.append(
                PredictionRecord(
                    prediction_id=one.prediction_id,
                    request_id=f"{self._topic}/{one.taken.partition}/{one.taken.offset}",
                    ts_us=at_us,
                    model=self._model,
                    version=version,
                    route=route or one.assignment.route,
                    experiment=active.routing.experiment,
                    propensity=one.assignment.propensity,
                    unit_hash=one.assignment.unit_hash,
                    key=one.key,
                    features="" if features is None else features_json(features[index]),
                    output_number=number,
                    output_text=text,
                    probabilities=probabilities,
                    latency_us=latency_us,
                    batch_rows=len(asked),
                    status=200 if failure is None else failure.status,
                    error_class=None if failure is None else type(failure).__name__,
                    unfound=None if unfound is None else unfound[index],
                )
            )
        return records


def prediction_id(model: str, topic: str, event: Taken) -> str:
    """Return the id of the prediction that answers an event: the same however often the event is read.

    A UUIDv8 (RFC 9562, section 5.8): the millisecond of the event's appending, as in UUIDv7, then a digest of model,
    topic, part, offset and moment.
    """
    source = f"{model}\0{topic}\0{event.partition}\0{event.offset}\0{event.at_us}"
    digest = blake2b(source.encode(), digest_size=10).hexdigest()
    variant = "89ab"[int(digest[3], 16) & 3]
    stamp = f"{event.at_us // 1000 & 0xFFFF_FFFF_FFFF:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-8{digest[:3]}-{variant}{digest[4:7]}-{digest[7:19]}"


def is_passing(error: BaseException) -> bool:
    """Tell whether an error comes from something that is down for now, rather than from an event or the model."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StoreCorruptError | StoreTooNewError):
            return False
        if isinstance(seen, StoreError | ConnectionError | TimeoutError):
            return True
        seen = seen.__cause__
    return False


def _by_slot(active: Active, asked: Sequence[Asked]) -> Iterator[tuple[Slot, list[Asked]]]:
    """Give the rows of each version; a challenger that is not loaded leaves its rows to the champion."""
    challenger = active.challenger
    if challenger is None:
        if asked:
            yield active.champion, list(asked)
        return
    for slot, arm in ((active.champion, "champion"), (challenger, "challenger")):
        if group := [one for one in asked if one.assignment.arm == arm]:
            yield slot, group


def _spans(slot: Slot, rows: Sequence[Row], at: datetime) -> Iterator[Span]:
    """Answer rows in one call, or in as many as it takes to leave out those that fail."""
    waiting = [(0, len(rows))]
    while waiting:
        first, count = waiting.pop()
        try:
            with slot.lock:
                answers = slot.predictor.predict_many(rows[first : first + count], now=at)
        except RequestError as error:
            if is_passing(error):
                raise
            if count == 1:
                yield Span(first, 1, error)
                continue
            half = count // 2
            waiting += [(first + half, count - half), (first, half)]
        else:
            yield Span(first, count, answers)
