"""Cron schedules in UTC: the latest and the next due time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cronsim import CronSim, CronSimError

from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from datetime import datetime


def next_due(cron: str, after: datetime) -> datetime:
    """Return the first due time later than ``after``.

    Raises:
        DeclarationError: If the expression is no cron expression, or is never due.

    >>> from datetime import UTC, datetime
    >>> next_due("0 3 1 * *", datetime(2026, 1, 1, 3, tzinfo=UTC)).isoformat()
    '2026-02-01T03:00:00+00:00'
    """
    return _first(cron, after, reverse=False)


def last_due(cron: str, at: datetime) -> datetime:
    """Return the latest due time that is not later than ``at``.

    Raises:
        DeclarationError: If the expression is no cron expression, or was never due.

    >>> from datetime import UTC, datetime
    >>> last_due("0 3 1 * *", datetime(2026, 1, 1, 3, tzinfo=UTC)).isoformat()
    '2026-01-01T03:00:00+00:00'
    """
    return _first(cron, at + timedelta(microseconds=1), reverse=True)


def _first(cron: str, start: datetime, *, reverse: bool) -> datetime:
    try:
        return next(CronSim(cron, start, reverse=reverse))
    except CronSimError as error:
        raise DeclarationError(
            f"{cron!r} is not a cron expression: {error}.",
            hint="Five fields: minute, hour, day of month, month, day of week.",
        ) from error
    except StopIteration:
        raise DeclarationError(f"{cron!r} is never due.", hint="Check its day and month.") from None
