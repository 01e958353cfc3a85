"""Outcomes over HTTP: what became of predictions, appended to the event log before the caller is thanked.

Each outcome is one event of the topic ``outcomes/<model>``: its key is the prediction's id, its value the JSON object
``{"label": <the value as JSON text>, "at": <ISO time or null>}``, as `loopwright.monitoring.outcomes` reads it. A later
event for the same id revises an earlier one.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import InvalidRequestError, NotFoundRequestError, TooLargeError
from loopwright.core.storage.events import Event
from loopwright.serving.bodies.row_bounds import MAX_ROWS
from loopwright.serving.http.message import BadFieldError, HttpResponse, decode_json, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from loopwright.core.storage.events import EventLog
    from loopwright.serving.calls.endpoint import Endpoint
    from loopwright.serving.metrics import ServingMetrics

_encode = msgspec.json.Encoder().encode


def outcomes_topic(model: str) -> str:
    """Return the topic of a model's outcomes in the event log."""
    return f"outcomes/{model}"


class OutcomesDoor:
    """Take outcomes for the models of one server."""

    def __init__(
        self, events: EventLog, *, models: Mapping[str, Endpoint], executor: Executor, metrics: ServingMetrics
    ) -> None:
        self._events = events
        self._models = models
        self._executor = executor
        self._metrics = metrics

    async def receive(self, model: str, body: bytes) -> HttpResponse:
        """Store the outcomes in a body; 200 means they are in the event log.

        Args:
            model: From the path; empty when the body's ``model`` or the only served model is meant.
            body: ``{"outcomes": [{"prediction_id": …, "value": …}]}``, a bare list of these, or one of them.

        Raises:
            InvalidRequestError: When an outcome lacks its id or its value, or the value is no number where the model
                answers numbers; nothing was stored.
        """
        document = decode_json(body)
        target = self._model(model.strip("/"), document)
        active = self._models[target].active
        numbers = active is not None and active.champion.predictor.loaded.signature.output.kind == "regression"
        events = [_event(item, number, numbers=numbers) for number, item in enumerate(_items(document))]
        if not events:
            raise InvalidRequestError("There are no outcomes.", hint='Send {"prediction_id": …, "value": …}.')
        if len(events) > MAX_ROWS:
            raise TooLargeError(f"There are {len(events)} outcomes; at most {MAX_ROWS} are accepted.")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._events.append, outcomes_topic(target), events)
        self._metrics.outcomes(target, len(events))
        return json_response({"model": target, "accepted": len(events)})

    def _model(self, model: str, document: object) -> str:
        if not model and isinstance(document, dict) and isinstance(document.get("model"), str):
            model = str(document["model"])
        if not model and len(self._models) == 1:
            return next(iter(self._models))
        if not model:
            raise BadFieldError("Several models are served: say which.", field="model", hint="POST /outcomes/<model>.")
        if model not in self._models:
            raise NotFoundRequestError(f"There is no model '{model[:200]}' here.")
        return model


def _items(document: object) -> list[object]:
    if isinstance(document, list):
        return document
    if isinstance(document, dict) and "outcomes" in document:
        items = document["outcomes"]
        if not isinstance(items, list):
            raise BadFieldError("'outcomes' must be a list.", field="outcomes")
        return items
    return [document]


def _event(item: object, number: int, *, numbers: bool) -> Event:
    if not isinstance(item, dict):
        raise BadFieldError(f"Outcome {number} must be an object.", row=number)
    prediction_id, value, observed_at = item.get("prediction_id"), item.get("value"), item.get("observed_at")
    if not isinstance(prediction_id, str) or not prediction_id:
        raise BadFieldError(f"Outcome {number} needs a 'prediction_id'.", field="prediction_id", row=number)
    if not isinstance(value, bool | int | float | str):
        raise BadFieldError(f"Outcome {number} needs a 'value': a number or a class.", field="value", row=number)
    if numbers and isinstance(value, bool | str):
        message = f"Outcome {number}: the 'value' must be a number, as the model's answers are."
        raise BadFieldError(message, field="value", row=number)
    if observed_at is not None:
        try:
            moment = datetime.fromisoformat(str(observed_at))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            message = f"Outcome {number}: 'observed_at' must be an ISO time with its zone."
            raise BadFieldError(message, field="observed_at", row=number)
    payload = _encode({"label": _encode(value).decode(), "at": observed_at})
    return Event(key=prediction_id, value=payload, headers={})
