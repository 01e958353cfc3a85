"""The target, and when it becomes known.

A label is a column of a dataset. For an example at time ``t`` its value exists from ``t + arrives_after`` on: before
that moment the example is *immature*, and no training set, evaluation or monitor may use it. Training and monitoring
share this one rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError, FeatureError

if TYPE_CHECKING:
    from loopwright.data.dataset import ColumnRef, Dataset


@dataclass(frozen=True)
class Label:
    """The target column of a model and how long after the event it is known."""

    column: ColumnRef
    arrives_after: timedelta

    @property
    def dataset(self) -> Dataset:
        """The dataset whose rows are the examples."""
        return self.column.dataset

    @property
    def name(self) -> str:
        """The name of the target column."""
        return self.column.name


def label(column: ColumnRef, *, arrives_after: str | float | timedelta = timedelta(0)) -> Label:
    """Declare a column as the target.

    Args:
        column: The target, as ``orders.minutes``.
        arrives_after: How long after the example's event time its value is known; ``"2h"``, seconds or a timedelta.

    Raises:
        FeatureError: If the label would be known before its event.
    """
    negative = isinstance(arrives_after, timedelta | int | float) and (
        arrives_after < timedelta(0) if isinstance(arrives_after, timedelta) else arrives_after < 0
    )
    if negative or (isinstance(arrives_after, str) and arrives_after.strip().startswith("-")):
        raise FeatureError(
            f"The label '{column.name}' is declared to arrive {arrives_after} after its event, which is before it: "
            f"it would leak.",
            hint="Give the time that passes between the event and the moment its outcome is known, such as "
            "arrives_after='2h'.",
        )
    try:
        return Label(column, parse_duration(arrives_after))
    except FeatureError:
        raise
    except DeclarationError as error:
        raise FeatureError(f"The label '{column.name}': {error.message}", hint=error.hint) from error


def mature_at(event_time: datetime, label: Label) -> datetime:
    """Return the moment from which an example's label counts as known."""
    return event_time + label.arrives_after


def is_mature(event_time: datetime, now: datetime, label: Label) -> bool:
    """Say whether the label of an example at ``event_time`` is known at ``now`` (the boundary counts as known)."""
    return mature_at(event_time, label) <= now
