"""When something runs so many times a month, as a cron expression."""

from __future__ import annotations

_HOUR = 2  # in UTC; at night in most places with users, and after the day's data are complete
_DAYS = 28  # that every month has


def schedule_of(runs_per_month: float) -> str:
    """Return the cron expression that runs so often in a month, spread evenly.

    Rates between the usual ones are kept as closely as whole days or hours allow; less than once in two months becomes
    once in a quarter, and less than that once in half a year or a year.

    >>> schedule_of(1), schedule_of(730 / 24), schedule_of(1 / 3), schedule_of(2)
    ('0 2 1 * *', '0 2 * * *', '0 2 1 */3 *', '0 2 1,15 * *')
    """
    if runs_per_month > 45:  # more than once a day: each so many hours
        every = min((1, 2, 3, 4, 6, 8, 12), key=lambda hours: abs(730 / hours - runs_per_month))
        return "0 * * * *" if every == 1 else f"0 */{every} * * *"
    if runs_per_month > _DAYS:
        return f"0 {_HOUR} * * *"
    if abs(runs_per_month - 730 / 168) < 0.05:
        return f"0 {_HOUR} * * 0"
    count = round(runs_per_month)
    if count >= 2:
        days = sorted({1 + round(number * _DAYS / count) for number in range(count)})
        return f"0 {_HOUR} {','.join(str(day) for day in days)} * *"
    months = min((1, 2, 3, 4, 6, 12), key=lambda one: abs(1 / one - runs_per_month))
    return f"0 {_HOUR} 1 * *" if months == 1 else f"0 {_HOUR} 1 */{months} *"
