"""The event by which the outcome of a prediction is sent: the label as JSON text, and when it became known."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import numpy as np

from loopwright.core.storage.events import Event


def label_json(value: object) -> str | None:
    """Write a label as JSON text for the outcomes table; None and NaN are no label."""
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or (isinstance(plain, float) and not math.isfinite(plain)):
        return None
    return json.dumps(plain, default=str)


def outcome_event(prediction_id: str, label: object, at: datetime | None) -> Event:
    """Write the event of one outcome."""
    content = {"label": label_json(label), "at": None if at is None else at.astimezone(UTC).isoformat()}
    return Event(prediction_id, json.dumps(content).encode())


def read_outcome(value: bytes, appended_at: datetime) -> tuple[str | None, datetime]:
    """Read a label and when it became known; an event that is no outcome has no label and stays on record."""
    try:
        content = json.loads(value)
        at = content.get("at")
        return content.get("label"), appended_at if at is None else datetime.fromisoformat(at)
    except (ValueError, AttributeError, TypeError):
        return None, appended_at
