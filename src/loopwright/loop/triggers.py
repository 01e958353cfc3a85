"""What may begin a turn: declarations for ``loop.retrain(model, on=[…])``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.loop.schedule import next_due

if TYPE_CHECKING:
    from collections.abc import Iterable

_CRON_FIELDS = 5
_ANY_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)  # a schedule that is due after it is due some time


@dataclass(frozen=True)
class Schedule:
    """At the times of a cron expression, in UTC."""

    cron: str


@dataclass(frozen=True)
class LossAboveReference:
    """When realised loss is above the reference with the certainty that monitoring guarantees.

    A training needs rows of the changed world to learn from: ``fresh_rows`` labelled predictions must have come since
    the change. When it happened is an estimate, the row at which the evidence for a higher loss began to add up; rows
    between the change and the signal count.
    """

    fresh_rows: int = 0


@dataclass(frozen=True)
class NewRows:
    """When so many rows were added to the label's dataset since the last turn that trained."""

    rows: int


@dataclass(frozen=True)
class DriftSeen:
    """When inputs or outputs drifted in several windows in a row since the last decision about drift.

    Drift alone is a weak reason to retrain: use it where labels come too late to be of use.
    """

    windows: int = 2


Trigger = Schedule | LossAboveReference | NewRows | DriftSeen


def schedule(cron: str) -> Schedule:
    """Begin a turn at the times of a five-field cron expression, in UTC.

    Raises:
        DeclarationError: If it is no such expression, or is never due.

    >>> schedule("0 3 1 * *")
    Schedule(cron='0 3 1 * *')
    """
    if not isinstance(cron, str) or len(cron.split()) != _CRON_FIELDS:
        raise DeclarationError(
            f"schedule({cron!r}) needs five fields: minute, hour, day of month, month, day of week.",
            hint="Write '0 3 1 * *' for 03:00 on the first of each month.",
        )
    next_due(cron, _ANY_MOMENT)
    return Schedule(cron)


def loss_above_reference(*, fresh_rows: int = 0) -> LossAboveReference:
    """Begin a turn when realised loss is above the reference, with ``fresh_rows`` labelled rows since it began to rise.

    Args:
        fresh_rows: Labelled predictions since the change, as estimated, that a training needs; 0 for none.

    Raises:
        DeclarationError: If ``fresh_rows`` is negative.
    """
    if fresh_rows < 0:
        raise DeclarationError(f"fresh_rows cannot be negative, got {fresh_rows}.")
    return LossAboveReference(fresh_rows)


def new_rows(rows: int) -> NewRows:
    """Begin a turn when so many rows were added since the last one.

    Raises:
        DeclarationError: If ``rows`` is not positive.
    """
    if rows < 1:
        raise DeclarationError(f"new_rows needs a positive number, got {rows}.")
    return NewRows(rows)


def drift_seen(*, windows: int = 2) -> DriftSeen:
    """Begin a turn when drift was seen in so many windows in a row.

    Raises:
        DeclarationError: If ``windows`` is not positive.
    """
    if windows < 1:
        raise DeclarationError(f"drift_seen needs a positive number of windows, got {windows}.")
    return DriftSeen(windows)


def check_triggers(triggers: Iterable[object]) -> tuple[Trigger, ...]:
    """Return the triggers as a tuple.

    Raises:
        DeclarationError: If one of them is none.
    """
    checked: list[Trigger] = []
    for trigger in triggers:
        if not isinstance(trigger, Schedule | LossAboveReference | NewRows | DriftSeen):
            raise DeclarationError(
                f"{trigger!r} begins no turn.",
                hint="Use lw.schedule(…), lw.loss_above_reference(), lw.new_rows(…) or lw.drift_seen().",
            )
        checked.append(trigger)
    return tuple(checked)
