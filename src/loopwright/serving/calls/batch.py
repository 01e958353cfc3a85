"""Many calls as one batch of a model, and each call its own answers or its own failure.

The rows of the calls are put behind one another and computed in one call of the model; the answers are split by the
places that the calls had. When a batch fails it is halved until the calls that fail stand alone: a poison row fails the
call that brought it, and no other. A call's rows are never divided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import ModelFailedError, RequestError
from loopwright.serving.calls.call_entry import Computed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from loopwright.serving.calls.call_entry import CallEntry
    from loopwright.serving.predictor import Answers, Predictor


def is_mergeable(entry: CallEntry) -> bool:
    """Return whether the rows may stand in a batch with those of others: columns as arrays are computed as they are."""
    return type(entry.call.rows) is list


def compute(predictor: Predictor, entries: Sequence[CallEntry], *, now: datetime) -> list[Computed]:
    """Answer the calls, in one call of the model where none of them fails.

    Args:
        predictor: Answers the rows.
        entries: At least one; all mergeable where there are more.
        now: The moment for the age of online features.
    """
    rows: Sequence[Mapping[str, object]] = entries[0].call.rows
    if len(entries) > 1:
        rows = [row for entry in entries for row in entry.call.rows]
    try:
        answers: Answers | RequestError = predictor.predict_many(rows, now=now)
    except RequestError as error:
        answers = error
    except Exception as error:  # noqa: BLE001 - whatever it was, it fails the call and not the server
        answers = ModelFailedError(f"The version {predictor.version_id} failed: {type(error).__name__}.")
    if isinstance(answers, RequestError) and len(entries) > 1:
        middle = len(entries) // 2
        return [
            *compute(predictor, entries[:middle], now=now),
            *compute(predictor, entries[middle:], now=now),
        ]
    return [Computed(entries, answers, len(rows))]


def parts_of(computed: Computed, answers: Answers) -> list[Answers]:
    """Split the answers of a batch into those of its calls, in their order."""
    if len(computed.entries) == 1:
        return [answers]
    result, start = [], 0
    for entry in computed.entries:
        result.append(answers.part(start, start + entry.rows, entry.call.rows))
        start += entry.rows
    return result
